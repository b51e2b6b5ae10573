"""Files that are broken, or meant to do harm: each is refused in one line that names it, and nothing in it runs."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from made_up_body import made_up_body
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection
from valid_files import READERS, npz_bytes, picture_bytes, some_hands

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserControlNetPipeline,
    HanDiffuserPipeline,
    HandParams,
    TextHandEncoder,
    TextToHandParamsModel,
)
from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.data.rows import Picture, RowError, parse_row
from diffusers_handiffuser.data.sources import Shard
from diffusers_handiffuser.hands.smplh_file import read_smplh_file
from diffusers_handiffuser.hub.checked_sizes import check_size

MODELS = {
    "text_to_hand_params": TextToHandParamsModel,
    "text_encoder": TextHandEncoder,
    "body_model": HandBodyModel,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
SOURCE = str(Path(read_smplh_file.__code__.co_filename).parents[2])


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    """Whatever a test reads, no file called `canary` may appear."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "canary").exists()


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


TOUCH = Call(os.system, "touch canary")


def refused(read, path: Path, reason: str = "") -> None:
    with pytest.raises((ValueError, OSError), match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message and "\n" not in message and len(message) < 1200, message


def change_json(path: Path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def boundaries(content: bytes) -> list[int]:
    """Lengths to cut at: nothing, within the first numbers, at the ends of the header, within and before the last."""
    size = len(content)
    return sorted({0, 1, 7, 8, 9, 64, 128, size // 4, size // 2, size - 22, size - 1} & set(range(size)))


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BROKEN_SAFETENSORS = {
    "header too large": safetensors({"a": FLOAT}, bytes(4), 2**40),
    "header of all memory": safetensors({"a": FLOAT}, bytes(4), 2**64 - 1),
    "header longer than the file": safetensors({"a": FLOAT}, bytes(4), 1000),
    "header that is no JSON": safetensors(b"{'a': 1", bytes(4)),
    "header that is a list": safetensors([FLOAT], bytes(4)),
    "header nested deeply": safetensors(b"[" * 100_000, bytes(4)),
    "overlapping tensors": safetensors({"a": FLOAT, "b": FLOAT}, bytes(4)),
    "a hole between tensors": safetensors({"a": FLOAT, "b": {**FLOAT, "data_offsets": [8, 12]}}, bytes(12)),
    "tensor beyond the end": safetensors({"a": {**FLOAT, "data_offsets": [0, 400], "shape": [100]}}, bytes(4)),
    "tensor that ends before it begins": safetensors({"a": {**FLOAT, "data_offsets": [4, 0]}}, bytes(4)),
    "shape of more than memory": safetensors({"a": {**FLOAT, "shape": [2**40, 2**40]}}, bytes(4)),
    "negative shape": safetensors({"a": {**FLOAT, "shape": [-1]}}, bytes(4)),
    "unknown dtype": safetensors({"a": {**FLOAT, "dtype": "O8"}}, bytes(4)),
    "bytes left over": safetensors({"a": FLOAT}, bytes(4096)),
    "a pickle": pickle.dumps(TOUCH),
    "a zip": npz_bytes({"a": np.zeros(1)}),
}
OTHER_FILES = {
    "empty": b"",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    "web page": b"<!DOCTYPE html><html><head><title>404</title></head></html>\n" * 20,
    "picture in no known format": b"8BPS" + bytes(4096),
    "pickle": pickle.dumps(TOUCH),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(canary) (w) file closefile\n%%EOF\n",
    "nested": b"[" * 200_000,
}
STORED_PATHS = [
    *("/etc/hostname", "//server/share/x.png", "../secret.png", "images/../../secret.png", "images/../..", ".."),
    *("C:/x.png", "C:x.png", "C:\\x.png", "\\x.png", "\\\\server\\share\\x.png", "images\\..\\..\\x.png"),
    *("http://169.254.169.254/x", "s3://x/y", "file:///etc/hostname", "file://x.png", "hf://datasets/a/b@main/x.png"),
    *("reference::file:///x/refs.json", "reference::x.json", "simplecache::https://x/y", "zip://x.png::x.zip"),
    *("a\0b", "a\ud800b"),
]
"""What a row may not name as its picture."""
NO_ROWS = {("rows", "empty"), ("captions", "empty"), ("rows in a tar", "zeros")}


class TestEveryReader:
    @pytest.mark.parametrize("name", READERS)
    def test_cut_short(self, valid_files, tmp_path, name):
        """What is a text of lines may be whole at a cut; all else is refused."""
        reader, content = READERS[name], valid_files[name]
        path = tmp_path / reader.file_name
        for length in boundaries(content):
            path.write_bytes(content[:length])
            if name in ("captions", "rows", "rows in a tar"):
                try:
                    reader.read(path)
                except ValueError as error:
                    assert path.name in str(error) and "\n" not in str(error)
            elif name in ("PNG", "JPEG", "WEBP") and length > len(content) - 30:
                continue  # the picture is there, its end mark is not
            else:
                refused(reader.read, path)

    @pytest.mark.parametrize("name", READERS)
    def test_other_files(self, tmp_path, name):
        reader = READERS[name]
        path = tmp_path / reader.file_name
        for kind, content in OTHER_FILES.items():
            path.write_bytes(content)
            if (name, kind) in NO_ROWS:
                reader.read(path)
            else:
                refused(reader.read, path)

    @pytest.mark.parametrize("name", READERS)
    def test_folder_in_place_of_a_file(self, tmp_path, name):
        path = tmp_path / READERS[name].file_name
        path.mkdir()
        refused(READERS[name].read, path)

    @pytest.mark.parametrize("name", READERS)
    def test_no_file(self, tmp_path, name):
        path = tmp_path / READERS[name].file_name
        refused(READERS[name].read, path)
        path.symlink_to(path)
        refused(READERS[name].read, path)


class TestHandParams:
    @pytest.mark.parametrize("kind", BROKEN_SAFETENSORS)
    def test_broken_safetensors(self, tmp_path, kind):
        path = tmp_path / "hands.safetensors"
        path.write_bytes(BROKEN_SAFETENSORS[kind])
        refused(HandParams.load, path, "Cannot read hand parameters")

    @pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool, torch.float8_e4m3fn])
    def test_dtypes(self, tmp_path, dtype):
        path = tmp_path / "hands.safetensors"
        tensors = {name: getattr(some_hands(), name) for name in HandParams.FIELDS}
        save_file(
            {**tensors, "betas": tensors["betas"].to(dtype)}, path, {"format": "diffusers_handiffuser.HandParams/1"}
        )
        if dtype == torch.float8_e4m3fn:
            assert HandParams.load(path).betas.dtype == torch.float32
        else:
            refused(HandParams.load, path, "`betas` must be a floating-point tensor")

    @pytest.mark.parametrize(
        "value",
        [
            [["1.0"] * 10] * 2,
            "1" * 10,
            [[True] * 10] * 2,
            [[0.5, *[True] * 9]] * 2,
            [[0.5] * 10, [False] * 10],
            [[None]],
        ],
    )
    def test_what_is_no_number_in_json(self, tmp_path, value):
        path = tmp_path / "hands.json"
        some_hands().save(path)
        change_json(path, betas=value)
        refused(HandParams.load, path, "`betas` is not a list of numbers")

    @pytest.mark.parametrize(
        "value", [[[1, 0]] * 2, [["true", "false"]] * 2, [[True, 1], [True, False]], [[0.5, 1.5]] * 2]
    )
    def test_what_is_no_flag_in_json(self, tmp_path, value):
        path = tmp_path / "hands.json"
        some_hands().save(path)
        change_json(path, hand_visible=value)
        refused(HandParams.load, path, "`hand_visible` is not a list of true and false")

    @pytest.mark.parametrize("dtype", [torch.bool, np.bool_])
    def test_flags_of_tensors_and_arrays(self, dtype):
        values = some_hands().to_dict()
        values["betas"] = torch.ones(2, 10, dtype=dtype) if dtype is torch.bool else np.ones((2, 10), dtype)
        with pytest.raises(ValueError, match="`betas` is not a list of numbers: it holds true or false"):
            HandParams.from_dict(values)

    @pytest.mark.parametrize("version", ["2", True, 1.5, None, "\ud800"])
    def test_versions(self, tmp_path, version):
        path = tmp_path / "hands.json"
        some_hands().save(path)
        change_json(path, version=version)
        refused(HandParams.load, path, "format version .* is not 1")

    def test_long_texts_in_a_file_make_no_long_messages(self, tmp_path):
        path = tmp_path / "hands.json"
        path.write_text(json.dumps({"format": "diffusers_handiffuser.HandParams", "version": "9" * 10**6}))
        refused(HandParams.load, path, "format version")
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "version": 1} | {f"a{i}": 0 for i in range(10**4)})
        )
        refused(HandParams.load, path, "unknown")

    def test_json_too_large_is_not_read(self, tmp_path):
        path = tmp_path / "hands.json"
        with path.open("wb") as file:
            file.truncate(2**28 + 1)
        refused(HandParams.load, path, "more than 268435456 bytes")


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
    "motion of a year": ("motion", lambda: long_motion(), "more than such a file may hold"),
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


class TestBodies:
    @pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr, pickle.loads, np.load])
    @pytest.mark.parametrize("suffix", ["pkl", "npz"])
    def test_no_code_runs(self, tmp_path, function, suffix):
        path = tmp_path / f"body.{suffix}"
        hostile = np.array([Call(function, "touch canary")], dtype=object)
        arrays = {**made_up_body(12), "f": hostile}
        path.write_bytes(pickle.dumps(arrays) if suffix == "pkl" else npz_bytes(arrays))
        refused(read_smplh_file, path, "does not belong in a body file|array of Python objects")

    def test_a_pickle_under_the_name_of_an_archive(self, tmp_path):
        path = tmp_path / "body.npz"
        path.write_bytes(pickle.dumps(TOUCH))
        refused(read_smplh_file, path, "not a whole npz archive")

    def test_a_long_name_makes_no_long_message(self, tmp_path):
        path = tmp_path / "body.pkl"
        path.write_bytes(b"c" + b"x" * 10**6 + b"\nname\n.")
        refused(read_smplh_file, path, "x")


class TestMotion:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"poses": np.array([TOUCH], dtype=object)}, "array of Python objects"),
            ({"poses": np.full((4, 156), np.nan)}, "must be finite"),
            ({"poses": np.full((4, 156), 1e300)}, "must be finite"),
            ({"poses": np.zeros((4, 165))}, "SMPL-X"),
            ({"poses": np.array("x")}, "could not convert"),
            ({"betas": np.zeros(4)}, "`betas`"),
            ({"mocap_framerate": np.zeros(3)}, "must be one number"),
            ({"mocap_framerate": np.array(np.inf)}, "`frame_rate`"),
        ],
    )
    def test_wrong_arrays(self, tmp_path, changes, reason):
        arrays = {"poses": np.zeros((4, 156)), "betas": np.zeros(16), "mocap_framerate": np.array(60.0)}
        path = tmp_path / "motion.npz"
        path.write_bytes(npz_bytes({**arrays, **changes}))
        refused(READERS["motion"].read, path, reason)


class TestRows:
    """What rows say of pictures, and of numbers. Their files are the matter of `test_hostile_datasets`."""

    @pytest.mark.parametrize("path", STORED_PATHS)
    @pytest.mark.parametrize(
        "columns",
        [
            lambda path: {"file_name": path},
            lambda path: {"image": path},
            lambda path: {"image": {"path": path}},
            lambda path: {"image": {"path": path, "bytes": None}},
        ],
    )
    def test_pictures_outside_of_the_folder(self, tmp_path, valid_files, path, columns):
        row = json.loads(valid_files["rows"].splitlines()[0]) | columns(path)
        for folder in (tmp_path, "hf://datasets/someone/data@main", None):
            with pytest.raises(RowError, match="must be a path"):
                parse_row(row, "metadata.jsonl, row 0", folder)

    def test_rows_without_a_folder_bring_their_pictures(self, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0])
        with pytest.raises(RowError, match="names the file 'x.png', but these rows lie in no folder"):
            parse_row({**row, "file_name": "x.png"}, "row 0")

    def test_no_picture_as_datasets_stores_it(self, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0]) | {"image": {"bytes": None, "path": None}}
        assert parse_row(row, "row 0").picture is None

    @pytest.mark.parametrize("path", ["x.png", "images/a b.png", "12:30.png", "..x/y..png", "a..b", "日本.png", "-"])
    def test_names_that_are_legal(self, tmp_path, valid_files, path):
        row = json.loads(valid_files["rows"].splitlines()[0]) | {"file_name": path}
        assert parse_row(row, "row 0", tmp_path).picture.content == tmp_path / path

    @pytest.mark.parametrize("value", ["1.0", True, None, b"1", [0.0], {}])
    def test_what_is_no_number(self, valid_files, value):
        row = json.loads(valid_files["rows"].splitlines()[0])
        for name in HandParams.FIELDS:
            if name != "hand_visible" or value is not True:
                with pytest.raises(RowError, match=f"`{name}` must be"):
                    parse_row({**row, name: [value, *row[name][1:]]}, "row 0")

    def test_text_that_cannot_be_encoded(self, tmp_path, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0])
        (tmp_path / "metadata.jsonl").write_text(json.dumps({**row, "text": "a \ud800 hand"}))
        with pytest.raises(ValueError, match=r"row 0: `text` must be text that UTF-8 has, but is 'a \\ud800 hand'"):
            HandDataset(tmp_path)

    @pytest.mark.parametrize("value", [10**400, [10**400] * 10, "NaN", [[[]]], {"a": 1}, None, [None] * 10, b"x"])
    def test_odd_numbers(self, valid_files, value):
        row = json.loads(valid_files["rows"].splitlines()[0])
        with pytest.raises(RowError, match="`betas`"):
            parse_row({**row, "betas": value}, "row 0")

    def test_a_line_without_end(self, tmp_path):
        path = tmp_path / "metadata.jsonl"
        with path.open("wb") as file:
            file.write(b"[")
            file.truncate(2**24 + 1)
        with pytest.raises(ValueError, match="metadata.jsonl, row 0: the line has more than"):
            list(Shard(str(path), "jsonl").rows())

    def test_no_program_draws_pictures(self, tmp_path):
        """Of PostScript, Pillow asks Ghostscript for a picture."""
        path = tmp_path / "picture.png"
        path.write_bytes(OTHER_FILES["PostScript"])
        refused(lambda path: Picture("row 0", path).open(), path, "cannot identify image file")

    def test_bombs_of_pixels(self, tmp_path):
        import zlib

        header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        path = tmp_path / "picture.png"
        path.write_bytes(picture_bytes()[:8] + chunk + picture_bytes()[33:])
        refused(lambda path: Picture("row 0", path).open(), path, "decompression bomb")


NO_SHARDS = (
    *("evil.bin", "evil.safetensors.bin", "../secret.safetensors", "../../secret.safetensors", "a/b.safetensors"),
    *("/tmp/secret.safetensors", r"..\secret.safetensors", r"C:\secret.safetensors", "C:secret.safetensors", ".."),
    *("", "x.safetensors\0", 3, None, ["x.safetensors"]),
)
"""What an index may not give as the place of a weight."""


def make_index(folder: Path, shard: object, variant: str | None = None) -> Path:
    """Makes shards of a model's weights, the last of which is said to be in `shard`; returns the index."""
    weights = next(folder.glob("*.safetensors"))
    tensors = load_file(weights)
    weights.unlink()
    middle = f".{variant}" if variant else ""
    whole = f"{weights.stem}{middle}-00001-of-00002.safetensors"
    save_file(tensors, folder / whole, {"format": "pt"})
    for place in ("evil.bin", "../secret.safetensors"):
        torch.save(tensors, folder / place)
    places = dict.fromkeys(tensors, whole) | {max(tensors): shard}
    path = folder / f"{weights.stem}.safetensors.index{middle}.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return path


def load_model(name: str):
    return lambda path: MODELS[name].from_pretrained(path)


@pytest.fixture(params=MODELS)
def model_folder(request, stored_models, tmp_path):
    """Name of a model and a copy of its folder."""
    folder = tmp_path / f"a {request.param}"
    shutil.copytree(stored_models[request.param], folder)
    return request.param, folder


class TestModels:
    def test_broken_safetensors(self, model_folder):
        name, folder = model_folder
        whole = (folder / WEIGHTS).read_bytes()
        cuts = {f"cut at {length}": whole[:length] for length in boundaries(whole)}
        for content in {**BROKEN_SAFETENSORS, **OTHER_FILES, **cuts}.values():
            (folder / WEIGHTS).write_bytes(content)
            refused(load_model(name), folder)

    def test_broken_configs(self, model_folder):
        name, folder = model_folder
        config = json.loads((folder / "config.json").read_text())
        changed = [{**config, key: value} for key in config for value in ("os.system", -1, 2**70, [], {"a": 1}, 1e300)]
        texts = [
            *OTHER_FILES.values(),
            b"[]",
            b"null",
            b'"x"',
            b"{}\x00",
            b"{",
            *(json.dumps(c).encode() for c in changed),
        ]
        for text in texts:
            (folder / "config.json").write_bytes(text)
            try:
                load_model(name)(folder)  # what it says may not matter
            except (ValueError, OSError) as error:
                assert folder.name in str(error) and "\n" not in str(error), error

    @pytest.mark.parametrize(
        "key", ["num_layers", "num_hidden_layers", "hidden_size", "num_vertices", "num_basis_points"]
    )
    def test_configs_that_ask_for_much(self, model_folder, key):
        name, folder = model_folder
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, key: 10**9}))
        refused(load_model(name), folder, f"`{key}` 1000000000, more than")

    @pytest.mark.parametrize("value", ["8", "x", True, 8.5, None, [8], {"a": 8}, "\ud800"])
    def test_other_types_in_a_config(self, model_folder, value):
        name, folder = model_folder
        whole = json.loads((folder / "config.json").read_text())
        numbers = [key for key, stored in whole.items() if type(stored) is int]
        assert numbers
        for key in numbers:
            (folder / "config.json").write_text(json.dumps({**whole, key: value}))
            refused(load_model(name), folder, f"`{key}` .*; wanted int|surrogate")

    def test_whole_numbers_in_place_of_others(self, model_folder):
        name, folder = model_folder
        config = json.loads((folder / "config.json").read_text())
        whole = {key: int(value) for key, value in config.items() if type(value) is float and value == int(value)}
        change_json(folder / "config.json", **whole)
        assert load_model(name)(folder) is not None

    @pytest.mark.parametrize("entry", [{"hidden_act": "\ud800"}, {"\udfff": 1}, {"notes": [{"a": ["\ud83d"]}]}])
    def test_half_of_a_surrogate_pair(self, model_folder, entry):
        name, folder = model_folder
        change_json(folder / "config.json", notes="\U0001f590")
        assert load_model(name)(folder) is not None
        change_json(folder / "config.json", **entry)
        refused(load_model(name), folder, "half of a surrogate pair")

    def test_no_folder(self, model_folder):
        name, folder = model_folder
        (folder / WEIGHTS).unlink()
        refused(load_model(name), folder, WEIGHTS)
        (folder / WEIGHTS).mkdir()
        refused(load_model(name), folder)
        shutil.rmtree(folder)
        refused(load_model(name), folder)

    @pytest.mark.parametrize("shard", NO_SHARDS)
    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_indices(self, model_folder, variant, shard):
        name, folder = model_folder
        make_index(folder, shard, variant)
        refused(lambda path: MODELS[name].from_pretrained(path, variant=variant), folder, "names the weights")

    @pytest.mark.parametrize("content", [b"[]", b"{", b'{"weight_map": []}', b"[" * 100_000])
    def test_broken_indices(self, model_folder, content):
        name, folder = model_folder
        make_index(folder, "x.safetensors").write_bytes(content)
        refused(load_model(name), folder)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
    @pytest.mark.parametrize("file", ["config.json", WEIGHTS])
    def test_pipes(self, model_folder, file):
        """Reading one would wait for ever."""
        name, folder = model_folder
        (folder / file).unlink()
        os.mkfifo(folder / file)
        refused(load_model(name), folder, "neither a file nor a folder")

    @pytest.mark.parametrize("file", ["config.json", WEIGHTS])
    def test_links_out_of_the_folder(self, model_folder, file, tmp_path):
        name, folder = model_folder
        os.replace(folder / file, tmp_path / "elsewhere")
        (folder / file).symlink_to(tmp_path / "elsewhere")
        refused(load_model(name), folder, "is a link to a place outside of")
        (folder / "inside").mkdir()
        os.replace(tmp_path / "elsewhere", folder / "inside" / "file")
        (folder / file).unlink()
        (folder / file).symlink_to(Path("inside", "file"))
        assert load_model(name)(folder) is not None

    def test_vertex_numbers_of_a_body(self, stored_models, tmp_path):
        shutil.copytree(stored_models["body_model"], tmp_path / "body")
        for key in ("faces", "hand_vertex_ids", "influences", "regressor_index", "chain_parents", "openpose_order"):
            tensors = load_file(stored_models["body_model"] / WEIGHTS)
            tensors[key].view(-1)[0] = 200
            save_file(tensors, tmp_path / "body" / WEIGHTS)
            refused(HandBodyModel.from_pretrained, tmp_path / "body", f"`{key}.*holds numbers that are not between 0")


@pytest.fixture
def pipeline_folder(stored_pipeline, tmp_path):
    shutil.copytree(stored_pipeline, tmp_path / "a pipeline")
    return tmp_path / "a pipeline"


def change_index(folder: Path, **entries) -> None:
    change_json(folder / "model_index.json", **entries)


class TestPipelines:
    @pytest.mark.parametrize("content", [*OTHER_FILES.values(), b"[]", b"null", b"1", b'"x"'])
    def test_broken_index(self, pipeline_folder, content):
        (pipeline_folder / "model_index.json").write_bytes(content)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["unet", "vae", "hand_text_encoder", "text_encoder"])
    @pytest.mark.parametrize("kind", ["overlapping tensors", "header of all memory", "a pickle"])
    def test_broken_weights(self, pipeline_folder, name, kind):
        next((pipeline_folder / name).glob("*.safetensors")).write_bytes(BROKEN_SAFETENSORS[kind])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["scheduler/scheduler_config.json", "unet/config.json", "tokenizer"])
    def test_broken_parts(self, pipeline_folder, name):
        path = pipeline_folder / name
        for file in path.iterdir() if path.is_dir() else [path]:
            file.write_bytes(b"\xff\xfe{")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "scheduler", "model_index.json"])
    def test_links_out_of_the_folder(self, pipeline_folder, name, tmp_path):
        path = pipeline_folder / name
        os.replace(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "is a link to a place outside of")

    @pytest.mark.parametrize("name", ["unet", "hand_text_encoder", "text_encoder"])
    @pytest.mark.parametrize("shard", NO_SHARDS)
    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_indices(self, pipeline_folder, name, variant, shard):
        make_index(pipeline_folder / name, shard, variant)
        refused(
            lambda path: HanDiffuserPipeline.from_pretrained(path, variant=variant),
            pipeline_folder,
            f"{name}/.*names the weights",
        )

    def test_indices_that_are_not_read(self, pipeline_folder):
        """Pickles may lie beside safetensors, with an index of their own."""
        folder = pipeline_folder / "unet"
        whole = next(folder.glob("*.safetensors")).read_bytes()
        make_index(folder, "evil.bin").rename(folder / "diffusion_pytorch_model.bin.index.json")
        (folder / WEIGHTS).write_bytes(whole)
        for left in folder.glob("*-of-*"):
            left.unlink()
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None

    @pytest.mark.parametrize(
        "entry",
        [
            *(["diffusers", name] for name in ("DiffusionPipeline", "StableDiffusionPipeline", "HanDiffuserPipeline")),
            *(["diffusers", name] for name in ("ModularPipeline", "FlashPackDiffusionPipeline", "AutoModel")),
            *(["diffusers", name] for name in ("AutoPipelineForText2Image", "ConfigMixin", "logging", "utils", "x")),
            *(["stable_diffusion", name] for name in ("StableDiffusionPipeline", "sys", "TYPE_CHECKING")),
            *(["transformers", name] for name in ("AutoModel", "AutoTokenizer", "pipeline", "Trainer", "models")),
            *(["diffusers_handiffuser", name] for name in ("HanDiffuserPipeline", "HandParams", "hub", "x")),
        ],
        ids=".".join,
    )
    @pytest.mark.parametrize("key", ["unet", "scheduler", "safety_checker", "hand_text_encoder"])
    def test_what_is_no_component(self, pipeline_folder, entry, key):
        change_index(pipeline_folder, **{key: entry})
        refused(
            HanDiffuserPipeline.from_pretrained, pipeline_folder, f"says that `{key}` is .*; wanted a model, sched"
        )

    def test_a_pipeline_in_place_of_a_component(self, pipeline_folder):
        """It would read the pickles in its own folder."""
        shutil.copytree(pipeline_folder, pipeline_folder / "inner")
        (pipeline_folder / "inner").rename(pipeline_folder / "safety_checker")
        inner = pipeline_folder / "safety_checker" / "unet"
        torch.save(load_file(inner / WEIGHTS), inner / "diffusion_pytorch_model.bin")
        (inner / WEIGHTS).unlink()
        change_index(pipeline_folder, safety_checker=["diffusers", "DiffusionPipeline"])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "says that `safety_checker` is")

    @pytest.mark.parametrize("key", ["../elsewhere", "/tmp", "a b", "unet/../vae", ""])
    def test_names_of_components(self, pipeline_folder, key):
        change_index(pipeline_folder, **{key: ["diffusers", "UNet2DConditionModel"]})
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"says that `{key}` is")

    @pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
    def test_half_of_a_surrogate_pair(self, pipeline_folder, file):
        change_json(pipeline_folder / file, notes=["\ud800"])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "half of a surrogate pair")

    def test_a_component_without_a_folder(self, pipeline_folder):
        """diffusers then reads the files of the pipeline's own folder."""
        for path in (pipeline_folder / "unet").iterdir():
            path.rename(pipeline_folder / path.name)
        (pipeline_folder / "unet").rmdir()
        make_index(pipeline_folder, "evil.bin")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "names the weights 'evil.bin'")

    @pytest.mark.parametrize("name", ["tokenizer/deep/er/file.txt", "unet/deep", "hand_text_encoder/config.json"])
    def test_links_in_any_depth(self, pipeline_folder, tmp_path, name):
        (tmp_path / "secret").mkdir()
        path = pipeline_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "secret")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "is a link to a place outside of")
        path.unlink()
        path.symlink_to(path.name)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "leads back to itself")


class TestSeveralSideBySide:
    """The second of several ControlNets lies in a folder that the index does not name."""

    @pytest.fixture
    def folder(self, pipe, tmp_path):
        torch.manual_seed(0)
        one, two = (ControlNetModel.from_unet(pipe.unet) for _ in range(2))
        HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=[one, two]).save_pretrained(tmp_path / "several")
        assert (tmp_path / "several" / "controlnet_1").is_dir()
        return tmp_path / "several"

    def test_is_read(self, folder):
        assert len(HanDiffuserControlNetPipeline.from_pretrained(folder).controlnet.nets) == 2

    def test_indices(self, folder):
        make_index(folder / "controlnet_1", "evil.bin")
        refused(HanDiffuserControlNetPipeline.from_pretrained, folder, "controlnet_1/.*names the weights 'evil.bin'")

    def test_configs_that_ask_for_much(self, folder):
        change_json(folder / "controlnet_1" / "config.json", layers_per_block=10**6, _class_name="AutoencoderKL")
        refused(HanDiffuserControlNetPipeline.from_pretrained, folder, "the config of `controlnet` asks for a model")


class TestAdapterBesideWeights:
    """transformers loads an adapter that it finds beside a model, and some releases its base from where that says."""

    @pytest.fixture
    def elsewhere(self, stored_pipeline, tmp_path):
        """Weights that no folder of the checkpoint holds."""
        shutil.copytree(stored_pipeline / "hand_text_encoder", tmp_path / "elsewhere")
        path = next((tmp_path / "elsewhere").glob("*.safetensors"))
        save_file({key: torch.zeros_like(value) for key, value in load_file(path).items()}, path, {"format": "pt"})
        return tmp_path / "elsewhere"

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"auto_mapping": {"parent_library": "hostile", "base_model_class": "X"}},
            {"megatron_config": {"a": 1}, "megatron_core": "hostile"},
            {"peft_type": "XLORA"},
        ],
    )
    def test_of_transformers(self, pipeline_folder, elsewhere, changes):
        pytest.importorskip("peft")
        config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "base_model_name_or_path": str(elsewhere)}
        folder = pipeline_folder / "hand_text_encoder"
        (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
        torch.save(TOUCH, folder / "adapter_model.bin")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "adapter_config.json.* makes transformers load")

    def test_of_diffusers_it_is_not_looked_at(self, pipeline_folder, elsewhere):
        config = {"peft_type": "LORA", "base_model_name_or_path": str(elsewhere), "auto_mapping": "hostile"}
        for name in ("unet", "text_encoder", "text_to_hand_params"):
            (pipeline_folder / name / "adapter_config.json").write_text(json.dumps(config))
            torch.save(TOUCH, pipeline_folder / name / "adapter_model.bin")
        loaded = HanDiffuserPipeline.from_pretrained(pipeline_folder)
        assert not any("lora" in key for key in loaded.text_encoder.state_dict())
        assert all(value.any() for value in loaded.unet.state_dict().values() if value.ndim > 1)

    @pytest.mark.parametrize("value", ["../elsewhere/model.safetensors", "/tmp/x.safetensors", "model.bin", 3])
    def test_weights_under_another_name(self, pipeline_folder, elsewhere, value):
        change_json(pipeline_folder / "hand_text_encoder" / "config.json", transformers_weights=value)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "names the weights")

    @pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
    @pytest.mark.parametrize("value", ["someone/kernel", "someone/kernel@main:f", {"": "someone/kernel"}])
    def test_code_of_the_hub(self, pipeline_folder, key, value):
        path = pipeline_folder / "hand_text_encoder" / "config.json"
        for changes in ({key: value}, {"text_config": {key: value}}):
            whole = path.read_bytes()
            change_json(path, **changes)
            refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"`{key}` .* code from elsewhere")
            path.write_bytes(whole)
        change_json(path, **{key: "sdpa" if "attn" in key else "eager"})
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None


class TestFilesOfProcessors:
    """What transformers takes from elsewhere for a tokenizer or a processor, where its config says so."""

    @pytest.mark.parametrize("key", ["vocab_file", "merges_file", "tokenizer_file", "gguf_file", "spm_file"])
    @pytest.mark.parametrize("value", ["/etc/passwd", "../x", "vocab.json", 3])
    def test_files_of_a_tokenizer(self, pipeline_folder, key, value):
        change_json(pipeline_folder / "tokenizer" / "tokenizer_config.json", **{key: value})
        refused(
            HanDiffuserPipeline.from_pretrained, pipeline_folder, f"tokenizer_config.json' has `{key}`, which makes"
        )

    def test_files_that_no_release_reads(self, pipeline_folder):
        path = pipeline_folder / "tokenizer" / "tokenizer_config.json"
        change_json(path, special_tokens_map_file="/root/.cache/special_tokens_map.json", tokenizer_file=None)
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None

    @pytest.mark.parametrize("file", ["tokenizer_config.json", "processor_config.json", "preprocessor_config.json"])
    @pytest.mark.parametrize("name", ["CLIPProcessor", "LlavaProcessor"])
    def test_code_of_a_processor(self, pipeline_folder, monkeypatch, tmp_path, name, file):
        """transformers would ask on the terminal whether to run it."""
        folder = pipeline_folder / "feature_extractor"
        shutil.copytree(pipeline_folder / "tokenizer", folder)
        (folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nclass Evil: pass\n")
        config = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
        code = {"AutoTokenizer": ["evil.Evil", None], "AutoImageProcessor": "evil.Evil"}
        config |= {"tokenizer_class": "Evil", "image_processor_type": "Evil", "auto_map": code}
        (folder / file).write_text(json.dumps(config))
        change_index(pipeline_folder, feature_extractor=["transformers", name])
        monkeypatch.setattr("builtins.input", lambda *_: "y")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"{file}' has `auto_map`, which names code")
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize(
        "name", ["TimmBackbone", "TimmWrapperModel", "TimmWrapperForImageClassification", "TimmWrapperPreTrainedModel"]
    )
    def test_models_of_another_library(self, pipeline_folder, name):
        change_index(pipeline_folder, safety_checker=["transformers", name])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "says that `safety_checker` is")

    @pytest.mark.parametrize(
        "changes",
        [
            {"backbone": "someone/model", "use_pretrained_backbone": True},
            {"model_type": "timm_wrapper", "model_args": {"checkpoint_path": "/tmp/evil.pth"}},
            {"backbone_config": {"model_type": "timm_backbone", "backbone": "local-dir:/tmp"}},
        ],
    )
    def test_models_in_models(self, pipeline_folder, changes):
        change_json(pipeline_folder / "hand_text_encoder" / "config.json", **changes)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "build a model that is not in this folder")


class TestCaches:
    """Links from a cached snapshot to its blobs are no links out of a checkpoint; what only looks so is one."""

    BLOB = "a" * 64

    @pytest.fixture
    def cached(self, stored_models, tmp_path):
        """A model as huggingface_hub caches it: its files are links to blobs."""
        repository = tmp_path / "cache" / "models--someone--model"
        snapshot = repository / "snapshots" / ("c" * 40)
        shutil.copytree(stored_models["text_to_hand_params"], snapshot)
        (repository / "blobs").mkdir()
        (repository / "refs").mkdir()
        os.replace(snapshot / WEIGHTS, repository / "blobs" / self.BLOB)
        (snapshot / WEIGHTS).symlink_to(Path("..", "..", "blobs", self.BLOB))
        return snapshot

    def test_is_read(self, cached, tmp_path):
        assert load_model("text_to_hand_params")(cached) is not None
        os.replace(tmp_path / "cache", tmp_path / "another disk")
        (tmp_path / "cache").symlink_to(tmp_path / "another disk")
        assert load_model("text_to_hand_params")(cached) is not None

    def test_blobs_shared_by_repositories(self, cached, tmp_path):
        """As huggingface_hub 2 does when told to."""
        own, shared = cached.parents[1] / "blobs" / self.BLOB, tmp_path / "cache" / "blobs" / "aa" / self.BLOB
        shared.parent.mkdir(parents=True)
        os.replace(own, shared)
        own.symlink_to(Path("..", "..", "blobs", "aa", self.BLOB))
        assert load_model("text_to_hand_params")(cached) is not None
        os.replace(tmp_path / "cache" / "blobs", tmp_path / "elsewhere")
        (tmp_path / "cache" / "blobs").symlink_to(tmp_path / "elsewhere")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_blobs_that_are_a_link(self, cached, tmp_path):
        os.replace(cached.parents[1] / "blobs", tmp_path / "secrets")
        (cached.parents[1] / "blobs").symlink_to(tmp_path / "secrets")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_a_blob_that_is_a_link(self, cached, tmp_path):
        own = cached.parents[1] / "blobs" / self.BLOB
        os.replace(own, tmp_path / "secret")
        own.symlink_to(tmp_path / "secret")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_a_folder_that_is_no_cache(self, cached, tmp_path):
        os.replace(cached.parents[1], tmp_path / "home")
        refused(
            load_model("text_to_hand_params"), tmp_path / "home" / "snapshots" / cached.name, "is a link to a place"
        )


LOAD_LIMITED = """
import json, logging, resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from diffusers_handiffuser import HanDiffuserPipeline
logging.disable(logging.ERROR)
folder = Path(sys.argv[2])
HanDiffuserPipeline.from_pretrained(folder)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
for file, changes in json.load(sys.stdin):
    whole = (folder / file).read_bytes()
    (folder / file).write_text(json.dumps({**json.loads(whole), **changes}))
    start = time.process_time()
    try:
        HanDiffuserPipeline.from_pretrained(folder)
        print("loaded")
    except (ValueError, OSError) as error:
        print(f"{time.process_time() - start:.3f} {error}")
    (folder / file).write_bytes(whole)
"""
MUCH = 2**24
LARGE = {
    "layers of a U-Net": ("unet/config.json", {"layers_per_block": MUCH}, "`unet` asks for a model much larger"),
    "layers of a U-Net in a list": ("unet/config.json", {"layers_per_block": [1, MUCH]}, "`unet` asks for"),
    "transformers in a U-Net": ("unet/config.json", {"transformer_layers_per_block": MUCH}, "`unet` asks for"),
    "transformers in lists": (
        "unet/config.json",
        {
            "transformer_layers_per_block": [[1], [10**5]],
            "reverse_transformer_layers_per_block": [[10**5] * 2, [1] * 2],
        },
        "`unet` asks for",
    ),
    "blocks of a U-Net": (
        "unet/config.json",
        {
            "block_out_channels": [8] * 10**4,
            "down_block_types": ["DownBlock2D"] * 10**4,
            "up_block_types": ["UpBlock2D"] * 10**4,
        },
        "`unet` asks for",
    ),
    "channels of a U-Net": ("unet/config.json", {"block_out_channels": [2**16, 2**16]}, "`unet` asks for"),
    "channels beyond all numbers": ("unet/config.json", {"block_out_channels": [8, 2**60]}, "`block_out_channels`"),
    "text of a U-Net": ("unet/config.json", {"cross_attention_dim": 10**7}, "`unet` asks for"),
    "classes of a U-Net": ("unet/config.json", {"num_class_embeds": MUCH}, "`unet` asks for"),
    "layers of a VAE": ("vae/config.json", {"layers_per_block": MUCH}, "`vae` asks for"),
    "channels of a VAE": ("vae/config.json", {"block_out_channels": [2**18, 2**18]}, "`vae` asks for"),
    "layers of CLIP": ("hand_text_encoder/config.json", {"num_hidden_layers": 1000}, "`hand_text_encoder` asks for"),
    "width of CLIP": ("hand_text_encoder/config.json", {"intermediate_size": MUCH}, "`hand_text_encoder` asks for"),
    "words of CLIP": ("hand_text_encoder/config.json", {"vocab_size": MUCH}, "`hand_text_encoder` asks for"),
    "layers of ours": ("text_encoder/config.json", {"num_hidden_layers": 1000}, "`text_encoder` asks for"),
    "width of ours": ("text_encoder/config.json", {"hand_hidden_size": 2**20}, "`text_encoder` asks for"),
    "points of ours": ("text_encoder/config.json", {"num_basis_points": MUCH}, "`text_encoder` asks for"),
    "width of stage 1": ("text_to_hand_params/config.json", {"hidden_size": MUCH}, "`text_to_hand_params` asks for"),
    "vertices": ("body_model/config.json", {"num_vertices": MUCH}, "`body_model` asks for"),
    "steps": ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "`num_train_timesteps` 1000000000"),
    "steps as a float, of which some schedulers make a table": (
        "text_to_hand_scheduler/scheduler_config.json",
        {"num_train_timesteps": 1e9, "trained_betas": [0.1]},
        "`num_train_timesteps` 1000000000.0, more than",
    ),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
class TestConfigsThatAskForMuch:
    """In a process of their own, with 700 MiB beside the libraries."""

    @pytest.fixture(scope="class")
    def outcomes(self, stored_pipeline, tmp_path_factory):
        folder = tmp_path_factory.mktemp("large") / "a pipeline"
        shutil.copytree(stored_pipeline, folder)
        changes = json.dumps([entry[:2] for entry in LARGE.values()])
        result = subprocess.run(
            [sys.executable, "-c", LOAD_LIMITED, SOURCE, str(folder)],
            input=changes,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return dict(zip(LARGE, result.stdout.splitlines(), strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", LARGE)
    def test_is_refused(self, outcomes, name):
        seconds, _, message = outcomes[name].partition(" ")
        assert "a pipeline" in message and float(seconds) < 10
        assert any(reason in message for reason in LARGE[name][2].split("|")), message

    def test_of_those_who_mean_it(self, pipeline_folder):
        """What is wrong then is that the weights do not fit."""
        change_json(pipeline_folder / "unet" / "config.json", cross_attention_dim=10**6)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "`unet` asks for .*; `check_sizes=False`")
        with pytest.raises((ValueError, OSError), match="shape|size mismatch"):
            HanDiffuserPipeline.from_pretrained(pipeline_folder, check_sizes=False)
        change_json(pipeline_folder / "text_encoder" / "config.json", hand_hidden_size=16_000)
        folder = pipeline_folder / "text_encoder"
        refused(TextHandEncoder.from_pretrained, folder, "`text_encoder` asks for .*; `check_sizes=False`")
        with pytest.raises((ValueError, OSError), match="shape|size mismatch"):
            TextHandEncoder.from_pretrained(folder, check_sizes=False)

    SIZES = {
        "Stable Diffusion 1.5": lambda: UNet2DConditionModel(cross_attention_dim=768),
        "Stable Diffusion XL": lambda: UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
        ),
        "OpenCLIP bigG": lambda: CLIPTextModelWithProjection(
            CLIPTextConfig(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20)
        ),
    }

    @pytest.mark.parametrize("dtype", ["F32", "F16", "F8_E4M3", "four bits"])
    @pytest.mark.parametrize("name", SIZES)
    def test_large_models_are_not_refused(self, tmp_path, name, dtype):
        """The file has the right header and length, but a hole in the place of its numbers."""
        build = self.SIZES[name]
        with torch.device("meta"):
            shapes = {key: list(value.shape) for key, value in build().state_dict().items()}
        header, end = {}, 0
        for key, shape in shapes.items():
            shape = [-(-int(np.prod(shape)) // 2)] if dtype == "four bits" else shape
            start, end = end, end + int(np.prod(shape)) * {"F32": 4, "F16": 2}.get(dtype, 1)
            header[key] = {"dtype": "U8" if " " in dtype else dtype, "shape": shape, "data_offsets": [start, end]}
        content = safetensors(header)
        with (tmp_path / WEIGHTS).open("wb") as file:
            file.write(content)
            file.truncate(len(content) + end)
        check_size("model", build, tmp_path, torch.nn.Module, name)
