"""Reads the operations of a pickle without executing them.

Like `pickletools.genops`, but in bounded memory: of long bytes only the position is given.
"""

import contextlib
import io
import os
import pickletools
from collections.abc import Iterator

from .unpacking import Blob

_MAX_OPERATIONS = 1_000_000
_MAX_TEXT_BYTES = 4096
_MAX_LINE_BYTES = 2**20


def pickle_operations(file: io.BufferedReader) -> Iterator[tuple[str, int | str | Blob | None]]:
    """The operations of consecutive pickles, with their integers, short texts and long bytes."""
    for _ in range(_MAX_OPERATIONS):
        operation = _OPERATIONS.get(file.read(1).decode("latin1"))
        if operation is None:
            return
        yield operation.name, _argument(file, operation)
        if operation.name == "STOP" and file.peek(1)[:1] != b"\x80":
            return


_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}


def _argument(file: io.BufferedReader, operation: pickletools.OpcodeInfo) -> int | str | Blob | None:
    if operation.arg is None:
        return None
    size = operation.arg.n
    if size >= 0:
        data = file.read(size)
        if operation.name in ("BININT", "BININT1", "BININT2"):
            return int.from_bytes(data, "little", signed=operation.name == "BININT")
        return None
    if size == pickletools.UP_TO_NEWLINE:
        lines = 2 if operation.name in ("GLOBAL", "INST") else 1
        data = b"".join(file.readline(_MAX_LINE_BYTES) for _ in range(lines))
        if operation.name == "INT":
            with contextlib.suppress(ValueError):
                return int(data)
    else:
        prefix = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(size, 4)
        num_bytes = int.from_bytes(file.read(prefix), "little")
        if num_bytes > _MAX_TEXT_BYTES:
            place = file.tell()
            file.seek(min(num_bytes, 2**40), os.SEEK_CUR)
            return Blob.at(place, num_bytes, file)
        data = file.read(num_bytes)
        if operation.name == "LONG1":
            return int.from_bytes(data, "little", signed=True)
    return data.decode("latin1").strip("\"'\r\n")
