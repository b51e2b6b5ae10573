"""Finds the arrays in a file by its content: safetensors, npy, pickles, HDF5, JSON, other text and bytes.

Nothing is unpickled. Arrays are read one at a time, and only if name or shape may be those of a licensed body.
"""

import codecs
import contextlib
import functools
import io
import itertools
import json
import math
import operator
import re
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..utils.messages import reason_of
from .licensed_arrays import NAMES, NUMBERS_OF_VERTICES, array_of_name, body_of_shape, is_free
from .pickle_operations import pickle_operations
from .unpacking import Blob, PlainFile, UnreadableFile

_MAX_NAME_BYTES = 4096
_CHUNK_BYTES = 2**20


class StoredArray(NamedTuple):
    """What is known about an array in a file.

    Args:
        name (`str`): "" if it has none.
        shape (`tuple[int, ...]`, *optional*): if it is known.
        is_free (`bool`): whether it equals the procedural body's array of this shape, or is zero.
    """

    name: str = ""
    shape: tuple[int, ...] | None = None
    is_free: bool = False


def arrays_in(plain: PlainFile) -> Iterator[StoredArray]:
    """The arrays in a file that is not packed; in pickles and raw bytes, only those that may be a body's.

    Raises:
        UnreadableFile: it is damaged, or its table of contents is too large.
    """
    file, stem = plain.content, plain.path.stem
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"\x93NUMPY"):
        yield from _arrays_in_npy(plain, head)
    elif (arrays := _arrays_in_safetensors(file, head)) is not None:
        yield from (_array(*array) for array in arrays)
    elif plain.path.suffix.lower() == ".safetensors":
        raise UnreadableFile("it cannot be read as safetensors")
    elif _is_pickle(file, head):
        yield from _arrays_in_pickle(file, stem, plain.beside)
    elif _is_text(file):
        yield from _arrays_in_text(file, stem)
    elif not head.startswith(_WITHOUT_ARRAYS) and plain.path.suffix != ".pyc":
        yield from _arrays_in_bytes(file, stem)


_WITHOUT_ARRAYS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF", b"\x7fELF")
"""Images, audio, PDF and compiled code, which only mention names."""


def _array(name: str, shape: tuple[int, ...], content: Blob) -> StoredArray:
    matters = body_of_shape(shape) is not None or array_of_name(name) is not None
    return StoredArray(name, shape, matters and is_free(shape, content))


def _arrays_in_npy(plain: PlainFile, head: bytes) -> Iterator[StoredArray]:
    file = plain.content
    if head[6:7] != b"\x01" and int.from_bytes(head[8:12], "little") > 2**16:
        raise UnreadableFile("it is an array with a header of more than 64 KiB")
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, TypeError, SyntaxError, EOFError) as error:
        raise UnreadableFile(f"it is a damaged array: {reason_of(error)}") from None
    if dtype.hasobject:
        yield from _arrays_in_pickle(file, plain.path.stem, plain.beside)
    else:
        content = Blob.at(file.tell(), math.prod(shape) * dtype.itemsize, file)
        yield _array(plain.path.stem, shape, content)


def _arrays_in_safetensors(file: io.BufferedReader, head: bytes) -> list[tuple[str, tuple[int, ...], Blob]] | None:
    """Names, shapes and bytes from the header; `None` if the file does not begin with one."""
    num_bytes = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or num_bytes > 100_000_000:  # the limit of the format itself
        return None
    if num_bytes > 2**23:
        raise UnreadableFile("its table of contents has more than 8 MiB")
    table = Blob.at(8, num_bytes, file).read()
    file.seek(0)
    arrays = []
    try:
        for name, entry in json.loads(table).items():
            if name != "__metadata__":
                first, last = map(operator.index, entry["data_offsets"])
                if not 0 <= first <= last < 2**60:
                    return None
                shape = tuple(map(operator.index, entry["shape"]))
                arrays.append((name, shape, Blob.at(8 + num_bytes + first, last - first, file)))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return arrays


def _is_pickle(file: io.BufferedReader, head: bytes) -> bool:
    """Whether it is a pickle: by its first two bytes or, for text-like protocols, if all of it parses as one."""
    if re.match(rb"\x80[\x02-\x05]", head):
        return True
    if not head.startswith((b"(", b"]", b"}", b"c")):
        return False
    [(last, _)] = deque(pickle_operations(file), maxlen=1)
    is_whole = last == "STOP" and not file.peek(1)
    file.seek(0)
    return is_whole


def _arrays_in_pickle(file: io.BufferedReader, stem: str, beside: Sequence[Blob]) -> Iterator[StoredArray]:
    """The arrays in a pickle that may be a body's.

    Which name, shape and bytes belong together is unknown, so they count as free only if all candidate bytes are. The
    bytes are in the pickle or, as torch writes them, in files `beside` it.
    """
    names, shapes = set[str](), set[tuple[int, ...]]()
    blobs, numbers, operation = [*beside], list[int](), ""
    for operation, value in pickle_operations(file):
        if isinstance(value, int):
            numbers.append(value)
            continue
        if isinstance(value, Blob):
            blobs.append(value)
        elif value is not None and array_of_name(value):
            names.add(value)
        if operation.startswith("TUPLE"):
            shape = tuple(numbers[-int(operation[5:] or 0) :])
            if body_of_shape(shape):
                shapes.add(shape)
        if "PUT" not in operation and operation != "MEMOIZE":
            numbers.clear()
    if operation != "STOP" or file.peek(1):  # something else follows, as in old files of torch
        yield from _arrays_in_bytes(file, stem)

    def all_free(shape: tuple[int, ...]) -> bool:
        fitting = [blob for blob in blobs if blob.num_bytes in (math.prod(shape) * size for size in (2, 4, 8))]
        return bool(fitting) and all(is_free(shape, blob) for blob in fitting)

    free = bool(shapes) and all(map(all_free, shapes))
    yield from (StoredArray(name, None, free) for name in sorted(names))
    yield from (StoredArray("", shape, free) for shape in shapes)
    yield StoredArray()  # whatever else it holds


def _is_text(file: io.BufferedReader) -> bool:
    start = file.read(2 * _MAX_NAME_BYTES)
    file.seek(0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _arrays_in_text(file: io.BufferedReader, stem: str) -> Iterator[StoredArray]:
    """Arrays in JSON, and numbers that follow a name in any text; a name alone is only a mention."""
    start = file.read(_MAX_NAME_BYTES)
    if start.lstrip()[:1] in (b"{", b"["):
        rest = file.read(_MAX_JSON_BYTES)
        if len(rest) < _MAX_JSON_BYTES:
            with contextlib.suppress(ValueError, RecursionError):
                yield from _arrays_in_json(json.loads(start + rest))
                return
    for match in _find(file, _NAME_WITH_NUMBERS, _NAMES):
        yield StoredArray(match[1].decode())
    if re.fullmatch(rb"[-+0-9.eE,;\s]{1000,}", start):
        yield StoredArray(stem)


_MAX_JSON_BYTES = 2**24
_NAMES = tuple(name.encode() for name in NAMES)
_NAME_WITH_NUMBERS = re.compile(
    rf"(?<![A-Za-z0-9])({'|'.join(NAMES)})[\"']?\s*[:=,]?\s*"
    r"(?:[\[({\s]*[-+0-9.][-+0-9.eE,\s\[\](){}]{1000}|[\"'][A-Za-z0-9+/=]{1000})".encode()
)


def _arrays_in_json(content: Any) -> Iterator[StoredArray]:
    places = [iter([("", content)])]
    while places:
        name, value = next(places[-1], (None, None))
        if name is None:
            places.pop()
        elif isinstance(value, dict):
            places.append(iter(value.items()))
        elif isinstance(value, str) and array_of_name(name) and re.fullmatch(r"[A-Za-z0-9+/=\s]{1000,}", value):
            yield StoredArray(name)
        elif isinstance(value, list) and value:
            shape, first = [], value
            while isinstance(first, list) and first:
                shape.append(len(first))
                first = first[0]
            if not isinstance(first, (int, float)):
                places.append(zip(itertools.repeat(name), value, strict=False))
            elif math.prod(shape) >= 256:  # a shorter list may be the shape of an array
                yield _array(name, tuple(shape), Blob(4 * math.prod(shape), functools.partial(_numbers, value)))


def _numbers(value: list) -> bytes:
    try:
        return np.asarray(value, "<f4").tobytes()
    except (ValueError, TypeError, OverflowError):
        return b"ragged"


def _arrays_in_bytes(file: io.BufferedReader, stem: str) -> Iterator[StoredArray]:
    """Arrays in any other format: by the name of the file, names inside it, and shapes in HDF5."""
    if array_of_name(stem):
        yield StoredArray(stem)
    for match in _find(file, _NAME_IN_BYTES, _NAMES):
        yield StoredArray(match[1].decode())
    if Blob.at(0, 4, file).read() == b"\x89HDF":
        for match in _find(file, _HDF5_SHAPE, _HDF5_SIZES):
            yield StoredArray("", struct.unpack("<2Q", match[1]))


_NAME_IN_BYTES = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(NAMES)})(?![A-Za-z0-9_])".encode())
_HDF5_SIZES = tuple(struct.pack("<2Q", number, 3) for number in NUMBERS_OF_VERTICES)
_HDF5_SHAPE = re.compile(
    rb"(?:\x01[\x02\x03][\x00\x01]\x00{5}|\x02[\x02\x03][\x00\x01]\x01)("
    + b"|".join(map(re.escape, _HDF5_SIZES))
    + rb")",
    re.DOTALL,
)


def _find(file: io.BufferedReader, pattern: re.Pattern[bytes], parts: Sequence[bytes]) -> Iterator[re.Match[bytes]]:
    """Matches in a whole file; each contains one of the `parts`, which are searched first as that is far faster.

    The file is read in pieces that overlap by the length of the longest match.
    """
    file.seek(0)
    text = b""
    while piece := file.read(_CHUNK_BYTES):
        text = text[-2048:] + piece
        if any(part in text for part in parts):
            yield from pattern.finditer(text)
