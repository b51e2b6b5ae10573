"""`HandDataset`: the rows of a data set held in memory, its pictures on disk. The fast path of the trainers."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..whole_files import written_aside
from .rows import HandRow, Picture, RowError, hand_features, import_datasets, parse_row, stack_hand_params
from .sources import RawRow, Shard, find_shards, metadata_shard


def open_dataset(
    name_or_path: str | Path,
    split: str = "train",
    revision: str | None = None,
    subset: str | None = None,
    max_rows: int | None = None,
    need_images: bool = False,
) -> "HandDataset":
    """Opens a data set for reading in any order. `stream_dataset` is for what is too large for that.

    Args:
        name_or_path, split, revision, subset: see `find_shards`. Folders are read where they are; all else is
            downloaded and kept by Hugging Face `datasets`, in its cache.
        max_rows (`int`, *optional*): only the first rows.
        need_images (`bool`): refuse rows that name no picture.
    """
    shards = find_shards(name_or_path, split, revision, subset)
    if shards[0].kind in ("jsonl", "metadata"):
        return HandDataset(Path(shards[0].path).parent, max_rows, need_images)
    datasets = import_datasets(f"reading {name_or_path}")
    if shards[0].kind == "webdataset":
        # The stamps make a changed file another data set to the cache of `datasets`.
        arguments = {"shards": shards, "stamps": [_stamp(shard) for shard in shards]}
        table = datasets.Dataset.from_generator(_webdataset_rows, features=hand_features(), gen_kwargs=arguments)
    elif shards[0].kind == "parquet":
        table = datasets.load_dataset("parquet", data_files=[shard.path for shard in shards], split="train")
    else:
        table = datasets.load_dataset(shards[0].path, **dict(shards[0].options))
    return HandDataset.from_datasets(table, f"{name_or_path}, split {split}", max_rows, need_images)


class HandDataset:
    """The rows of a data set folder, held in memory as stacked arrays; pictures are read when asked for.

    Args:
        folder (`str` or `Path`): folder with a `metadata.jsonl` or `metadata.parquet`. For all else see
            `open_dataset`.
        max_rows (`int`, *optional*): read only the first rows.
        need_images (`bool`): refuse rows that name no picture.

    Attributes:
        texts (`list[str]`): the captions.
        hand_params (`HandParams` of batch shape (N,)): the hands.
        image_paths (`list[Path | None]`): where each row's picture is, if it is a file of its own.
        fingerprint (`str`): hash of the rows that were read and of their pictures' sizes in bytes; caches derived from
            them are named after it.

    Raises `FileNotFoundError` or `ValueError` with file, row number (from 0) and what is wrong with the row.
    """

    def __init__(self, folder: str | Path, max_rows: int | None = None, need_images: bool = False):
        self.folder: Path | None = Path(folder)
        shard = metadata_shard(self.folder)
        self._pictures: list[Picture | None] = []
        self._table: Any = None
        digest = hashlib.sha256()

        def add(row: HandRow, raw: RawRow) -> None:
            self._pictures.append(row.picture)
            digest.update(raw.line or _row_bytes(row))
            if need_images:
                digest.update(str(_need(row.picture, raw.where).num_bytes).encode())

        self._fill(shard.path, shard.rows(), max_rows, add)
        self.image_paths = [picture and picture.path for picture in self._pictures]
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def from_datasets(
        cls, table: Any, name: str = "the data set", max_rows: int | None = None, need_images: bool = False
    ) -> "HandDataset":
        """A map-style `datasets.Dataset` with the columns of `hand_features()`; its pictures stay where they are.

        Args:
            table (`datasets.Dataset`): with or without `image`; further columns are not read.
            name (`str`): for messages.
            max_rows, need_images: as for folders.
        """
        datasets = import_datasets("HandDataset.from_datasets")
        self = cls.__new__(cls)
        self.folder = None
        if max_rows is not None:
            table = table.select(range(min(max_rows, len(table))))
        columns = [name for name in hand_features(images=False) if name in table.column_names]
        has_pictures = "image" in table.column_names
        self._table = table.cast_column("image", datasets.Image(decode=False)) if has_pictures else None
        sizes = _picture_sizes(self._table) if has_pictures else [None] * len(table)
        rows = (RawRow(f"{name}, row {number}", value) for number, value in enumerate(table.select_columns(columns)))
        digest = hashlib.sha256()

        def add(row: HandRow, raw: RawRow) -> None:
            size = sizes[len(self.texts)]
            if need_images and size is None:
                _need(None, raw.where)
            digest.update(_row_bytes(row) + str(size).encode())

        self._fill(name, rows, None, add)
        self._pictures, self.image_paths = [None] * len(self), [None] * len(self)
        self.fingerprint = digest.hexdigest()[:16]
        return self

    def _fill(
        self, name: str, raw_rows: Iterable[RawRow], max_rows: int | None, add: Callable[[HandRow, RawRow], None]
    ) -> None:
        rows, self.texts = [], []
        self._name = name
        for raw in islice(raw_rows, max_rows):
            if isinstance(raw.value, RowError):
                raise raw.value
            row = parse_row(raw.value, raw.where, raw.folder)
            add(row, raw)
            rows.append(HandRow(row.text, row.fields))
            self.texts.append(row.text)
        if not rows:
            raise ValueError(f"{name} holds no rows")
        self.hand_params = stack_hand_params(rows)

    def __len__(self) -> int:
        return len(self.texts)

    def picture(self, row: int) -> Picture:
        """The picture of a row, not decoded yet; `ValueError` if it has none."""
        picture, where = self._pictures[row], f"{self._name}, row {row}"
        if picture is None and self._table is not None:
            value = self._table[int(row)]["image"]
            if value is not None:
                content = value["bytes"]
                picture = Picture(where, Path(value["path"]) if content is None else content)
        if picture is None:
            raise ValueError(f"{where}: the row has no picture")
        return picture

    def load_image(self, row: int, resolution: int) -> np.ndarray:
        """Picture of a row as (resolution, resolution, 3) uint8: the centred square over its shorter side, resized."""
        return self.picture(row).square(resolution)

    def images(self, resolution: int, cache_dir: str | Path | None = None) -> np.ndarray:
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


def cached_array(
    path: str | Path, shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    """Read-only memory map of `path`; where it does not exist yet, `fill(array)` writes it (aside, then renamed)."""
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            array = np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
            fill(array)
            array.flush()
            del array
    array = np.load(path, mmap_mode="r")
    if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: delete it")
    return array


def _need(picture: Picture | None, where: str) -> Picture:
    if picture is None:
        raise RowError(where, [("", "neither `file_name` nor `image` names a picture")])
    return picture


def _row_bytes(row: HandRow) -> bytes:
    return json.dumps(row.text).encode() + b"".join(value.tobytes() for value in row.fields.values())


def _picture_sizes(table: Any) -> list[int | None]:
    """Bytes of every picture of a `datasets.Dataset`, without reading them where they are stored in it."""
    import pyarrow.compute as pc

    sizes: list[int | None] = []
    for part in table.select_columns("image").with_format("arrow").iter(1000):
        stored, paths = (pc.struct_field(part["image"], name) for name in ("bytes", "path"))
        for size, path in zip(pc.binary_length(stored).to_pylist(), paths.to_pylist(), strict=True):
            on_disk = size is None and path is not None and os.path.isfile(path)
            sizes.append(os.path.getsize(path) if on_disk else size)
    return sizes


def _webdataset_rows(shards: list[Shard], stamps: list) -> Iterable[dict[str, Any]]:
    columns = list(hand_features())
    for shard in shards:
        for raw in shard.rows():
            if isinstance(raw.value, RowError):
                raise raw.value
            parse_row(raw.value, raw.where)
            yield {name: raw.value.get(name) for name in columns}


def _stamp(shard: Shard) -> tuple[int, int] | None:
    """Of a file on this machine; what is on the Hub has its commit in its path."""
    if not os.path.isfile(shard.path):
        return None
    status = os.stat(shard.path)
    return status.st_size, status.st_mtime_ns
