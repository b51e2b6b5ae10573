"""One row of a data set: what it holds, how it is read and checked, how it is written.

A row holds `text`, the seven `HandParams` fields as flat lists under their own names, where there is a picture
`file_name` (a path inside the folder) or `image` (a path, or what Hugging Face `datasets` stores for a picture),
`source` (a word for where the row comes from) and `crop` (null, or `[left, top, right, bottom]` in pixels of the
picture that this one was cut from). Stage 1 needs no pictures. Further columns are kept and not read.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..hands import HandParams

IMAGE_COLUMNS = ("file_name", "image")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
"""Pillow reads others too, some by other programs: for PostScript it runs Ghostscript."""
_PROTOCOLS = ("hf", "zip", "tar", "gzip", "file")
"""Of the places that `datasets` names; a row can ask for nothing else to be fetched."""


class RowError(ValueError):
    """A row that cannot be used.

    Args:
        where (`str`): file and row.
        problems (`list` of `(column, reason)`): the column is `""` where the row as a whole is meant. The message
            tells of the first.
    """

    def __init__(self, where: str, problems: list[tuple[str, str]]):
        column, reason = problems[0]
        super().__init__(f"{where}: `{column}` {reason}" if column else f"{where}: {reason}")
        self.where, self.problems = where, problems


class PictureError(ValueError):
    """A picture that cannot be read; the message names file and row."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that has not been decoded: a file, or the bytes of one.

    Args:
        where (`str`): file and row, for messages.
        content (`Path`, `str` or `bytes`): the file, the URL of one on the Hub (`hf://...`), or its bytes where it is
            no file of its own.
    """

    where: str
    content: Path | str | bytes

    @property
    def path(self) -> Path | None:
        """Of a file on this machine."""
        return self.content if isinstance(self.content, Path) else None

    @property
    def num_bytes(self) -> int:
        """Raises `FileNotFoundError` with the row if there is no such file."""
        if not isinstance(self.content, Path):
            return len(self.read())
        try:
            return self.content.stat().st_size
        except OSError as error:
            raise FileNotFoundError(f"{self.where}: picture {self.content} not found") from error

    def read(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        if isinstance(self.content, Path):
            return self.content.read_bytes()
        import fsspec

        with fsspec.open(self.content, "rb") as file:
            return file.read()

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the head of the file."""
        return self._opened(lambda image: image.size)

    @cached_property
    def format(self) -> str:
        """`"JPEG"`, `"PNG"` and the like, from the head of the file."""
        return self._opened(lambda image: image.format)

    def open(self) -> Image.Image:
        """Decoded, RGB. Raises [`PictureError`] if that cannot be done."""
        return self._opened(lambda image: image.convert("RGB"))

    def _opened(self, use: Callable[[Image.Image], Any]) -> Any:
        try:
            with Image.open(self.path or io.BytesIO(self.read()), formats=_FORMATS) as image:
                return use(image)
        except Exception as error:  # damaged pictures make its decoders fail in many ways
            name = "" if isinstance(self.content, bytes) else f" {self.content}"
            raise PictureError(f"{self.where}: cannot read picture{name}: {error}") from error

    def square(self, resolution: int) -> np.ndarray:
        """`(resolution, resolution, 3)` uint8: the centred square over the shorter side, resized."""
        image = self.open()
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        if (side, side) != image.size:
            image = image.crop((left, top, left + side, top + side))
        if side != resolution:
            image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
        return np.asarray(image)


@dataclass(frozen=True, eq=False)
class HandRow:
    """One row, checked.

    Args:
        text (`str`): the caption.
        fields (`dict[str, np.ndarray]`): the seven `HandParams` fields, float32; `hand_visible` bool.
        picture ([`Picture`], *optional*): not decoded yet.
        where (`str`): file and row, for messages.
        columns (`dict`): the row as it was read, without its picture if that came as bytes.
    """

    text: str
    fields: dict[str, np.ndarray]
    picture: Picture | None = None
    where: str = ""
    columns: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def hand_params(self) -> HandParams:
        """Of one person: no batch dimension."""
        return HandParams(**{name: torch.from_numpy(value) for name, value in self.fields.items()})


def parse_row(row: Any, where: str, folder: Path | None = None) -> HandRow:
    """Checks a row and gives it its types.

    Args:
        row (`Mapping`): as read from a file or from `datasets`.
        where (`str`): file and row, for messages.
        folder (`Path`, *optional*): what picture paths are relative to.

    Raises `RowError` with everything that is wrong.
    """
    if not isinstance(row, Mapping):
        raise RowError(where, [("", f"must be a JSON object, but is a {type(row).__name__}")])
    problems: list[tuple[str, str]] = []
    parsed = {name: _parse_field(row, name, size, problems) for name, size in HandParams.FIELDS.items()}
    fields = {name: values for name, values in parsed.items() if values is not None}
    text = row.get("text")
    if not isinstance(text, str):
        problems.append(("text", f"must be a string, but is {type(text).__name__}"))
    picture, columns = _parse_picture(row, where, folder, problems), dict(row)
    if isinstance(row.get("image"), Mapping):
        del columns["image"]
    if problems:
        raise RowError(where, problems)
    return HandRow(str(text), fields, picture, where, columns)


def parse_json(line: bytes, where: str) -> Any:
    """A line of JSON; `RowError` if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(where, [("", f"not a line of JSON ({error})")]) from error


def write_row(hand_params: HandParams, text: str, **columns: Any) -> dict[str, Any]:
    """The row of one person, ready for JSON.

    Args:
        hand_params ([`HandParams`]): no batch dimension.
        text (`str`): the caption.
        columns: `file_name`, `source`, `crop` and whatever else belongs to the row.
    """
    if hand_params.batch_shape:
        raise ValueError(f"`hand_params` must be of one person, got batch shape {tuple(hand_params.batch_shape)}.")
    return {"text": text, **hand_params.to_dict(), "source": None, "crop": None, **columns}


def stack_hand_params(rows: Iterable[HandRow]) -> HandParams:
    """The hands of several rows, batch shape `(N,)`."""
    rows = list(rows)
    return HandParams(
        **{name: torch.from_numpy(np.stack([row.fields[name] for row in rows])) for name in HandParams.FIELDS}
    )


def hand_features(images: bool = True) -> Any:
    """The columns of a row as `datasets.Features`, for `Dataset.from_list(rows, features=...)` and its like.

    Args:
        images (`bool`): `False` for a data set of stage 1, which has no `image` column.
    """
    datasets = import_datasets("the schema of a data set")
    columns = {"image": datasets.Image()} if images else {}
    columns["text"] = datasets.Value("string")
    for name, size in HandParams.FIELDS.items():
        dtype = "bool" if name == "hand_visible" else "float32"
        columns[name] = datasets.List(datasets.Value(dtype), length=size)
    columns |= {"source": datasets.Value("string"), "crop": datasets.List(datasets.Value("float32"))}
    return datasets.Features(columns)


def import_datasets(what: str) -> Any:
    """Hugging Face `datasets`, or an `ImportError` that says what it is wanted for and how to get it."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"{what} needs Hugging Face datasets: pip install 'diffusers_handiffuser[train]' (or pip install datasets)"
        ) from error
    return datasets


def _parse_field(row: Mapping, name: str, size: int, problems: list) -> np.ndarray | None:
    if name not in row:
        problems.append((name, "is missing"))
        return None
    try:
        values = np.asarray(row[name], np.float32)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        problems.append((name, f"must be a list of {size} numbers ({error})"))
        return None
    if values.shape != (size,):
        problems.append((name, f"must be a list of {size} numbers, but has shape {values.shape}"))
    elif not np.isfinite(values).all():
        problems.append((name, "holds a value that is not finite"))
    elif name == "camera" and not values[0] > 0:
        problems.append((name, f"must have a positive scale in its first number, but has {values[0]}"))
    elif name == "hand_visible":
        if np.isin(values, (0, 1)).all():
            return values.astype(bool)
        problems.append((name, f"must be two of true and false, but is {row[name]}"))
    return values


def _parse_picture(row: Mapping, where: str, folder: Path | None, problems: list) -> Picture | None:
    column = next((name for name in IMAGE_COLUMNS if row.get(name) is not None and row.get(name) != ""), None)
    if column is None:
        return None
    value = row[column]
    if isinstance(value, str):
        path = Path(value)
        if "\0" not in value and not path.is_absolute() and ".." not in path.parts:
            return Picture(where, Path(folder or "") / path)
        problems.append((column, f"must be a path inside the folder, but is {value!r}"))
        return None
    if column == "image" and isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes):
            return Picture(where, value["bytes"])
        if isinstance(value.get("path"), str):
            return _parse_stored_path(value["path"], where, folder, problems)
    problems.append((column, f"must be a path inside the folder, but is {type(value).__name__}"))
    return None


def _parse_stored_path(path: str, where: str, folder: Path | None, problems: list) -> Picture | None:
    """What `datasets` stores for a picture in a file of its own: a path on this machine, or a URL."""
    if "://" not in path:
        return Picture(where, Path(folder or "", path))
    protocols = re.findall(r"(?:^|::)([^:/]*)://", path)
    if len(protocols) == path.count("://") and set(protocols) <= set(_PROTOCOLS):
        return Picture(where, path)
    problems.append(("image", f"must be on this machine or on the Hub (hf://...), but is {path!r}"))
    return None
