"""Unpacks untrusted compressed files and archives in memory and time that a budget bounds."""

import bz2
import contextlib
import functools
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from ..utils.messages import reason_of

_MAX_NESTING = 4
_MAX_HEADER_BYTES = 2**20
_MAX_DIRECTORY_BYTES = 2**23
_MAX_XZ_MEMORY = 2**28
_CHUNK_BYTES = 2**20


class UnreadableFile(ValueError):
    """Why a file is not read."""


@dataclass
class Budget:
    """How much may still be unpacked.

    Args:
        num_bytes (`int`): bytes, of all files together.
        num_members (`int`): members of archives.
        refusal (`str`): the message of the `UnreadableFile` that is raised when one of them is spent.
    """

    num_bytes: int
    num_members: int
    refusal: str

    def spend(self, num_bytes: int, num_members: int = 0) -> None:
        self.num_bytes -= num_bytes
        self.num_members -= num_members
        if self.num_bytes < 0 or self.num_members < 0:
            raise UnreadableFile(self.refusal)


class Unpacked(io.RawIOBase):
    """A stream that is unpacked as it is read; every byte counts, even if it is skipped or read again.

    Args:
        file: what `gzip.open` and the like return, or a member of an archive; seeking back restarts it.
        budget (`Budget`): what is spent.
    """

    def __init__(self, file: Any, budget: Budget) -> None:
        self._file, self._budget, self._position = file, budget, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _damage_refused():
            data = self._file.read(min(len(buffer), _CHUNK_BYTES))
        self._budget.spend(len(data))
        self._position += len(data)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            while self.read(_CHUNK_BYTES):
                pass
        target = offset if whence == os.SEEK_SET else self._position + offset
        if target < self._position:
            self._file.seek(0)
            self._position = 0
        while self._position < target and self.read(min(_CHUNK_BYTES, target - self._position)):
            pass
        return self._position


class BoundedMember(tarfile.TarInfo):
    """For `tarfile.open(tarinfo=...)`: refuses sparse members and large headers, which `tarfile` reads at once."""

    _HEADERS = (
        *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    )

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in self._HEADERS and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"the header of a member has more than {_MAX_HEADER_BYTES} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        member = super()._proc_member(archive)  # type: ignore[misc]  # meant to be overridden
        if member.issparse():
            member._refuse_sparse()
        return member

    def _proc_gnusparse_10(self, member: Any, *_: Any) -> None:
        member._refuse_sparse()  # before its map is read, which is unbounded

    def _refuse_sparse(self) -> None:
        raise tarfile.ReadError(f"{self.name} is stored as a sparse file")


class Blob(NamedTuple):
    """Bytes in a file, and how to read them."""

    num_bytes: int
    read: Callable[[], bytes]

    @classmethod
    def at(cls, place: int, num_bytes: int, file: BinaryIO) -> "Blob":
        def read() -> bytes:
            file.seek(place)
            return file.read(num_bytes)

        return cls(num_bytes, read)


class PlainFile(NamedTuple):
    """A file that is neither compressed nor an archive.

    Args:
        path (`PurePosixPath`): its name, below the names of the archives around it.
        content (`io.BufferedReader`): at its start; seekable.
        beside (sequence of `Blob`): the members of the zip archive that it is in.
    """

    path: PurePosixPath
    content: io.BufferedReader
    beside: Sequence[Blob] = ()


def open_packed(file: BinaryIO) -> Any:
    """The content of a file in gzip, bzip2, xz or zlib format, else `None`. `file` is at its start."""
    head = file.read(16)
    file.seek(0)
    for magic, unpack in _PACKED.items():
        if re.match(magic, head):
            return unpack(file)
    return None


def _open_xz(file: BinaryIO) -> Any:
    with _damage_refused():  # the first bytes declare the memory it needs
        lzma.LZMADecompressor(memlimit=_MAX_XZ_MEMORY).decompress(file.read(1024), max_length=1)
    file.seek(0)
    return lzma.open(file)


class _ZlibFile:
    """A zlib stream, as joblib writes arrays; can be read, and read again from its start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek(0)

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        self._zlib = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        while not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            if data := self._zlib.decompress(packed, size):
                return data
            if not packed:
                raise EOFError("the end of a zlib stream is missing")
        return b""


def _open_zlib(file: BinaryIO) -> Any:
    """The content, or `None` if the file only begins like a zlib stream, as raw numbers may."""
    start = file.read(1024)
    file.seek(0)
    try:
        zlib.decompressobj().decompress(start, 1)
    except zlib.error:
        return None
    return _ZlibFile(file)


_PACKED: dict[bytes, Callable[[Any], Any]] = {
    rb"\x1f\x8b\x08[\x00-\x1f]": gzip.open,
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": bz2.open,
    rb"\xfd7zXZ\x00": _open_xz,
    rb"x[\x01\x5e\x9c\xda]": _open_zlib,
}
_NOT_UNPACKED = (b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
"""zstandard, 7-Zip and RAR, which Python does not unpack."""


def plain_files(
    file: io.BufferedReader, path: PurePosixPath, budget: Budget, depth: int = 0, beside: Sequence[Blob] = ()
) -> Iterator[PlainFile]:
    """The files in a compressed file or archive (zip, tar), at any nesting; of any other, the file itself.

    Args:
        file (`io.BufferedReader`): at its start; seekable.
        path (`PurePosixPath`): its name.
        budget (`Budget`): what is spent.
        depth (`int`): the number of archives and compressed files around it.
        beside (sequence of `Blob`): the members of the zip archive that it is in.

    Raises:
        UnreadableFile: the budget is spent, or the file is damaged, in another format, or nested too deeply.
    """
    if depth > _MAX_NESTING:
        raise UnreadableFile(f"it is packed more than {_MAX_NESTING} times")
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if head.startswith(_NOT_UNPACKED):
        raise UnreadableFile("it is packed by zstandard, 7-Zip or RAR")
    members: Iterator[tuple[str, Any, Sequence[Blob]]]
    if (content := open_packed(file)) is not None:
        members = iter([(path.stem, content, ())])
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        members = _zip_members(file, budget)
    elif _is_tar(head):
        members = _tar_members(file, budget)
    else:
        yield PlainFile(path, file, beside)
        return
    for name, content, others in members:
        inside: Any = io.BufferedReader(Unpacked(content, budget))
        yield from plain_files(inside, path / name, budget, depth + 1, others)


def _zip_members(file: io.BufferedReader, budget: Budget) -> Iterator[tuple[str, Any, Sequence[Blob]]]:
    with _damage_refused():
        archive = zipfile.ZipFile(_BoundedReads(file))
        members = [member for member in archive.infolist() if not member.is_dir()]
        budget.spend(0, len(members))
        blobs = [
            Blob(member.file_size, functools.partial(_read_member, archive, member, budget)) for member in members
        ]
        for member in members:
            if member.compress_type == zipfile.ZIP_LZMA:  # uses as much memory as the data ask for
                raise UnreadableFile(f"it has {member.filename!r} packed by LZMA")
            yield member.filename, archive.open(member), blobs


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> bytes:
    return io.BufferedReader(Unpacked(archive.open(member), budget)).read(member.file_size)


class _BoundedReads(io.BufferedReader):
    """For `zipfile`, which reads an archive's table of contents at once, whatever length it declares."""

    def read(self, size: int | None = -1) -> bytes:
        most = _MAX_DIRECTORY_BYTES + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) > _MAX_DIRECTORY_BYTES:
            raise UnreadableFile(f"its table of contents has more than {_MAX_DIRECTORY_BYTES} bytes")
        return data


def _is_tar(head: bytes) -> bool:
    """By the checksum of the first member's header."""
    with contextlib.suppress(tarfile.TarError, ValueError):
        return bool(head.strip(b"\0")) and bool(tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape"))
    return False


def _tar_members(file: BinaryIO, budget: Budget) -> Iterator[tuple[str, Any, Sequence[Blob]]]:
    with _damage_refused(), tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedMember) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            budget.spend(0, 1)
            if member.isreg():
                yield member.name, archive.extractfile(member), ()


@contextlib.contextmanager
def _damage_refused() -> Iterator[None]:
    """Turns the many errors that the standard library raises on damaged archives into `UnreadableFile`."""
    try:
        yield
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(f"it is a damaged archive, or an unusual one: {reason_of(error)}") from None
