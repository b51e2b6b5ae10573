"""Reads untrusted tar archives in memory and time that are bounded by the size of the archive."""

import sys
import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO

from ..hub.unpacking import BoundedMember, Budget, Unpacked, open_packed

_MAX_UNPACKED_BYTES = 2**30
_MAX_RATIO = 200
"""Compressed images and JSON rarely unpack to more than ten times their size."""


def read_members(file: BinaryIO, max_bytes: int) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, content and size of every plain file in a tar archive, in order; links and devices are skipped.

    Args:
        file (`BinaryIO`): the archive, plain or compressed with gzip, bzip2 or xz.
        max_bytes (`int`): the largest member accepted.

    Raises a `ValueError` if a member is larger or sparse, or if the archive unpacks to more than 1 GiB and more than
    200 times its size.
    """
    max_unpacked = max(_MAX_UNPACKED_BYTES, _MAX_RATIO * file.seek(0, 2))
    file.seek(0)
    refusal = f"it unpacks to more than {_MAX_RATIO} times its size; unpack it first if you trust it"
    # tarfile would decompress bzip2 and xz with as much memory as the data ask for.
    unpacked = Unpacked(open_packed(file) or file, Budget(max_unpacked, sys.maxsize, refusal))
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=BoundedMember) as archive:
        for member in archive:
            if member.size > max_bytes:
                raise ValueError(f"{member.name} has more than {max_bytes} bytes")
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member.name, content, member.size
