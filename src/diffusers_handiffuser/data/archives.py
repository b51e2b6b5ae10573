"""Members of tar archives from strangers, in memory and time that the size of the archive bounds."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO

_MAX_HEADER_BYTES = 2**20
_MAX_UNPACKED_BYTES = 2**30
_MAX_RATIO = 200
"""Of packed pictures and JSON hardly anything unpacks to more than ten times its size."""
_UNPACKERS: dict[bytes, Callable[[BinaryIO], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
"""Types of members that describe the next one; `tarfile` reads them whole."""


def read_members(file: BinaryIO, max_bytes: int) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, content and size of every plain file in a tar archive, from the front; links and devices are left out.

    Args:
        file (`BinaryIO`): the archive, as it is or packed by gzip, bzip2 or xz.
        max_bytes (`int`): how large a member may be.

    Raises `ValueError` for a member that is larger or sparse, and for an archive that unpacks to more than 1 GiB and
    200 times its size.
    """
    unpacked: Any = _Unpacked(file)
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_BoundedMember) as archive:
        for member in archive:
            if member.issparse():
                raise ValueError(f"{member.name} is stored as a sparse file")
            if member.size > max_bytes:
                raise ValueError(f"{member.name} has more than {max_bytes} bytes")
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member.name, content, member.size


class _BoundedMember(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in _HEADERS and self.size > _MAX_HEADER_BYTES:
            raise ValueError(f"the header of a member has more than {_MAX_HEADER_BYTES} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise ValueError(f"{self.name} is stored as a sparse file")
        return super()._proc_member(archive)  # type: ignore[misc]  # which the standard library means to be overridden


class _Unpacked:
    """What `tarfile` reads a stream from; its own unpacking of bzip2 and xz takes whatever memory the data ask for."""

    def __init__(self, file: BinaryIO):
        start = file.read(2)
        self._packed_bytes = file.seek(0, 2)
        file.seek(0)
        unpack = _UNPACKERS.get(start)
        self._file: Any = file if unpack is None else unpack(file)
        self._read_bytes = 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._read_bytes += len(content)
        if self._read_bytes > max(_MAX_UNPACKED_BYTES, _MAX_RATIO * self._packed_bytes):
            raise ValueError(f"it unpacks to more than {_MAX_RATIO} times its size; unpack it first if you trust it")
        return content
