"""Reads arrays from untrusted `.npz` files: without pickles, and in bounded memory."""

import math
import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from ..utils.messages import reason_of

_MAX_DIRECTORY_BYTES = 2**20
_END_RECORD, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_END_RECORD_BYTES, _ZIP64_LOCATOR_BYTES, _MAX_COMMENT_BYTES = 22, 20, 2**16


def read_npz(
    path: str | os.PathLike, names: Iterable[str], max_array_bytes: int, max_bytes: int
) -> dict[str, np.ndarray]:
    """Reads the arrays of these names that the file holds; others are not read.

    Args:
        path (`str` or `os.PathLike`): as `np.savez` or `np.savez_compressed` write it.
        names (iterable of `str`): of the arrays.
        max_array_bytes (`int`): of one array, uncompressed.
        max_bytes (`int`): of all arrays together, uncompressed.

    Raises:
        ValueError: it is not an archive, damaged, too large, or holds Python objects. The message does not name the
            file.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        _check_directory(Path(path))
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            wanted = [name for name in names if f"{name}.npy" in members]
            left = max_bytes
            for name in wanted:  # their declared sizes, before anything is unpacked
                with _opened(archive, f"{name}.npy") as file:
                    left -= _read_header(file, min(max_array_bytes, left)).num_bytes
            for name in wanted:
                with _opened(archive, f"{name}.npy") as file:
                    arrays[name] = _read_array(file, max_array_bytes)
    except ValueError:
        raise
    except Exception as error:
        # Damaged archives and headers make zipfile and numpy fail in many ways.
        raise ValueError(f"not a whole npz archive ({type(error).__name__}: {reason_of(error)})") from None
    return arrays


def array_bytes(shape: tuple[int, ...], dtype: np.dtype, max_bytes: int) -> int:
    """Size of an array that a file declares; raises a `ValueError` if it is invalid or above `max_bytes`."""
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"an array has the shape {shape}")
    if dtype.hasobject:
        raise ValueError("it holds an array of Python objects where numbers belong")
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes > max_bytes:
        raise ValueError(f"it declares an array of {num_bytes} bytes, more than such a file may hold")
    return num_bytes


def _check_directory(path: Path) -> None:
    """Refuses a large table of contents, which `zipfile` would read whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ZIP64_LOCATOR_BYTES - _END_RECORD_BYTES - _MAX_COMMENT_BYTES))
        tail = file.read()
    place = tail.rfind(_END_RECORD)
    if place < 0 or place + _END_RECORD_BYTES > len(tail):
        return  # zipfile will report it
    (directory_bytes,) = struct.unpack("<I", tail[place + 12 : place + 16])
    if directory_bytes > _MAX_DIRECTORY_BYTES or _ZIP64_LOCATOR in tail[:place][-_ZIP64_LOCATOR_BYTES:]:
        raise ValueError("its table of contents is larger than that of any file of arrays")


class _Header(NamedTuple):
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype
    num_bytes: int


def _opened(archive: zipfile.ZipFile, member: str) -> IO[bytes]:
    info = archive.getinfo(member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} is compressed in a way that numpy does not use")
    return archive.open(info)


def _read_header(file: IO[bytes], max_bytes: int) -> _Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"{file.name} has npy version {version}")
    return _Header(shape, "F" if fortran else "C", dtype, array_bytes(shape, dtype, max_bytes))


def _read_array(file: IO[bytes], max_bytes: int) -> np.ndarray:
    # Sizes in the archive's directory and in the header are mere claims; at most `max_bytes` are read.
    header = _read_header(file, max_bytes)
    data = file.read(header.num_bytes)
    if len(data) != header.num_bytes:
        raise ValueError(f"{file.name} is cut short")
    return np.frombuffer(data, header.dtype).reshape(header.shape, order=header.order)
