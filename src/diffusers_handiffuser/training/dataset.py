"""Data sets of captions, hand parameters and (for stage 2) pictures, in a folder with a `metadata.jsonl`.

A line of `metadata.jsonl` is one row: `text`, the seven `HandParams` fields as flat lists under their own names, and
`file_name` (or `image`), the picture's path inside the folder. Rows without a picture are legal for stage 1. Other
keys (`source`, `crop`, `scene`) are provenance and are not read here.
"""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..hands import HandParams

METADATA_NAME = "metadata.jsonl"

_SIDES = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
_SIDE_WORD = re.compile(r"\b(leftmost|rightmost|left|right)\b", re.IGNORECASE)


def swap_sides(caption: str) -> str:
    """The caption of the mirrored picture: the words left and right exchanged, their capitalisation kept."""

    def swapped(match: re.Match) -> str:
        word = match.group(0)
        other = _SIDES[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDE_WORD.sub(swapped, caption)


class HandDataset:
    """The rows of a data set folder, held in memory as stacked arrays; pictures are read when asked for.

    Args:
        folder (`str` or `Path`): folder with a `metadata.jsonl`.
        max_rows (`int`, *optional*): read only the first rows.
        need_images (`bool`): refuse rows that name no picture.

    Attributes:
        texts (`list[str]`): the captions.
        hand_params (`HandParams` of batch shape (N,)): the hands.
        image_paths (`list[Path | None]`): where each row's picture is.
        fingerprint (`str`): hash of the rows that were read and of their pictures' sizes in bytes; caches derived from
            them are named after it.

    Raises `FileNotFoundError` or `ValueError` with file, row number (from 0) and what is wrong with the row.
    """

    def __init__(self, folder, max_rows: int | None = None, need_images: bool = False):
        self.folder = Path(folder)
        metadata = self.folder / METADATA_NAME
        if not metadata.is_file():
            raise FileNotFoundError(f"{metadata} not found: a data set is a folder with a {METADATA_NAME}")

        columns = {name: [] for name in HandParams.FIELDS}
        self.texts: list[str] = []
        self.image_paths: list[Path | None] = []
        digest = hashlib.sha256()
        with open(metadata, "rb") as lines:
            for line in lines:
                if max_rows is not None and len(self.texts) == max_rows:
                    break
                if not line.strip():
                    continue
                where = f"{metadata}, row {len(self.texts)}"
                row = _parse_row(line, where)
                for name, size in HandParams.FIELDS.items():
                    columns[name].append(_parse_field(row, name, size, where))
                self.texts.append(_parse_text(row, where))
                path = self._parse_image_path(row, where)
                self.image_paths.append(path)
                digest.update(line)
                if need_images:
                    digest.update(str(_file_size(path, where)).encode())
        if not self.texts:
            raise ValueError(f"{metadata} holds no rows")

        self.fingerprint = digest.hexdigest()[:16]
        self.hand_params = HandParams(**{name: torch.from_numpy(np.stack(column)) for name, column in columns.items()})

    def __len__(self) -> int:
        return len(self.texts)

    def _parse_image_path(self, row: dict, where: str) -> Path | None:
        name = row.get("file_name") or row.get("image")
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{where}: `file_name` must be a path inside the folder, but is {type(name).__name__}")
        return None if name is None else self.folder / name

    def load_image(self, row: int, resolution: int) -> np.ndarray:
        """Picture of a row as (resolution, resolution, 3) uint8: the centred square over its shorter side, resized."""
        path = self.image_paths[row]
        if path is None:
            raise ValueError(f"{self.folder / METADATA_NAME}, row {row}: the row has no picture")
        try:
            with Image.open(path) as image:
                image = image.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f"{self.folder / METADATA_NAME}, row {row}: cannot read picture {path}: {error}"
            ) from error
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        if (side, side) != image.size:
            image = image.crop((left, top, left + side, top + side))
        if side != resolution:
            image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
        return np.asarray(image)

    def images(self, resolution: int, cache_dir=None) -> np.ndarray:
        """All pictures as one (N, resolution, resolution, 3) uint8 array.

        With `cache_dir` the array is a read-only memory map of `images-<fingerprint>-<resolution>.npy` there, written
        on the first call and found again by later runs.
        """
        shape = (len(self), resolution, resolution, 3)

        def fill(array: np.ndarray) -> None:
            for row in range(len(self)):
                array[row] = self.load_image(row, resolution)

        if cache_dir is None:
            array = np.empty(shape, np.uint8)
            fill(array)
            return array
        return cached_array(Path(cache_dir) / f"images-{self.fingerprint}-{resolution}.npy", shape, np.uint8, fill)


def cached_array(path: Path, shape: tuple[int, ...], dtype, fill) -> np.ndarray:
    """Read-only memory map of `path`; where it does not exist yet, `fill(array)` writes it (aside, then renamed)."""
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            array = np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
            fill(array)
            array.flush()
            del array
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    array = np.load(path, mmap_mode="r")
    if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: delete it")
    return array


def _file_size(path: Path | None, where: str) -> int:
    if path is None:
        raise ValueError(f"{where}: neither `file_name` nor `image` names a picture")
    try:
        return path.stat().st_size
    except OSError as error:
        raise FileNotFoundError(f"{where}: picture {path} not found") from error


def _parse_row(line: bytes, where: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not a line of JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: must be a JSON object, but is a {type(row).__name__}")
    return row


def _parse_text(row: dict, where: str) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise ValueError(f"{where}: `text` must be a string, but is {type(text).__name__}")
    return text


def _parse_field(row: dict, name: str, size: int, where: str) -> np.ndarray:
    if name not in row:
        raise ValueError(f"{where}: `{name}` is missing")
    try:
        values = np.asarray(row[name], np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: `{name}` must be a list of {size} numbers ({error})") from error
    if values.shape != (size,):
        raise ValueError(f"{where}: `{name}` must be a list of {size} numbers, but has shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: `{name}` holds a value that is not finite")
    if name == "camera" and not values[0] > 0:
        raise ValueError(f"{where}: `camera` must have a positive scale in its first number, but has {values[0]}")
    if name == "hand_visible":
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{where}: `hand_visible` must be two of true and false, but is {row[name]}")
        return values.astype(bool)
    return values
