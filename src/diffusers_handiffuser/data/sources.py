"""Where rows are stored: folders, Parquet and WebDataset shards, data sets on the Hub.

A source is a list of shards, files that are read from the front, row by row. Folders need nothing but this package
(`metadata.parquet` needs pyarrow); all else goes through Hugging Face `datasets`, which finds the files of a data set
and reads Parquet. WebDataset archives are read here: `datasets` would take the types of all rows from the first five
and, where those hold whole numbers, cut the fractions off the others.
"""

import contextlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..messages import reason_of
from .rows import RowError, import_datasets, parse_json

METADATA_NAME = "metadata.jsonl"
PARQUET_METADATA_NAME = "metadata.parquet"
_MAX_LINE_BYTES = 2**24
_MAX_MEMBER_BYTES = 2**28


class RawRow(NamedTuple):
    """A row before it is checked: `value` is a dict, or the `RowError` that says why there is none."""

    where: str
    value: Any
    folder: Path | None = None
    line: bytes | None = None


@dataclass(frozen=True)
class Shard:
    """One file of a data set.

    Args:
        path (`str`): of the file; for `"other"` the name of the data set.
        kind (`str`): `"jsonl"` and `"metadata"` (a folder's `metadata.jsonl` and `metadata.parquet`), `"parquet"`,
            `"webdataset"`, or `"other"`: what else `datasets` can read.
        options (`tuple` of pairs): for `"other"`, further arguments of `datasets.load_dataset`.
    """

    path: str
    kind: str
    options: tuple[tuple[str, Any], ...] = ()

    def rows(self) -> Iterator[RawRow]:
        """The rows from the front; every call opens the file anew."""
        yield from _READERS[self.kind](self)


def metadata_shard(folder: str | Path) -> Shard:
    """The metadata file of a folder of rows and pictures; `FileNotFoundError` if there is none."""
    folder = Path(folder)
    for name, kind in ((METADATA_NAME, "jsonl"), (PARQUET_METADATA_NAME, "metadata")):
        if (folder / name).is_file():
            return Shard(str(folder / name), kind)
    raise FileNotFoundError(
        f"{folder / METADATA_NAME} not found: a data set is a folder with a {METADATA_NAME} or {PARQUET_METADATA_NAME}"
    )


def find_shards(
    name_or_path: str | Path, split: str = "train", revision: str | None = None, subset: str | None = None
) -> list[Shard]:
    """The files of one split of a data set.

    Args:
        name_or_path (`str` or `Path`): a folder with `metadata.jsonl` or `metadata.parquet` (or with one such folder
            per split), a folder of Parquet files or `.tar` archives, one such file, a pattern such as
            `shards/*.tar`, or the name of a data set on the Hub.
        split (`str`): which part. A folder with metadata of its own is all there is to `"train"`.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        subset (`str`, *optional*): which configuration of a data set that has several.

    Raises `FileNotFoundError` if there is no such data set, `ValueError` if it has no such split.
    """
    path = Path(name_or_path)
    folders = [path / split, path] if split == "train" else [path / split]
    for folder in folders:
        if any((folder / name).is_file() for name in (METADATA_NAME, PARQUET_METADATA_NAME)):
            return [metadata_shard(folder)]
    if path.name in (METADATA_NAME, PARQUET_METADATA_NAME) and path.is_file():
        return [metadata_shard(path.parent)]
    if (path / METADATA_NAME).is_file() or (path / PARQUET_METADATA_NAME).is_file():
        raise ValueError(f"`split` {split!r}: {path} has no folder of that name; its metadata are those of 'train'")

    arguments: dict[str, Any] = {"path": str(name_or_path), "name": subset, "revision": revision}
    kind = {".parquet": "parquet", ".tar": "webdataset"}.get(path.suffix.lower())
    if kind is not None:
        arguments = {"path": kind, "data_files": {split: str(name_or_path)}}
    datasets = import_datasets(f"reading {name_or_path}")
    try:
        builder = datasets.load_dataset_builder(**arguments)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{name_or_path} is neither a folder with a {METADATA_NAME}, nor Parquet or .tar files, nor a data set on "
            f"the Hub: {error}"
        ) from error
    files = builder.config.data_files or {}
    if split not in files:
        raise ValueError(f"`split` must be one of {', '.join(map(str, files)) or 'none'}, got {split!r}")
    kind = type(builder).__module__.rpartition(".")[2]
    if kind in ("parquet", "webdataset"):
        return [Shard(file, kind) for file in files[split]]
    options = {"split": split, "name": subset, "revision": revision}
    return [Shard(str(name_or_path), "other", tuple(options.items()))]


def _read_jsonl(shard: Shard) -> Iterator[RawRow]:
    folder, number = Path(shard.path).parent, 0
    with open(shard.path, "rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            if not line.strip():
                continue
            where = f"{shard.path}, row {number}"
            if len(line) == _MAX_LINE_BYTES:
                raise ValueError(f"{where}: the line has more than {_MAX_LINE_BYTES} bytes")
            try:
                value = parse_json(line, where)
            except RowError as error:
                value = error
            yield RawRow(where, value, folder, line)
            number += 1


def _read_metadata_parquet(shard: Shard) -> Iterator[RawRow]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{shard.path} needs pyarrow: pip install pyarrow") from error
    folder, number = Path(shard.path).parent, 0
    with _damage_named(shard), pyarrow.parquet.ParquetFile(shard.path) as file:
        for batch in file.iter_batches(batch_size=256):
            for value in batch.to_pylist():
                yield RawRow(f"{shard.path}, row {number}", value, folder)
                number += 1


def _read_parquet(shard: Shard) -> Iterator[RawRow]:
    datasets = import_datasets(f"reading {shard.path}")
    rows = datasets.load_dataset("parquet", data_files=[shard.path], split="train", streaming=True)
    for number, value in enumerate(rows.decode(False)):
        yield RawRow(f"{shard.path}, row {number}", value)


def _read_other(shard: Shard) -> Iterator[RawRow]:
    datasets = import_datasets(f"reading {shard.path}")
    rows = datasets.load_dataset(shard.path, streaming=True, **dict(shard.options))
    for number, value in enumerate(rows.decode(False) if rows.features else rows):
        yield RawRow(f"{shard.path}, row {number}", value)


def _read_webdataset(shard: Shard) -> Iterator[RawRow]:
    """Members that share a name up to the first dot are one row: `.json` its columns, `.txt` its caption."""
    import fsspec

    with (
        _damage_named(shard),
        fsspec.open(shard.path, "rb") as file,
        tarfile.open(fileobj=file, mode="r|*") as archive,
    ):
        number, key = 0, None
        parts: dict[str, bytes] = {}
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            stem, dot, suffix = name.partition(".")
            content = archive.extractfile(member)
            if content is None or not dot or not stem:
                continue
            if (folder, stem) != key and parts:
                yield _webdataset_row(shard, number, parts)
                number, parts = number + 1, {}
            key = (folder, stem)
            if member.size > _MAX_MEMBER_BYTES:
                raise ValueError(f"{member.name} has more than {_MAX_MEMBER_BYTES} bytes")
            parts[suffix.lower()] = content.read()
        if parts:
            yield _webdataset_row(shard, number, parts)


@contextlib.contextmanager
def _damage_named(shard: Shard) -> Iterator[None]:
    """Damaged files make their readers fail in many ways, few of which name the file."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, GeneratorExit):
        raise
    except Exception as error:
        raise ValueError(f"Cannot read {shard.path}: {reason_of(error)}.") from error


def _webdataset_row(shard: Shard, number: int, parts: dict[str, bytes]) -> RawRow:
    where = f"{shard.path}, row {number}"
    if "json" not in parts:
        return RawRow(where, RowError(where, [("", f"has no .json beside {', '.join(parts)}")]))
    try:
        value = parse_json(parts.pop("json"), where)
    except RowError as error:
        return RawRow(where, error)
    if isinstance(value, dict):
        # Where the picture stood before it was packed says nothing any more.
        value = {name: column for name, column in value.items() if name not in ("file_name", "image")}
        if "txt" in parts:
            value["text"] = parts.pop("txt").decode("utf-8", errors="replace").strip()
        if parts:
            suffix = next(iter(parts))
            value["image"] = {"bytes": parts[suffix], "path": None}
    return RawRow(where, value)


_READERS = {
    "jsonl": _read_jsonl,
    "metadata": _read_metadata_parquet,
    "parquet": _read_parquet,
    "webdataset": _read_webdataset,
    "other": _read_other,
}
