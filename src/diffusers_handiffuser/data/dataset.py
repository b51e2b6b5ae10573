"""Random access: `HandDataset` holds the rows of a data set in memory and reads images from disk."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.file_download import repo_folder_name

from ..hands import HandBodyModel, HandParams
from ..utils.atomic_arrays import cached_array
from ..utils.messages import reason_of
from ..utils.suggestions import suggests_keywords
from .defective import DEFECT_COLUMN, refuse_defect
from .geometry import hands_in_square
from .rows import (
    HandRow,
    Picture,
    PictureError,
    RowError,
    hand_features,
    import_datasets,
    parse_row,
    require_image,
    stack_hand_params,
)
from .sources import MAX_ROW_BYTES, RawRow, Shard, find_shards, metadata_shard
from .stored_paths import check_stored_path, inside_of

DECODING = b"upright"
"""How images are decoded, as a part of fingerprints: caches of images that lie on their side are not used."""


@suggests_keywords
def open_dataset(
    name_or_path: str | Path,
    split: str = "train",
    revision: str | None = None,
    subset: str | None = None,
    max_rows: int | None = None,
    need_images: bool = False,
    *,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> "HandDataset":
    """Opens a data set for random access; `stream_dataset` reads data sets that are too large for it.

    Args:
        name_or_path (`str` or `Path`): see `find_shards`. Folders are read in place; everything else is downloaded
            and converted by Hugging Face `datasets`, in its cache.
        split (`str`): see `find_shards`.
        revision (`str`, *optional*): see `find_shards`.
        subset (`str`, *optional*): see `find_shards`.
        max_rows (`int`, *optional*): read only the first rows.
        need_images (`bool`): refuse rows without an image, or whose image is defective on purpose.
        max_row_bytes (`int`): see `find_shards`.
    """
    shards = find_shards(name_or_path, split, revision, subset, max_row_bytes=max_row_bytes)
    if shards[0].kind in ("jsonl", "metadata"):
        return HandDataset(Path(shards[0].path).parent, max_rows, need_images)
    datasets = import_datasets(f"reading {name_or_path}")
    folders: list[Path] = []
    with _causes_shown(datasets, name_or_path):
        if shards[0].kind == "other":
            folders = _folders_of(shards[0].path, datasets)
            table = datasets.load_dataset(shards[0].path, **dict(shards[0].options))
        else:
            # With the stamps in its key, the cache of `datasets` notices changed files.
            arguments = {"shards": shards, "stamps": [_stamp(shard) for shard in shards]}
            table = datasets.Dataset.from_generator(_checked_rows, features=hand_features(), gen_kwargs=arguments)
    return HandDataset.from_datasets(table, f"{name_or_path}, split {split}", max_rows, need_images, folders=folders)


class HandDataset:
    """The rows of a data set folder, in memory as stacked arrays; images are read on request.

    Args:
        folder (`str` or `Path`): folder with a `metadata.jsonl` or `metadata.parquet`. `open_dataset` reads other
            formats.
        max_rows (`int`, *optional*): read only the first rows.
        need_images (`bool`): refuse rows without an image, or whose image is defective on purpose.

    Attributes:
        texts (`list[str]`): the captions.
        hand_params (`HandParams` of batch shape (N,)): the hands.
        scenes (`list[dict | None]`): what the studio drew each row from; `None` in rows without the column `scene`.
        image_paths (`list[Path | None]`): each row's image file; `None` if it has none or its bytes are in a table.
        fingerprint (`str`): hash of the rows and of their images' sizes in bytes; names the caches derived from them.

    Raises `FileNotFoundError` or `ValueError` with the file, the row number (from 0) and the reason.
    """

    def __init__(self, folder: str | Path, max_rows: int | None = None, need_images: bool = False):
        self.folder: Path | None = Path(folder)
        shard = metadata_shard(self.folder)
        self._images: list[Picture | None] = []
        self._table: Any = None
        self._folders: list[Path] = []
        digest = hashlib.sha256(DECODING)

        def add(row: HandRow, raw: RawRow) -> None:
            self._images.append(row.picture)
            digest.update(raw.line or _row_bytes(row))
            if need_images:
                refuse_defect(row.columns, raw.where)
                digest.update(str(require_image(row.picture, raw.where).num_bytes).encode())

        self._fill(shard.path, shard.rows(), max_rows, add)
        self.image_paths = [image and image.path for image in self._images]
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def from_datasets(
        cls,
        table: Any,
        name: str = "the data set",
        max_rows: int | None = None,
        need_images: bool = False,
        *,
        folders: Iterable[str | Path] = (),
    ) -> "HandDataset":
        """Wraps a map-style `datasets.Dataset` with the columns of `hand_features()`; images are not copied.

        Args:
            table (`datasets.Dataset`): with or without `image`; other columns are ignored.
            name (`str`): shown in error messages.
            max_rows (`int`, *optional*): read only the first rows.
            need_images (`bool`): refuse rows without an image, or whose image is defective on purpose.
            folders (iterable of `str` or `Path`): folders that image files are read from. An untrusted table can
                name any file of this machine, so no other file is opened.
        """
        datasets = import_datasets("HandDataset.from_datasets")
        self = cls.__new__(cls)
        self.folder = None
        if max_rows is not None:
            table = table.select(range(min(max_rows, len(table))))
        read = (*hand_features(images=False), DEFECT_COLUMN)
        columns = [name for name in read if name in table.column_names]
        for column in columns:
            if hasattr(table.features[column], "decode_example"):
                kind = type(table.features[column]).__name__
                raise ValueError(f"{name}: `{column}` claims to hold files of the type {kind}")
        self._folders = [Path(folder) for folder in folders]
        has_images = "image" in table.column_names
        self._table = table.cast_column("image", datasets.Image(decode=False)) if has_images else None
        sizes: Iterator[int | None] = iter(self._image_sizes(name) if has_images else [None] * len(table))
        rows = (RawRow(f"{name}, row {number}", value) for number, value in enumerate(table.select_columns(columns)))
        digest = hashlib.sha256(DECODING)

        def add(row: HandRow, raw: RawRow) -> None:
            size = next(sizes)
            if need_images:
                refuse_defect(row.columns, raw.where)
                if size is None:
                    require_image(None, raw.where)
            digest.update(_row_bytes(row) + str(size).encode())

        self._fill(name, rows, None, add)
        self._images, self.image_paths = [None] * len(self), [None] * len(self)
        self.fingerprint = digest.hexdigest()[:16]
        return self

    def _fill(
        self, name: str, raw_rows: Iterable[RawRow], max_rows: int | None, add: Callable[[HandRow, RawRow], None]
    ) -> None:
        rows, self.texts, self.scenes = [], [], []
        self._name = name
        for raw in islice(raw_rows, max_rows):
            if isinstance(raw.value, RowError):
                raise raw.value
            row = parse_row(raw.value, raw.where, raw.folder)
            add(row, raw)
            rows.append(HandRow(row.text, row.fields))
            self.texts.append(row.text)
            self.scenes.append(raw.value.get("scene"))
        if not rows:
            raise ValueError(f"{name} holds no rows")
        self.hand_params = stack_hand_params(rows)

    def __len__(self) -> int:
        return len(self.texts)

    def picture(self, row: int) -> Picture:
        """The image of a row, not decoded yet; `ValueError` if it has none."""
        image, where = self._images[row], f"{self._name}, row {row}"
        if image is None and self._table is not None:
            image = self._stored_image(where, **(self._table[int(row)]["image"] or {}))
        if image is None:
            raise ValueError(f"{where}: the row has no image")
        return image

    def _stored_image(self, where: str, bytes: bytes | None = None, path: str | None = None) -> Picture | None:
        """The image of a table row, from `bytes` and `path` as `datasets` stores them."""
        if bytes is not None:
            return Picture(where, bytes)
        if path is None:
            return None
        folder, inside = inside_of(path, self._folders) or (self._folders[0] if self._folders else None, path)
        try:
            if folder is None:
                raise ValueError(f"names the file {path!r}; `folders` says where image files may lie")
            return Picture(where, folder / check_stored_path(inside), folder)
        except ValueError as error:
            raise RowError(where, [("image", str(error))]) from None

    def _image_sizes(self, name: str) -> Iterator[int | None]:
        """Size in bytes of every image of a table; images stored in the table are not read."""
        import pyarrow.compute as pc

        row = 0
        for part in self._table.select_columns("image").with_format("arrow").iter(1000):
            stored, paths = (pc.struct_field(part["image"], field) for field in ("bytes", "path"))
            for size, path in zip(pc.binary_length(stored).to_pylist(), paths.to_pylist(), strict=True):
                image = self._stored_image(f"{name}, row {row}", path=path) if size is None else None
                yield image.num_bytes if image else size
                row += 1

    def square_hand_params(self, rows: Sequence[int] | np.ndarray, body_model: HandBodyModel) -> HandParams:
        """The hands of some rows as `load_image` shows them, see `geometry.hands_in_square`.

        Raises a `ValueError` if a row has no image, or one that cannot be read.
        """
        hands = self.hand_params[torch.as_tensor(np.asarray(rows), dtype=torch.long)]
        return hands_in_square(hands, [self.picture(row).size for row in rows], body_model)

    def load_image(self, row: int, resolution: int) -> np.ndarray:
        """Image of a row as (resolution, resolution, 3) uint8: centre crop over the shorter side, resized."""
        return self.picture(row).square(resolution)

    def images(self, resolution: int, cache_dir: str | Path | None = None) -> np.ndarray:
        """All images as one (N, resolution, resolution, 3) uint8 array.

        With `cache_dir` the array is a read-only memory map of `images-<fingerprint>-<resolution>.npy` there, written
        by the first call and reused by later runs.
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


def _row_bytes(row: HandRow) -> bytes:
    return json.dumps(row.text).encode() + b"".join(value.tobytes() for value in row.fields.values())


def _checked_rows(shards: list[Shard], stamps: list) -> Iterator[dict[str, Any]]:
    columns = list(hand_features())
    for shard in shards:
        for raw in shard.rows():
            if isinstance(raw.value, RowError):
                raise raw.value
            image = parse_row(raw.value, raw.where, raw.folder).picture
            row = {name: raw.value.get(name) for name in columns}
            yield row | {"image": image and {"bytes": image.read(), "path": None}}


@contextlib.contextmanager
def _causes_shown(datasets: Any, name_or_path: str | Path) -> Iterator[None]:
    """Raises the cause of an error in a row or file; `datasets` only reports that there was one."""
    try:
        yield
    except datasets.exceptions.DatasetGenerationError as error:
        cause = error.__cause__ or error
        is_ours = isinstance(cause, RowError | PictureError | OSError) or type(cause) is ValueError
        if is_ours and str(cause).isprintable():
            raise cause from None
        raise ValueError(f"Cannot read {name_or_path}: {reason_of(cause)}.") from error


def _folders_of(name_or_path: str, datasets: Any) -> list[Path]:
    """Where `datasets` keeps the image files of a data set: its own folder or, for one on the Hub, the caches."""
    if Path(name_or_path).is_dir():
        return [Path(name_or_path)]
    downloads = Path(datasets.config.HF_DATASETS_CACHE, "downloads", "extracted")
    return [Path(HF_HUB_CACHE, repo_folder_name(repo_id=name_or_path, repo_type="dataset")), downloads]


def _stamp(shard: Shard) -> tuple[int, int] | None:
    """Size and time of a local file; `None` for a file on the Hub, whose path has its commit."""
    if not os.path.isfile(shard.path):
        return None
    status = os.stat(shard.path)
    return status.st_size, status.st_mtime_ns
