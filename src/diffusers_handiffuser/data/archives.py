"""Members of tar archives from strangers, in memory and time that the size of the archive bounds."""

import sys
import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO

from ..hub.unpacking import BoundedMember, Budget, Unpacked, open_packed

_MAX_UNPACKED_BYTES = 2**30
_MAX_RATIO = 200
"""Of packed pictures and JSON hardly anything unpacks to more than ten times its size."""


def read_members(file: BinaryIO, max_bytes: int) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, content and size of every plain file in a tar archive, from the front; links and devices are left out.

    Args:
        file (`BinaryIO`): the archive, as it is or packed by gzip, bzip2 or xz.
        max_bytes (`int`): how large a member may be.

    Raises `ValueError` for a member that is larger or sparse, and for an archive that unpacks to more than 1 GiB and
    200 times its size.
    """
    max_unpacked = max(_MAX_UNPACKED_BYTES, _MAX_RATIO * file.seek(0, 2))
    file.seek(0)
    refusal = f"it unpacks to more than {_MAX_RATIO} times its size; unpack it first if you trust it"
    # tarfile's own unpacking of bzip2 and xz takes whatever memory the data ask for.
    unpacked = Unpacked(open_packed(file) or file, Budget(max_unpacked, sys.maxsize, refusal))
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=BoundedMember) as archive:
        for member in archive:
            if member.size > max_bytes:
                raise ValueError(f"{member.name} has more than {max_bytes} bytes")
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                yield member.name, content, member.size
