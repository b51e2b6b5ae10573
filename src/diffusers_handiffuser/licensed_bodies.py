"""Finds the arrays of licensed body models (SMPL, SMPL-H, SMPL-X, MANO) in files that are about to be published.

A file is judged by its content, whatever its name: safetensors, npy, pickles (torch's too), HDF5, JSON and other text,
in zip, tar, gzip, bzip2 and xz, one inside another. Nothing is unpickled. An array belongs to a body if it has a shape
that only such a body's arrays have, and several do by their names, also if they are spread over the files. What equals
the procedural body is free, and so is what a `HandBodyModel` has saved that was made with `licensed=False`.

Time and memory are bounded by the files' sizes: arrays are read one at a time and only where their shape asks for it,
and what unpacks to more than `MAX_UNPACKED_BYTES` is refused rather than searched in part.
"""

import bz2
import codecs
import contextlib
import functools
import io
import itertools
import json
import lzma
import math
import os
import pickletools
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from safetensors.numpy import load_file

from .messages import reason_of

MAX_UNPACKED_BYTES = 2**32
_MAX_NESTING = 4
_MAX_MEMBERS = 100_000
_MAX_READ_BYTES = 2**23
_MAX_ARRAY_BYTES = 2**27
_MAX_JSON_BYTES = 2**24
_MAX_PICKLE_OPERATIONS = 1_000_000
_MAX_NAME_BYTES = 4096
_MAX_XZ_MEMORY = 2**28
_CHUNK_BYTES = 2**20
_MAX_SHOWN = 100

_BODY_FILE_NAME = re.compile(r"(^|[^a-z])(smpl|mano)(h|x|\+h)?($|[^a-z])", re.IGNORECASE)
_ARRAY_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy", ".pkl", ".msgpack", ".h5")


class _Body(NamedTuple):
    num_vertices: int
    num_faces: int
    num_joints: tuple[int, ...]


_BODIES = {
    "SMPL or SMPL-H": _Body(6890, 13776, (24, 52)),
    "SMPL-X": _Body(10475, 20908, (55,)),
    "MANO": _Body(778, 1538, (16,)),
}
_DIRECTIONS = {*(10, 16, 20, 300, 400), *(9 * (joints - 1) for body in _BODIES.values() for joints in body.num_joints)}
"""Usual numbers of shape and of pose directions."""

_FILE_NAMES = ("v_template", "shapedirs", "posedirs", "J_regressor")
_MODEL_NAMES = ("template", "shape_directions")
"""Of the arrays in an SMPL-H file, and of those of a `HandBodyModel`."""
_NAME = re.compile(rf"(?:(?:^|[^A-Za-z0-9])({'|'.join(_FILE_NAMES)})|(?:^|[./])({'|'.join(_MODEL_NAMES)}))$")
_NAME_IN_BYTES = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join((*_FILE_NAMES, *_MODEL_NAMES))})(?![A-Za-z0-9_])".encode())
_NAME_WITH_NUMBERS = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join((*_FILE_NAMES, *_MODEL_NAMES))})[\"']?\s*[:=,]?\s*"
    r"(?:[\[({\s]*[-+0-9.][-+0-9.eE,\s\[\](){}]{1000}|[\"'][A-Za-z0-9+/=]{1000})".encode()
)
_LONGEST_MATCH = 2048
_NAMES = tuple(name.encode() for name in (*_FILE_NAMES, *_MODEL_NAMES))
_HDF5_SIZES = tuple(struct.pack("<2Q", body.num_vertices, 3) for body in _BODIES.values())
_HDF5_SHAPE = re.compile(
    rb"(?:\x01[\x02\x03][\x00\x01]\x00{5}|\x02[\x02\x03][\x00\x01]\x01)("
    + b"|".join(map(re.escape, _HDF5_SIZES))
    + rb")",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Array:
    """What is known of an array in a file.

    Args:
        name (`str`): "" if it has none.
        shape (`tuple[int, ...]`, *optional*): if it is known.
        is_free (`bool`): it equals the procedural body's array of this shape, or is zero.
    """

    name: str = ""
    shape: tuple[int, ...] | None = None
    is_free: bool = False


class _Unsearchable(ValueError):
    """Says why it is not known what a file holds."""


class _Licensed(ValueError):
    """Says by what a file is known to hold a licensed body."""


def refuse_licensed_bodies(files: Mapping[str, Path]) -> None:
    """Raises a `ValueError` that names the first file with a licensed body, or one that cannot be searched.

    Args:
        files (`Mapping[str, Path]`): those that are about to be published together, by the names that errors give.
    """
    seen: dict[str, str] = {}
    free_bodies: dict[tuple[Path, ...], bool] = {}
    for name, path in files.items():
        config = _config_beside(path)
        try:
            seen = _search(name, path, bool(config.get("licensed")), seen)
        except _Licensed as error:
            if path.suffix == ".safetensors" and config.get("_class_name") == "HandBodyModel":
                shards = _shards(path)
                if shards not in free_bodies:
                    free_bodies[shards] = _is_free_body(config, shards)
                if free_bodies[shards]:
                    continue
            raise ValueError(
                f"{name!r} {error}; a licensed body must not be uploaded. `save_pretrained` stores its SHA-256 only."
            ) from None
        except _Unsearchable as error:
            raise ValueError(f"{name!r} {error}.") from None


def _search(name: str, path: Path, config_is_licensed: bool, seen: Mapping[str, str]) -> dict[str, str]:
    """Raises `_Licensed` if the file holds a body, alone or with the arrays `seen` before (array: file).

    Returns `seen` with what this file adds.
    """
    seen = dict(seen)
    beside = "stands beside a config that says `licensed`"
    if config_is_licensed and path.suffix.lower() in _ARRAY_SUFFIXES:
        raise _Licensed(beside)
    with path.open("rb") as file:
        for array in _arrays_in(file, path.name, _Budget(path.stat().st_size), 0):
            if config_is_licensed:
                raise _Licensed(beside)
            if array.is_free:
                continue
            _refuse_shape(array)
            if match := _NAME.search(array.name):
                known = match[1] or match[2]
                seen.setdefault(known, name)
                _refuse_names(known, name, seen)
    return seen


def _refuse_shape(array: _Array) -> None:
    body = None if array.shape is None else _body_of_shape(array.shape)
    if body is not None:
        shape = " x ".join(map(str, array.shape or ()))
        label = f"{array.name[-_MAX_SHOWN:]!r} is " if array.name else ""
        raise _Licensed(f"holds arrays of the shape of a body of {body}: {label}{shape}")


def _refuse_names(latest: str, file: str, seen: Mapping[str, str]) -> None:
    for group in (_FILE_NAMES, _MODEL_NAMES):
        together = [name for name in group if name in seen]
        if latest in together and len(together) > 1:
            others = sorted({repr(seen[name]) for name in together} - {repr(file)})
            with_others = f", together with {', '.join(others)}" if others else ""
            raise _Licensed(f"holds arrays of a body by their names, {' and '.join(together)}{with_others}")


def _body_of_shape(shape: tuple[int, ...]) -> str | None:
    """The body of which an array of this shape is a part: vertices, directions, faces, weights or joint regressor."""
    sizes = tuple(size for size in shape if size != 1)
    for name, (vertices, faces, joints) in _BODIES.items():
        if len(sizes) <= 3 and (vertices, 3) in zip(sizes, sizes[1:], strict=False):
            return name
        if sizes == (faces, 3):
            return name
        if len(sizes) == 2:
            for one, other in (sizes, sizes[::-1]):
                if (one == vertices and other in joints) or (one == 3 * vertices and other in _DIRECTIONS):
                    return name
    return None


def _config_beside(path: Path) -> dict[str, Any]:
    config = path.with_name("config.json")
    if not config.is_file():
        return {}
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(config)!r} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _shards(path: Path) -> tuple[Path, ...]:
    """The files that a model's weights were saved to, of which `path` is one."""
    stem = _NUMBER_OF_SHARD.sub("", path.stem)
    return tuple(sorted(p for p in path.parent.glob("*.safetensors") if _NUMBER_OF_SHARD.sub("", p.stem) == stem))


_NUMBER_OF_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def _is_free_body(config: Mapping[str, Any], weights: Iterable[Path]) -> bool:
    """Whether the files hold the very body that the config, which says it is free, describes."""
    from .hands.body_model import HandBodyModel, body_sha256

    if config.get("licensed") is not False or sum(path.stat().st_size for path in weights) > 4 * _MAX_ARRAY_BYTES:
        return False
    try:
        tensors = {name: torch.from_numpy(array) for path in weights for name, array in load_file(path).items()}
        with init_empty_weights(include_buffers=True):
            body = HandBodyModel.from_config(dict(config))
        body.load_state_dict(tensors, assign=True)
        return body_sha256(body._smplh_arrays()) == config.get("sha256")
    except (ValueError, TypeError, RuntimeError, LookupError, AttributeError, SafetensorError):
        return False


@functools.cache
def _free_arrays() -> list[np.ndarray]:
    from .hands.body_model import PROCEDURAL_BODY_FILE

    return list(load_file(PROCEDURAL_BODY_FILE).values())


def _is_free(shape: tuple[int, ...], num_bytes: int, content: Callable[[], bytes]) -> bool:
    """Whether an array is one of the procedural body's, in any precision, or zero."""
    number = math.prod(shape)
    if number == 0:
        return True
    if num_bytes % number or num_bytes > _MAX_ARRAY_BYTES:
        return False
    data = content()
    if not np.frombuffer(data, np.uint8).any():
        return len(data) == num_bytes
    sizes = tuple(size for size in shape if size != 1)
    return any(array.shape == sizes and data in _encodings(array, num_bytes // number) for array in _free_arrays())


def _encodings(array: np.ndarray, item_bytes: int) -> list[bytes]:
    codes = {2: ("<f2",), 4: ("<f4", "<i4"), 8: ("<f8", "<i8")}.get(item_bytes, ())
    encodings = [array.astype(code).tobytes() for code in codes]
    if item_bytes == 2:
        encodings.append(torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    return encodings


def _array(name: str, shape: tuple[int, ...], num_bytes: int, content: Callable[[], bytes]) -> _Array:
    """`content` is read only if the name or the shape may be a body's."""
    matters = _body_of_shape(shape) is not None or _NAME.search(name) is not None
    return _Array(name, shape, matters and _is_free(shape, num_bytes, content))


class _Budget:
    """What may still be unpacked of one file."""

    def __init__(self, file_bytes: int) -> None:
        self.num_bytes, self.num_members = file_bytes + MAX_UNPACKED_BYTES, _MAX_MEMBERS

    def spend(self, num_bytes: int, num_members: int = 0) -> None:
        self.num_bytes -= num_bytes
        self.num_members -= num_members
        if self.num_bytes < 0 or self.num_members < 0:
            raise _Unsearchable("unpacks to more than can be searched for a licensed body; leave it out, or unpack it")


class _Gzip:
    """zlib's decompressor with the methods of bz2's and lzma's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)

    eof = property(lambda self: self._zlib.eof)
    unused_data = property(lambda self: self._zlib.unused_data)
    needs_input = property(lambda self: not self._zlib.unconsumed_tail)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_MAX_XZ_MEMORY)


_PACKED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _Gzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": _xz,
    b"\x5d\x00\x00": _xz,
}
_UNSEARCHABLE = (b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
"""zstandard, 7-Zip and RAR, which Python does not unpack."""


class _Unpacked(io.RawIOBase):
    """A packed stream, unpacked while it is read. Going back in it starts anew."""

    def __init__(self, file: BinaryIO, new: Callable[[], Any], budget: _Budget) -> None:
        self._file, self._new, self._budget = file, new, budget
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._unpacker, self._position = self._new(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _next(self, size: int) -> bytes:
        while True:
            if self._unpacker.eof:
                rest = self._unpacker.unused_data or self._file.read(_CHUNK_BYTES)
                rest = rest.lstrip(b"\0")
                if not rest:
                    return b""
                self._unpacker, packed = self._new(), rest
            else:
                packed = self._file.read(_CHUNK_BYTES) if self._unpacker.needs_input else b""
                if not packed and self._unpacker.needs_input:
                    return b""
            try:
                data = self._unpacker.decompress(packed, size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError):
                return b""  # damaged from here on, or something else behind the stream's end
            if data:
                self._budget.spend(len(data))
                self._position += len(data)
                return data

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            while self._next(_CHUNK_BYTES):
                pass
        target = offset if whence == os.SEEK_SET else self._position + offset
        if target < self._position:
            self._start()
        while self._position < target and self._next(min(_CHUNK_BYTES, target - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position


class _Member(io.RawIOBase):
    """A member of an archive; every byte that is read or passed over counts."""

    def __init__(self, file: Any, budget: _Budget) -> None:
        self._file, self._budget = file, budget

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), _CHUNK_BYTES))
        self._budget.spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._budget.spend(after - before if after >= before else after)
        return after

    def tell(self) -> int:
        return self._file.tell()


class _Guarded:
    """A file for zipfile and tarfile, which read as much at a time as a header asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(_MAX_READ_BYTES + 1 if size < 0 else min(size, _MAX_READ_BYTES + 1))
        if len(data) > _MAX_READ_BYTES:
            raise _Unsearchable("has a table of contents too large to be searched for a licensed body; leave it out")
        return data


def _arrays_in(file: BinaryIO, name: str, budget: _Budget, depth: int) -> Iterator[_Array]:
    """The arrays in a file, which may be packed or an archive.

    Args:
        file (`BinaryIO`): at its start; can seek.
        name (`str`): its own name, for what is said of it and for arrays that have no other.
        budget (`_Budget`): is spent.
        depth (`int`): in how many other files it is.
    """
    if depth > _MAX_NESTING:
        raise _Unsearchable(f"is packed more than {_MAX_NESTING} times; leave it out, or unpack it")
    if PurePosixPath(name).suffix.lower() in _ARRAY_SUFFIXES:
        _refuse_body_name(name)
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if head.startswith(_UNSEARCHABLE):
        raise _Unsearchable(
            "is packed in a way that cannot be searched for a licensed body; leave it out, or unpack it"
        )
    for magic, new in _PACKED.items():
        if head.startswith(magic):
            inside = io.BufferedReader(_Unpacked(file, new, budget))
            yield from _arrays_in(inside, PurePosixPath(name).stem, budget, depth + 1)
            return
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _arrays_in_zip(file, name, budget, depth)
    elif _is_tar(head):
        yield from _arrays_in_tar(file, budget, depth)
    elif head.startswith(b"\x93NUMPY"):
        yield from _arrays_in_npy(file, name)
    elif (header := _safetensors_header(file, head)) is not None:
        yield from _arrays_in_safetensors(file, name, header)
    elif name.lower().endswith(".safetensors"):
        raise _Unsearchable("cannot be read as safetensors")
    elif (pickled := _read_pickle(file, head)) is not None:
        yield from _arrays_in_pickle(file, name, pickled)
    elif _is_text(file):
        yield from _arrays_in_text(file, name)
    else:
        yield from _arrays_in_bytes(file, name, head)


def _refuse_body_name(name: str) -> None:
    if _BODY_FILE_NAME.search(PurePosixPath(name).stem):
        raise _Licensed("has the name of an SMPL or MANO file")


def _arrays_in_zip(file: BinaryIO, name: str, budget: _Budget, depth: int) -> Iterator[_Array]:
    try:
        archive = zipfile.ZipFile(_Guarded(file))  # has all that zipfile uses
        members = [member for member in archive.infolist() if not member.is_dir()]
        budget.spend(0, len(members))
        is_torch = any(PurePosixPath(member.filename).name == "data.pkl" for member in members)
        storages = [member for member in members if is_torch and _TORCH_STORAGE.search(member.filename)]
        for member in members:
            if is_torch and _TORCH_STORAGE.search(member.filename):
                continue
            if member.flag_bits & 1 or member.compress_type not in _SEARCHABLE_MEMBERS:
                raise _Unsearchable(f"has {member.filename!r} encrypted or packed in an unusual way; leave it out")
            if member.file_size > budget.num_bytes:
                budget.spend(member.file_size)
            member_name = PurePosixPath(member.filename).name
            with archive.open(member) as opened:
                inside = io.BufferedReader(_Member(opened, budget))
                if is_torch and member_name == "data.pkl":
                    pickled = _read_pickle(inside, b"\x80\x02")
                    if pickled is not None:
                        pickled.blobs = [
                            (storage.file_size, functools.partial(_read_member, archive, storage, budget))
                            for storage in storages
                        ]
                        yield from _arrays_in_pickle(inside, name, pickled)
                else:
                    yield from _arrays_in(inside, member_name, budget, depth + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, struct.error) as error:
        raise _Unsearchable(f"is a damaged archive: {reason_of(error)}") from None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget) -> bytes:
    budget.spend(member.file_size)
    return archive.read(member)


_SEARCHABLE_MEMBERS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_TORCH_STORAGE = re.compile(r"(^|/)data/\d+$")


def _is_tar(head: bytes) -> bool:
    """By the checksum of the first member's header."""
    if len(head) < tarfile.BLOCKSIZE or not head.strip(b"\0"):
        return False
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _arrays_in_tar(file: BinaryIO, budget: _Budget, depth: int) -> Iterator[_Array]:
    try:
        archive = tarfile.open(fileobj=_Guarded(file), mode="r:")  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()  # it would keep all
            budget.spend(0, 1)
            if member.size > budget.num_bytes:
                budget.spend(member.size)
            if opened := archive.extractfile(member) if member.isreg() else None:
                inside = io.BufferedReader(_Member(opened, budget))
                yield from _arrays_in(inside, PurePosixPath(member.name).name, budget, depth + 1)
    except (tarfile.TarError, OSError, EOFError, IndexError, OverflowError, struct.error) as error:
        raise _Unsearchable(f"is a damaged archive: {reason_of(error)}") from None


def _arrays_in_npy(file: BinaryIO, name: str) -> Iterator[_Array]:
    _refuse_body_name(name)
    try:
        version = np.lib.format.read_magic(_Guarded(file))
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(_Guarded(file))
    except (ValueError, TypeError, SyntaxError, EOFError) as error:
        raise _Unsearchable(f"is a damaged array: {reason_of(error)}") from None
    if dtype.hasobject:
        if pickled := _read_pickle(file, b"\x80\x02"):
            yield from _arrays_in_pickle(file, name, pickled)
        return
    num_bytes = math.prod(shape) * dtype.itemsize
    yield _array(PurePosixPath(name).stem, shape, num_bytes, lambda: file.read(num_bytes))


def _safetensors_header(file: BinaryIO, head: bytes) -> dict[str, Any] | None:
    if head[8:9] != b"{":
        return None
    (num_bytes,) = struct.unpack("<Q", head[:8])
    if num_bytes > _MAX_SAFETENSORS_HEADER:
        return None
    if num_bytes > _MAX_READ_BYTES:
        raise _Unsearchable("has a table of contents too large to be searched for a licensed body; leave it out")
    file.seek(8)
    text = file.read(num_bytes)
    file.seek(0)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return None
    header.pop("__metadata__", None)
    return header if all(isinstance(entry, dict) and "data_offsets" in entry for entry in header.values()) else None


_MAX_SAFETENSORS_HEADER = 100_000_000
"""Of the format itself."""


def _arrays_in_safetensors(file: BinaryIO, name: str, header: Mapping[str, Any]) -> Iterator[_Array]:
    _refuse_body_name(name)
    (start,) = struct.unpack("<Q", file.read(8))
    start += 8
    for key, entry in header.items():
        try:
            shape, (first, last) = tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise _Unsearchable("cannot be read as safetensors") from None

        def content(place: int = start + first, num_bytes: int = last - first) -> bytes:
            file.seek(place)
            return file.read(num_bytes)

        yield _array(key, shape, last - first, content)


@dataclass
class _Pickle:
    """What stands in a pickle.

    Args:
        names (`set[str]`): short texts.
        shapes (`set[tuple[int, ...]]`): tuples of numbers.
        blobs (`list`): of long bytes, their number and a function that reads them.
        is_whole (`bool`): it ends where a pickle ends; else what follows is not understood.
    """

    names: set[str] = field(default_factory=set)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    blobs: list[tuple[int, Callable[[], bytes]]] = field(default_factory=list)
    is_whole: bool = False


def _read_pickle(file: BinaryIO, head: bytes) -> _Pickle | None:
    """Walks through the operations of a pickle and carries none of them out; `None` if the file is no pickle.

    Old files of torch are several pickles, one behind another, and then bytes.
    """
    is_binary = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if not is_binary and not head.startswith((b"(", b"]", b"}", b"c")):
        return None
    start, pickled, numbers = file.tell(), _Pickle(), list[int]()
    for _ in range(_MAX_PICKLE_OPERATIONS):
        operation = _OPERATIONS.get(file.read(1).decode("latin1"))
        if operation is None:
            break
        if operation.name == "STOP":
            following = file.read(1)
            if following != b"\x80":
                pickled.is_whole = not following
                break
            file.seek(-1, os.SEEK_CUR)
        value = _argument(file, operation, pickled)
        if isinstance(value, int) and operation.name in ("BININT", "BININT1", "BININT2", "INT", "LONG1"):
            numbers.append(value)
            continue
        if operation.name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"):
            size = int(operation.name[5:] or len(numbers))
            if 0 < size <= len(numbers):
                pickled.shapes.add(tuple(numbers[-size:]))
        if "PUT" not in operation.name and operation.name != "MEMOIZE":
            numbers.clear()
    if not is_binary and not pickled.is_whole:
        file.seek(start)
        return None
    return pickled


_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}


def _argument(file: BinaryIO, operation: pickletools.OpcodeInfo, pickled: _Pickle) -> int | None:
    """Reads an operation's argument: returns a number, and adds texts and long bytes to `pickled`."""
    if operation.arg is None:
        return None
    size = operation.arg.n
    if size >= 0:
        data = file.read(size)
        return int.from_bytes(data, "little", signed=operation.name == "BININT") if size in (1, 2, 4) else None
    if size == pickletools.UP_TO_NEWLINE:
        lines = 2 if operation.name in ("GLOBAL", "INST") else 1
        data = b"".join(file.readline(_CHUNK_BYTES) for _ in range(lines))
        if operation.name == "INT":
            with contextlib.suppress(ValueError):
                return int(data)
    else:
        prefix = {
            pickletools.TAKEN_FROM_ARGUMENT1: 1,
            pickletools.TAKEN_FROM_ARGUMENT8U: 8,
        }.get(size, 4)
        length = int.from_bytes(file.read(prefix), "little")
        if length > _MAX_NAME_BYTES:
            pickled.blobs.append((length, functools.partial(_read_at, file, file.tell(), length)))
            file.seek(min(length, 2**40), os.SEEK_CUR)
            return None
        data = file.read(length)
        if operation.name == "LONG1":
            return int.from_bytes(data, "little", signed=True)
    name = data.decode("latin1").strip("\"'\r\n")
    if _NAME.search(name):
        pickled.names.add(name)
    return None


def _read_at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _arrays_in_pickle(file: BinaryIO, name: str, pickled: _Pickle) -> Iterator[_Array]:
    """Which name, shape and bytes belong together is not known: they are free if all bytes that may be are."""
    _refuse_body_name(name)
    if not pickled.is_whole:
        yield from _arrays_in_bytes(file, name, b"")
    shapes = [shape for shape in pickled.shapes if _body_of_shape(shape)]
    free = bool(shapes)
    for shape in shapes:
        sizes = [math.prod(shape) * item_bytes for item_bytes in (2, 4, 8)]
        fitting = [(size, content) for size, content in pickled.blobs if size in sizes]
        free = free and bool(fitting) and all(_is_free(shape, *blob) for blob in fitting)
    yield from (_Array(text, None, free) for text in sorted(pickled.names))
    yield _Array()
    yield from (_Array("", shape, free) for shape in shapes)


def _is_text(file: BinaryIO) -> bool:
    start = file.read(2 * _MAX_NAME_BYTES)
    file.seek(0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _arrays_in_text(file: BinaryIO, name: str) -> Iterator[_Array]:
    """Arrays in JSON, and numbers that follow a name in whatever text; a name alone is only spoken of."""
    start = file.read(_MAX_NAME_BYTES)
    if start.lstrip()[:1] in (b"{", b"["):
        rest = file.read(_MAX_JSON_BYTES)
        if len(rest) < _MAX_JSON_BYTES:
            with contextlib.suppress(ValueError, RecursionError):
                yield from _arrays_in_json(json.loads(start + rest))
                return
    file.seek(0)
    for match in _find(file, _NAME_WITH_NUMBERS, _NAMES):
        yield _Array(match[1].decode())
    if re.fullmatch(rb"[-+0-9.eE,;\s]{1000,}", start):
        yield _Array(PurePosixPath(name).stem)


def _arrays_in_json(content: Any) -> Iterator[_Array]:
    places = [iter([("", content)])]
    while places:
        name, value = next(places[-1], (None, None))
        if name is None:
            places.pop()
        elif isinstance(value, dict):
            places.append(iter(value.items()))
        elif isinstance(value, str) and _NAME.search(name) and re.fullmatch(r"[A-Za-z0-9+/=\s]{1000,}", value):
            yield _Array(name)
        elif isinstance(value, list) and value:
            shape, first = [], value
            while isinstance(first, list) and first:
                shape.append(len(first))
                first = first[0]
            if not isinstance(first, (int, float)):
                places.append(zip(itertools.repeat(name), value, strict=False))
            elif math.prod(shape) >= _FEWEST_NUMBERS:
                yield _array(name, tuple(shape), 4 * math.prod(shape), functools.partial(_numbers, value))


_FEWEST_NUMBERS = 256
"""A shorter list in a text may be the shape of an array, and is not the array."""


def _numbers(value: list) -> bytes:
    try:
        return np.asarray(value, "<f4").tobytes()
    except (ValueError, TypeError, OverflowError):
        return b"ragged"


def _arrays_in_bytes(file: BinaryIO, name: str, head: bytes) -> Iterator[_Array]:
    """Of a file in another format: names as they stand there, and the shapes in HDF5."""
    if head.startswith(_WITHOUT_ARRAYS) or (head[2:4] == b"\r\n" and name.endswith(".pyc")):
        return
    is_hdf5 = head.startswith(b"\x89HDF")
    if is_hdf5:
        _refuse_body_name(name)
    stem = PurePosixPath(name).stem
    if _NAME.search(stem):
        yield _Array(stem)
    place = file.tell()
    for match in _find(file, _NAME_IN_BYTES, _NAMES):
        yield _Array(match[1].decode())
    if is_hdf5:
        file.seek(place)
        for match in _find(file, _HDF5_SHAPE, _HDF5_SIZES):
            yield _Array("", struct.unpack("<2Q", match[1]))


_WITHOUT_ARRAYS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF", b"\x7fELF")
"""Pictures, sound, pages and compiled code, in which names are only spoken of."""


def _find(file: BinaryIO, pattern: re.Pattern[bytes], parts: Sequence[bytes]) -> Iterator[re.Match[bytes]]:
    """Matches in the rest of a file, each of which has one of the `parts`, looked for first as that is far faster.

    The file is read piece by piece; pieces overlap by what the longest match takes.
    """
    text = b""
    while piece := file.read(_CHUNK_BYTES):
        text = text[-_LONGEST_MATCH:] + piece
        if any(part in text for part in parts):
            yield from pattern.finditer(text)
