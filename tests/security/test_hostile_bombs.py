"""Small archives, pickles and images that ask for much memory or time."""

import io
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hostile import SOURCE
from valid_files import npz_bytes

pytestmark = pytest.mark.usefixtures("canary")

READ_LIMITED = """
import faulthandler, resource, sys, time
sys.path.insert(0, sys.argv[1])
from diffusers_handiffuser.data.importers import read_motion
from diffusers_handiffuser.hands.smplh_file import read_smplh_file
from diffusers_handiffuser.data.sources import Shard
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
readers = {"pkl": read_smplh_file, "npz": read_smplh_file, "motion": read_motion,
           "tar": lambda path: list(Shard(path, "webdataset").rows())}
for kind, path in zip(sys.argv[2::2], sys.argv[3::2]):
    start = time.process_time()
    try:
        readers[kind](path)
        print("loaded")
    except ValueError as error:
        print(f"{time.process_time() - start:.3f} {error}")
"""


def npy(shape: str, num_bytes: int) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(num_bytes)


def zip_bomb(**shapes: str) -> bytes:
    """Members of zeros, each as large as it says: a thousandth of that in the file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, shape in shapes.items():
            archive.writestr(f"{name}.npy", npy(shape, 8 * int(np.prod(eval(shape)))))
    return file.getvalue()


def gzip_bomb() -> bytes:
    import gzip
    import tarfile

    member = tarfile.TarInfo("0000.png")
    member.size = 2**31
    return gzip.compress(member.tobuf() + bytes(2**20))


def many_members(number: int) -> bytes:
    """An archive of nothing but names."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = number * len(entry)
    return entry * number + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 0, 0)


def colliding(number: int) -> bytes:
    """A dictionary whose keys have one hash, so that filling it takes the square of their number."""
    keys = b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(1, number))
    return b"\x80\x02}(" + keys + b"u."


def laughs(levels: int) -> list:
    """Ten times the same list of ten times the same list ..."""
    laugh = ["ha"]
    for _ in range(levels):
        laugh = [laugh] * 10
    return laugh


def long_motion() -> bytes:
    file = io.BytesIO(npz_bytes({"betas": np.zeros(16), "mocap_framerate": np.ones(1)}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("poses.npy", npy("(10000000000, 156)", 0))
    return file.getvalue()


BOMBS = {
    "a key of tuples in tuples": ("pkl", lambda: b"\x80\x02})" + b"\x85" * 400_000 + b"Ns.", "tuples|operations"),
    "few tuples in tuples": ("pkl", lambda: b"\x80\x02})" + b"\x85" * 15_000 + b"Ns.", "more than 4000 tuples"),
    "sets in sets": ("pkl", lambda: b"\x80\x04(\x91" + b"\x85(h\x00\x91" * 10 + b".", "FROZENSET|not a whole"),
    "lists in lists": ("pkl", lambda: b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".", "operations"),
    "laughs by the billion": (
        "pkl",
        lambda: pickle.dumps({"v_template": laughs(30)}),
        "a list where an array belongs",
    ),
    "numbers of one hash": ("pkl", lambda: colliding(200_000), "operations|64 bits"),
    "few numbers of one hash": ("pkl", lambda: colliding(9_000), "64 bits"),
    "a long number": ("pkl", lambda: b"\x80\x02\x8b" + struct.pack("<i", 10**7) + b"\x7f" * 10**7 + b".", "64 bits"),
    "a long number in digits": ("pkl", lambda: b"L" + b"9" * 10**6 + b"L\n.", "not a whole|64 bits"),
    "a bomb for each array": (
        "npz",
        lambda: zip_bomb(**dict.fromkeys(("v_template", "shapedirs", "posedirs"), "(25000000,)")),
        "more than such a file may hold",
    ),
    "two million members": ("npz", lambda: many_members(2_000_000), "table of contents"),
    "motion of a year": ("motion", long_motion, "more than such a file may hold"),
    "picture of two gigabytes": ("tar", gzip_bomb, "has more than 268435456 bytes"),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
class TestBombs:
    """Small files that ask for much: in a process of their own, with 700 MiB beside the libraries."""

    @pytest.fixture(scope="class")
    def outcomes(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bombs")
        arguments = []
        for number, (kind, content, _) in enumerate(BOMBS.values()):
            path = folder / f"bomb{number}.{ {'motion': 'npz'}.get(kind, kind) }"
            path.write_bytes(content())
            arguments += [kind, str(path)]
        result = subprocess.run(
            [sys.executable, "-c", READ_LIMITED, SOURCE, *arguments], capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return dict(zip(BOMBS, result.stdout.splitlines(), strict=True))

    @pytest.mark.parametrize("name", BOMBS)
    def test_is_refused(self, outcomes, name):
        seconds, _, message = outcomes[name].partition(" ")
        assert "bomb" in message and float(seconds) < 2
        assert any(reason in message for reason in BOMBS[name][2].split("|")), message
