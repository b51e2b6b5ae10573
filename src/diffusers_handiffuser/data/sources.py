"""Where rows are stored: folders, Parquet and WebDataset shards, data sets on the Hub.

A source is a list of shards: files that are read in order, row by row. Folders need nothing but this package (Parquet
needs pyarrow). Hugging Face `datasets` locates the files of all other data sets, but Parquet and WebDataset archives
are read here: `datasets` would unpack without a limit, decode columns as the types that the file claims, and infer the
types of all rows of an archive from the first five, which truncates fractions if those rows hold whole numbers.
"""

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..hub.places import hub_unreachable, looks_like_a_path
from ..utils.contained_paths import refuse_outside
from ..utils.images import IMAGE_SUFFIXES
from ..utils.messages import printable, reason_of
from .archives import read_members
from .dataset_cards import refuse_data_files_elsewhere
from .parquet import read_parquet
from .rows import RowError, import_datasets, parse_json
from .stored_paths import inside_of

METADATA_NAME = "metadata.jsonl"
PARQUET_METADATA_NAME = "metadata.parquet"
MAX_ROW_BYTES = 2**28
_MAX_LINE_BYTES = 2**24
_FILES = (".parquet", ".tar")
_ON_THE_HUB = re.compile(r"(hf://datasets/[^/]+/[^/@]+(?:@[^/]+)?)/(.+)")


class RawRow(NamedTuple):
    """An unchecked row: `value` is a dict, or the `RowError` that explains why it could not be read.

    `folder` is the argument of `parse_row`: the folder that its image must lie in.
    """

    where: str
    value: Any
    folder: Path | str | None = None
    line: bytes | None = None


@dataclass(frozen=True)
class Shard:
    """One file of a data set.

    Args:
        path (`str`): the file; for `"other"` the name of the data set.
        kind (`str`): `"jsonl"` and `"metadata"` (a folder's `metadata.jsonl` and `metadata.parquet`), `"parquet"`,
            `"webdataset"`, or `"other"` for anything else that `datasets` can read.
        options (`tuple` of pairs): for `"other"`, more arguments of `datasets.load_dataset`.
        max_row_bytes (`int`): the largest row of an archive, including its image.
    """

    path: str
    kind: str
    options: tuple[tuple[str, Any], ...] = ()
    max_row_bytes: int = MAX_ROW_BYTES

    @property
    def folder(self) -> Path | str | None:
        """The folder that image paths in its rows are relative to, or its URL on the Hub."""
        if self.kind == "other":
            return None
        if "://" in self.path:
            return self.path.rpartition("/")[0] if _ON_THE_HUB.fullmatch(self.path) else None
        return Path(self.path).parent

    def rows(self) -> Iterator[RawRow]:
        """The rows in order; every call reopens the file."""
        yield from _READERS[self.kind](self)


def metadata_shard(folder: str | Path) -> Shard:
    """The metadata file of a data set folder; raises a `FileNotFoundError` if there is none."""
    folder = Path(folder)
    if absent := no_such_folder(str(folder)):
        raise FileNotFoundError(f"{absent}: a data set is a folder with a {METADATA_NAME} or {PARQUET_METADATA_NAME}")
    for name, kind in ((METADATA_NAME, "jsonl"), (PARQUET_METADATA_NAME, "metadata")):
        if (folder / name).is_file():
            refuse_outside(folder / name, folder)
            return Shard(str(folder / name), kind)
    for left in folder.glob(f"{METADATA_NAME}.*.tmp"):
        raise FileNotFoundError(
            f"{folder / METADATA_NAME} not found, but {left.name}: the writing of this data set was interrupted; "
            "create it again"
        )
    raise FileNotFoundError(
        f"{folder / METADATA_NAME} not found: a data set is a folder with a {METADATA_NAME} or {PARQUET_METADATA_NAME}"
    )


def find_shards(
    name_or_path: str | Path,
    split: str = "train",
    revision: str | None = None,
    subset: str | None = None,
    *,
    max_row_bytes: int = MAX_ROW_BYTES,
) -> list[Shard]:
    """The files of one split of a data set.

    Args:
        name_or_path (`str` or `Path`): a folder with `metadata.jsonl` or `metadata.parquet` (or with one such folder
            per split), a folder of Parquet files or `.tar` archives, one such file, a pattern such as
            `shards/*.tar`, or the name of a data set on the Hub.
        split (`str`): the split. A folder with its own metadata only has `"train"`.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        subset (`str`, *optional*): configuration of a data set that has several.
        max_row_bytes (`int`): the largest row of a `.tar` archive, including its image; 256 MiB by default.

    Raises a `FileNotFoundError` if there is no such data set, and a `ValueError` if it has no such split or its files
    lie outside it.
    """
    path = Path(name_or_path)
    folders = [path / split, path] if split == "train" else [path / split]
    for folder in folders:
        if any((folder / name).is_file() for name in (METADATA_NAME, PARQUET_METADATA_NAME)):
            refuse_outside(folder, path)
            return [metadata_shard(folder)]
    if path.name in (METADATA_NAME, PARQUET_METADATA_NAME) and path.is_file():
        return [metadata_shard(path.parent)]
    if (path / METADATA_NAME).is_file() or (path / PARQUET_METADATA_NAME).is_file():
        raise ValueError(f"`split` {split!r}: {path} has no folder of that name; its metadata are those of 'train'")
    if any(path.glob(f"{METADATA_NAME}.*.tmp")):
        return [metadata_shard(path)]

    # `datasets` would take a bare name such as "csv" for a file format.
    place = os.path.join(os.curdir, path) if path.is_dir() and len(path.parts) == 1 else str(name_or_path)
    arguments: dict[str, Any] = {"path": place, "name": subset, "revision": revision}
    kind = {".parquet": "parquet", ".tar": "webdataset"}.get(path.suffix.lower())
    elsewhere = _refuse_absent(str(name_or_path))
    try:
        datasets = import_datasets(f"reading {name_or_path}")
    except ImportError as error:
        raise ImportError(f"there is no folder {str(name_or_path)!r} here; {error}" if elsewhere else error) from error
    cached = Path(datasets.config.HF_DATASETS_CACHE, str(name_or_path).replace("/", "___"))
    if elsewhere and not cached.is_dir() and (reason := hub_unreachable(str(name_or_path), "dataset")):
        raise FileNotFoundError(f"{elsewhere}, and the Hub cannot be reached: {reason}")
    if kind is None:
        refuse_data_files_elsewhere(name_or_path, revision)
    else:
        arguments = {"path": kind, "data_files": {split: str(name_or_path)}}
    try:
        builder = datasets.load_dataset_builder(**arguments)
    except Exception as error:  # `datasets` fails in many ways on unusual cards and names
        if elsewhere:
            raise FileNotFoundError(f"{elsewhere}, and no such data set on the Hub: {reason_of(error)}") from error
        raise FileNotFoundError(
            f"{name_or_path} is neither a folder with a {METADATA_NAME}, nor Parquet or .tar files, nor a data set on "
            f"the Hub: {reason_of(error)}"
        ) from error
    files = builder.config.data_files or {}
    if split not in files:
        raise ValueError(f"`split` must be one of {', '.join(map(str, files)) or 'none'}, got {split!r}")
    if kind is None and path.is_dir():
        for file in files[split]:
            refuse_outside(Path(file), path)
    kind = type(builder).__module__.rpartition(".")[2]
    if kind in ("parquet", "webdataset"):
        return [Shard(file, kind, max_row_bytes=max_row_bytes) for file in files[split]]
    options = {"split": split, "name": subset, "revision": revision}
    return [Shard(place, "other", tuple(options.items()))]


def no_such_folder(name: str) -> str | None:
    """That nothing has this name on this machine; `None` if something has, or if it is a pattern or a URL."""
    if os.path.exists(name) or glob.has_magic(name) or "://" in name:
        return None
    return f"there is no {'file' if name.endswith(_FILES) else 'folder'} {name!r} here"


def _refuse_absent(name: str) -> str | None:
    """`no_such_folder` of a name that may be on the Hub; a `FileNotFoundError` for one that cannot."""
    absent = no_such_folder(name)
    if absent and (name.endswith(_FILES) or looks_like_a_path(name)):
        raise FileNotFoundError(f"{absent}; wanted a folder, Parquet or .tar files, or a data set on the Hub")
    return absent


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


def _read_parquet(shard: Shard) -> Iterator[RawRow]:
    with _errors_name_shard(shard), _opened(shard) as file:
        for number, value in enumerate(read_parquet(file)):
            yield RawRow(f"{shard.path}, row {number}", value, shard.folder)


def _read_other(shard: Shard) -> Iterator[RawRow]:
    datasets = import_datasets(f"reading {shard.path}")
    with _errors_name_shard(shard):
        rows = datasets.load_dataset(shard.path, streaming=True, **dict(shard.options))
        for number, value in enumerate(rows.decode(False) if rows.features else rows):
            yield _with_its_folder(RawRow(f"{shard.path}, row {number}", value), shard.path)


def _with_its_folder(raw: RawRow, name: str) -> RawRow:
    """Sets the folder of a row whose image is a file that `datasets` located, on the Hub or on this machine."""
    image = raw.value.get("image") if isinstance(raw.value, Mapping) else None
    path = image.get("path") if isinstance(image, Mapping) and image.get("bytes") is None else None
    if not isinstance(path, str):
        return raw
    on_the_hub = _ON_THE_HUB.fullmatch(path)
    found: tuple[Path | str, str] | None
    if on_the_hub and on_the_hub[1].partition("@")[0] == f"hf://datasets/{name}":
        found = on_the_hub[1], on_the_hub[2]
    else:
        found = inside_of(path, [Path(name)] if Path(name).is_dir() else [])
    if found is None:
        return raw
    return raw._replace(value={**raw.value, "image": {"bytes": None, "path": found[1]}}, folder=found[0])


def _read_webdataset(shard: Shard) -> Iterator[RawRow]:
    """Members that share a name up to the first dot form a row: columns in `.json`, caption in `.txt`, one image."""
    with _errors_name_shard(shard), _opened(shard) as file:
        number, key = 0, None
        parts: dict[str, bytes] = {}
        for path, content, size in read_members(file, shard.max_row_bytes):
            folder, _, name = path.rpartition("/")
            stem, dot, suffix = name.partition(".")
            if not dot or not stem:
                continue
            if (folder, stem) != key and parts:
                yield _webdataset_row(shard, number, parts)
                number, parts = number + 1, {}
            key, suffix = (folder, stem), suffix.lower()
            if size > _MAX_LINE_BYTES and suffix in ("json", "txt"):
                raise ValueError(f"{path} has more than {_MAX_LINE_BYTES} bytes")
            if sum(map(len, parts.values())) + size > shard.max_row_bytes:
                raise ValueError(f"the row of {path} has more than {shard.max_row_bytes} bytes")
            parts[suffix] = content.read()
        if parts:
            yield _webdataset_row(shard, number, parts)


def _opened(shard: Shard) -> Any:
    """Opens the file of a shard, which the user named or `datasets` found in the data set."""
    if "://" not in shard.path:
        return open(shard.path, "rb")
    import fsspec

    return fsspec.open(shard.path, "rb")


@contextlib.contextmanager
def _errors_name_shard(shard: Shard) -> Iterator[None]:
    """Names the file in errors: readers fail in many ways on damaged files, and few of them name it."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, GeneratorExit):
        raise
    except Exception as error:
        raise ValueError(f"Cannot read {shard.path}: {reason_of(error)}.") from error


def _webdataset_row(shard: Shard, number: int, parts: dict[str, bytes]) -> RawRow:
    where = f"{shard.path}, row {number}"
    if "json" not in parts:
        return RawRow(where, RowError(where, [("", f"has no .json beside {printable(', '.join(parts))}")]))
    try:
        value = parse_json(parts.pop("json"), where)
        image = _webdataset_image(where, parts)
    except RowError as error:
        return RawRow(where, error)
    if isinstance(value, dict):
        # The path from before the image was packed is no longer valid.
        value = {name: column for name, column in value.items() if name not in ("file_name", "image")}
        if "txt" in parts:
            value["text"] = parts.pop("txt").decode("utf-8", errors="replace").strip()
        if image is not None:
            value["image"] = {"bytes": image, "path": None}
    return RawRow(where, value)


def _webdataset_image(where: str, parts: Mapping[str, bytes]) -> bytes | None:
    """The member whose whole suffix is an image's, so neither `.depth.png` nor `.npy`.

    Raises a `RowError` if there are several, or only images with longer suffixes.
    """
    whole = [suffix for suffix in parts if suffix in IMAGE_SUFFIXES]
    if len(whole) == 1:
        return parts[whole[0]]
    others = [suffix for suffix in parts if suffix.rpartition(".")[2] in IMAGE_SUFFIXES]
    shown = printable(", ".join(f".{suffix}" for suffix in whole or others))
    if whole:
        raise RowError(where, [("image", f"may be any of {shown}: keep one")])
    if others:
        raise RowError(where, [("image", f"is none of {shown}: its whole suffix must be an image's, such as .png")])
    return None


_READERS = {
    "jsonl": _read_jsonl,
    "metadata": _read_parquet,
    "parquet": _read_parquet,
    "webdataset": _read_webdataset,
    "other": _read_other,
}
