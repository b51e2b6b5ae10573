"""What happens to files: bits flip, parts are lost, doubled, moved or taken from elsewhere; and bombs."""

import gzip
import random
import tarfile
from collections.abc import Sequence

from hypothesis import strategies as st

KINDS = ("flip", "set", "cut", "insert", "delete", "double", "move", "number")
Step = tuple[str, float, float, bytes]
"""Kind, two places as shares of the length, bytes."""


def damage(content: bytes, steps: Sequence[Step]) -> bytes:
    """The content after these steps."""
    data = bytearray(content)
    for kind, first, second, new in steps:
        start, end = sorted((int(first * len(data)), int(second * len(data))))
        end = min(end, start + 64) if kind in ("delete", "double", "move") else end
        if kind == "flip" and start < len(data):
            data[start] ^= 1 << (new[0] % 8 if new else 0)
        elif kind == "set":
            data[start : start + len(new)] = new
        elif kind == "cut":
            del data[start:]
        elif kind == "insert":
            data[start:start] = new
        elif kind == "delete":
            del data[start:end]
        elif kind == "double":
            data[start:start] = data[start:end]
        elif kind == "move":
            part, place = bytes(data[start:end]), int(second * len(data))
            data[place : place + len(part)] = part
        elif kind == "number":  # a length, an offset, a code
            data[start : start + 4] = (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"9999")[len(new) % 4]
    return bytes(data)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    step = st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.floats(0, 1), st.binary(min_size=1, max_size=8))
    return st.lists(step, min_size=1, max_size=4).map(lambda steps: damage(content, steps))


def random_steps(source: random.Random) -> list[Step]:
    """For fuzzing without end; heads of files, where lengths and names stand, are hit more often."""
    return [
        (
            source.choice(KINDS),
            source.random() ** source.choice((1, 3)),
            source.random(),
            source.randbytes(source.randint(1, 8)),
        )
        for _ in range(source.randint(1, 4))
    ]


def sparse_map_tar() -> bytes:
    """A packed archive with a sparse member whose map has a thousand million entries."""
    member = tarfile.TarInfo("0.png")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"}
    head = member.tobuf(tarfile.PAX_FORMAT) + b"%d\n" % 10**9
    return gzip.compress(head) + gzip.compress(b"0\n" * 2**19) * 300
