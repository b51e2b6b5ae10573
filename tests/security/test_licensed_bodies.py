"""No array of a licensed body leaves with an upload, however it is packed; our own does, and mere text."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import sparse_map_tar
from made_up_body import made_up_body, official_pickle
from safetensors.torch import save, save_file
from valid_files import fingertips_of, npz_bytes, picture_bytes

from diffusers_handiffuser import MINI, HandBodyModel
from diffusers_handiffuser.hands.body_arrays import smplh_arrays
from diffusers_handiffuser.hub import licensed_bodies
from diffusers_handiffuser.hub.licensed_bodies import refuse_licensed_bodies

SOURCE = Path(licensed_bodies.__file__).parents[1]


def arrays_of(body: HandBodyModel, scale: float = 1.0) -> dict[str, np.ndarray]:
    arrays = smplh_arrays(body)
    return {
        name: array * array.dtype.type(scale) if array.dtype == np.float32 else array for name, array in arrays.items()
    }


@pytest.fixture(scope="module")
def own() -> HandBodyModel:
    return HandBodyModel.procedural()


@pytest.fixture(scope="module")
def arrays(own) -> dict[str, np.ndarray]:
    """As in a licensed file: of the same shapes as our own body's, but other numbers."""
    arrays = arrays_of(own, 1.01)
    return {**arrays, "f": arrays["f"][::-1].copy()}


@pytest.fixture(scope="module")
def state_dict(own) -> dict[str, torch.Tensor]:
    """`pipe.body_model.state_dict()` of a pipeline with a licensed body."""
    return {name: v * 1.01 if v.is_floating_point() else v for name, v in own.state_dict().items()}


def search(folder: Path) -> None:
    refuse_licensed_bodies({p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()})


def refused(folder: Path, name: str, reason: str = "licensed body must not be uploaded") -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        search(folder)
    message = str(caught.value)
    assert name in message and "\n" not in message and len(message) < 500, message


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"folder/{name}", content)
    return file.getvalue()


def tarred(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"folder/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def saved(state_dict: dict, **options) -> bytes:
    file = io.BytesIO()
    torch.save(state_dict, file, **options)
    return file.getvalue()


def as_json(arrays: dict) -> bytes:
    return json.dumps({name: arrays[name].tolist() for name in ("v_template", "f")}).encode()


def msgpack(arrays: dict) -> bytes:
    """As flax writes it, without its library."""
    return b"\x82" + b"".join(
        bytes([0xA0 + len(name)])
        + name.encode()
        + b"\xc6"
        + struct.pack(">I", arrays[name].nbytes)
        + arrays[name].tobytes()
        for name in ("v_template", "shapedirs")
    )


def hdf5(shape: tuple[int, ...]) -> bytes:
    """The first bytes of a file, and the message with the size of a dataset, under a name that says nothing."""
    return (
        b"\x89HDF\r\n\x1a\n"
        + bytes(88)
        + b"data\0\0\0\0"
        + bytes([1, len(shape), 0])
        + bytes(5)
        + struct.pack("<2Q", *shape)
    )


OF_ARRAYS = {
    "npz under another suffix": ("x.dat", npz_bytes),
    "npz without a suffix": ("x", npz_bytes),
    "safetensors without a suffix": (
        "x",
        lambda a: save({k: torch.from_numpy(v.astype(np.float32)) for k, v in a.items()}),
    ),
    "pickle": ("x.dat", pickle.dumps),
    "old pickle": ("x", lambda a: pickle.dumps({"v_template": [1.0], "J_regressor": [2.0]}, protocol=0)),
    "official pickle": ("x.pkl", official_pickle),
    "official pickle, packed": ("x.pkl.gz", lambda a: gzip.compress(official_pickle(a), 1)),
    "array of an object": ("x.npy", lambda a: npy(np.array(a, dtype=object))),
    "zip": ("x.zip", lambda a: zipped(readme=b"a body", body=npz_bytes(a))),
    "zip of arrays": ("x.zip", lambda a: zipped(**{f"{k}.npy": npy(v) for k, v in a.items()})),
    "tar.gz": ("x.tar.gz", lambda a: gzip.compress(tarred(body=pickle.dumps(a)), 1)),
    "tar of another suffix": ("x.dat", lambda a: tarred(readme=b"a body", body=npz_bytes(a))),
    "bz2": ("x.bz2", lambda a: bz2.compress(npy(a["v_template"]), 1)),
    "zlib, as joblib packs": ("x.joblib", lambda a: zlib.compress(pickle.dumps(a), 3)),
    "xz": ("x.xz", lambda a: lzma.compress(npy(a["v_template"]), preset=0)),
    "several streams": (
        "x.gz",
        lambda a: gzip.compress(npy(a["v_template"])[:1000]) + gzip.compress(npy(a["v_template"])[1000:]),
    ),
    "zip in a zip": ("x", lambda a: zipped(inside=zipped(body=npz_bytes(a)))),
    "JSON": ("x.json", as_json),
    "JSON, packed": ("x.json.gz", lambda a: gzip.compress(as_json(a), 1)),
    "JSON without names": ("x.json", lambda a: json.dumps([a["v_template"].tolist()]).encode()),
    "JSON by lines": (
        "x.jsonl",
        lambda a: b"\n".join(
            json.dumps({k: a[k].ravel()[:900].tolist()}).encode() for k in ("v_template", "shapedirs")
        ),
    ),
    "base64 in JSON": (
        "x.json",
        lambda a: json.dumps({"body.v_template": "QUFB" * 1000, "body.shapedirs": "QUFB" * 1000}).encode(),
    ),
    "msgpack": ("x.msgpack", msgpack),
    "HDF5": ("x.h5", lambda a: hdf5((6890, 3))),
    "one array by its shape": ("data.npy", lambda a: npy(a["v_template"])),
    "half precision": ("data.npy", lambda a: npy(a["v_template"].astype(np.float16))),
    "faces": ("data.npy", lambda a: npy(a["f"])),
    "MANO by its shape": ("data.npy", lambda a: npy(a["v_template"][:778])),
    "regressor": ("data.npy", lambda a: npy(a["J_regressor"])),
    "smplx's pose directions": ("data.npy", lambda a: npy(np.ones((135, 2334), np.float16))),
    "with one more axis": ("data.npy", lambda a: npy(a["v_template"][None])),
    "frames of several people": ("data.npy", lambda a: npy(np.stack([a["v_template"]] * 4).reshape(2, 2, 6890, 3))),
    "coordinate by coordinate": ("data.npy", lambda a: npy(np.ascontiguousarray(a["v_template"].T))),
    "name of a file": ("MANO_RIGHT.pkl", lambda a: pickle.dumps(0)),
    "name of a file in a zip": ("x.zip", lambda a: zipped(**{"SMPLH_male.pkl": pickle.dumps(0)})),
}
OF_STATE_DICTS = {
    "safetensors": ("x.safetensors", save),
    "safetensors in half precision": (
        "x",
        lambda s: save({k: v.half() if v.is_floating_point() else v for k, v in s.items()}),
    ),
    "with a prefix": ("x.safetensors", lambda s: save({f"pipe.body_model.{k}": v for k, v in s.items()})),
    "torch": ("x.pt", saved),
    "torch without a suffix": ("x", saved),
    "torch, old": ("x.bin", lambda s: saved(s, _use_new_zipfile_serialization=False)),
    "in a checkpoint": ("x.ckpt", lambda s: saved({"step": 3, "state_dict": {"body": s}})),
    "pickled arrays": ("x.pkl", lambda s: pickle.dumps({k: v.numpy() for k, v in s.items()})),
    "npz": ("x.npz", lambda s: npz_bytes({k: v.numpy() for k, v in s.items()})),
    "JSON": ("x.json", lambda s: json.dumps({k: s[k].tolist() for k in ("template", "shape_directions")}).encode()),
}


class TestWhatIsRefused:
    @pytest.mark.parametrize("kind", OF_ARRAYS)
    def test_arrays(self, tmp_path, arrays, kind):
        name, content = OF_ARRAYS[kind]
        (tmp_path / name).write_bytes(content(arrays))
        refused(tmp_path, name)

    @pytest.mark.parametrize("kind", OF_STATE_DICTS)
    def test_state_dicts(self, tmp_path, state_dict, kind):
        name, content = OF_STATE_DICTS[kind]
        (tmp_path / name).write_bytes(content(state_dict))
        refused(tmp_path, name)

    def test_a_body_of_another_size(self, tmp_path):
        """By the names of its arrays, as the shapes say nothing."""
        body = HandBodyModel._from_arrays(
            {**made_up_body(60, 10), "hands_meanl": np.zeros(45), "hands_meanr": np.zeros(45)}
            | {"hands_componentsl": np.eye(45), "hands_componentsr": np.eye(45)},
            "smplh",
            True,
            fingertips_of(60),
        )
        save_file(body.state_dict(), tmp_path / "x")
        refused(tmp_path, "x", "template and shape_directions")

    @pytest.mark.parametrize("write", [np.save, lambda path, array: array.tofile(path), np.savetxt])
    def test_an_array_in_each_file(self, tmp_path, write):
        small = made_up_body(60)
        for number, name in enumerate(("v_template", "shapedirs")):
            (tmp_path / str(number)).mkdir()
            write(tmp_path / str(number) / f"{name}.npy", small[name].reshape(60, -1))
        refused(tmp_path, "1/shapedirs", "v_template and shapedirs, together with '0/v_template")

    def test_arrays_with_a_prefix_in_several_files(self, tmp_path):
        small = made_up_body(60)
        for name in ("v_template", "J_regressor"):
            save_file({f"body.{name}": torch.from_numpy(small[name])}, tmp_path / f"{name[0]}.safetensors")
        refused(tmp_path, "v.safetensors", "by their names, v_template and J_regressor, together with 'J.safetensors'")

    def test_text_that_begins_like_a_packed_file(self, tmp_path):
        numbers = {name: [0.5] * 1000 for name in ("v_template", "shapedirs")}
        (tmp_path / "x").write_text(f"BZh {numbers}")
        refused(tmp_path, "x", "v_template and shapedirs")

    def test_zlib_that_is_cut_off(self, tmp_path, arrays):
        packed = zlib.compress(pickle.dumps(arrays))
        (tmp_path / "x").write_bytes(packed[: len(packed) // 3])
        with pytest.raises(ValueError, match="'x' cannot be searched for a licensed body|'x' holds arrays"):
            search(tmp_path)

    def test_numbers_that_begin_like_zlib(self, tmp_path):
        (tmp_path / "x.bin").write_bytes(np.full(1000, 376, np.int32).tobytes())
        search(tmp_path)

    def test_what_to_do_in_a_false_alarm(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones((778, 3)))
        refused(tmp_path, "x", "778 x 3 .if it is something else of that shape, leave the file out")

    def test_a_long_name_makes_no_long_message(self, tmp_path, state_dict):
        save_file({"x\n" * 10**5 + "template": state_dict["template"]}, tmp_path / "x")
        refused(tmp_path, "x", "template' is 6890 x 3")

    def test_a_licensed_body_in_place_of_a_free_one(self, tmp_path, own, state_dict):
        own.save_pretrained(tmp_path)
        save_file(state_dict, tmp_path / "diffusion_pytorch_model.safetensors")
        refused(tmp_path, "diffusion_pytorch_model.safetensors")

    def test_beside_the_config_of_a_licensed_body(self, tmp_path):
        (tmp_path / "config.json").write_text('{"licensed": true}')
        (tmp_path / "picture.png").write_bytes(picture_bytes())
        search(tmp_path)
        np.save(tmp_path / "picture.npy", np.zeros(3))
        shutil.move(tmp_path / "picture.npy", tmp_path / "anything")
        refused(tmp_path, "anything", "beside a config that says `licensed`")


class TestWhatIsFree:
    @pytest.mark.parametrize("kind", [k for k in OF_STATE_DICTS if k != "torch, old"])
    def test_our_own_body(self, tmp_path, own, kind):
        name, content = OF_STATE_DICTS[kind]
        (tmp_path / name).write_bytes(content(own.state_dict()))
        search(tmp_path)

    def test_our_own_body_in_other_forms(self, tmp_path, own):
        own.save_pretrained(tmp_path / "whole")
        own.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
        own.save_pretrained(tmp_path / "variant", variant="fp16")
        own.to_smplx(tmp_path / "body.npz")
        np.save(tmp_path / "v_template.npy", own.template.numpy().astype(np.float64))
        save_file({k: v.bfloat16() for k, v in own.state_dict().items() if v.is_floating_point()}, tmp_path / "half")
        search(tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("num_vertices", [60, 6890])
    def test_a_body_that_is_the_users_to_pass_on(self, tmp_path, num_vertices):
        (tmp_path / "body.npz").write_bytes(npz_bytes(made_up_body(num_vertices, 10)))
        tips = fingertips_of(num_vertices)
        body = HandBodyModel.from_smplh(tmp_path / "body.npz", vertex_ids=tips, licensed=False)
        (tmp_path / "body.npz").unlink()
        body.save_pretrained(tmp_path / "body_model")
        body.save_pretrained(tmp_path / "body_model", variant="fp16", max_shard_size="300KB")
        search(tmp_path)
        path = tmp_path / "body_model" / "diffusion_pytorch_model.safetensors"
        save_file({name: v + 1 if name == "template" else v for name, v in body.state_dict().items()}, path)
        refused(tmp_path, path.name)

    def test_checkpoints(self):
        for folder in (MINI, Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"):
            search(Path(folder))

    def test_what_speaks_of_a_body(self, tmp_path):
        """Code, pages and configs, and weights of whatever else."""
        text = '`v_template` and `shapedirs` of SMPL-H: "v_template": [6890, 3], "shapedirs": [6890, 3, 10]'
        (tmp_path / "README.md").write_text(text)
        (tmp_path / "smplh_reader.py").write_text(f"v_template = {[0.1] * 9}\nshapedirs = 1\n# {text}")
        (tmp_path / "smplh.json").write_text('{"v_template": [6890, 3], "shapedirs": [6890, 3, 10], "J_regressor": 1}')
        (tmp_path / "code.zip").write_bytes(zipped(**{"smplh.py": text.encode()}))
        (tmp_path / "smpl.png").write_bytes(picture_bytes() + text.encode()[:30])
        weights = {"a": (320, 768), "b": (49408, 768), "c": (1024, 3), "d": (4, 16, 3, 3), "template": (8, 8)}
        tensors = {name: torch.ones(shape, dtype=torch.float16) for name, shape in weights.items()}
        save_file(tensors, tmp_path / "unet.safetensors")
        torch.save({"state_dict": tensors, "step": 6890}, tmp_path / "old.ckpt")
        (tmp_path / "vocab.json").write_text(json.dumps({f"token{k}": k for k in range(6890)}))
        (tmp_path / "empty").write_bytes(b"")
        (tmp_path / "random.bin").write_bytes(np.random.default_rng(0).bytes(10**6))
        search(tmp_path)


SEARCH_LIMITED = """
import resource, sys, time
from pathlib import Path
from diffusers_handiffuser.hub import licensed_bodies
licensed_bodies.MAX_UNPACKED_BYTES, licensed_bodies._MAX_MEMBERS = 2**28, 10_000
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        licensed_bodies.refuse_licensed_bodies({path.name: path})
        reason = "searched"
    except ValueError as error:
        reason = str(error)
    print(f"{time.process_time() - start:.3f} {path.name} {reason}")
"""


def sparse_tar() -> bytes:
    """A member of 8 GiB of which nothing is stored."""
    member = tarfile.TarInfo("hole")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386 : 386 + 24] = b"%011o\0%011o\0" % (0, 0)
    header[483 : 483 + 12] = b"\x80" + (2**33).to_bytes(11, "big")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def many_members(number: int) -> bytes:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = number * len(entry)
    return b"PK\x03\x04" + entry * number + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 4, 0)


def long_header_tar() -> bytes:
    """The header says that extended names of four gigabytes follow."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 2**32
    return member.tobuf(tarfile.GNU_FORMAT)


def bomb(levels: int) -> bytes:
    content = bytes(2**20)
    for _ in range(levels):
        content = gzip.compress(content)
    return content


def zeros() -> bytes:
    return gzip.compress(bytes(2**24), 9) * 24


BOMBS = {
    "gzip": (zeros, "unpacks to more"),
    "zip": (lambda: zipped(a=bytes(2**20), b=zeros()), "unpacks to more"),
    "bzip2": (lambda: bz2.compress(bytes(2**22)) * 128, "unpacks to more"),
    "sparse tar": (sparse_tar, "unpacks to more|damaged"),
    "map of a sparse tar": (sparse_map_tar, "damaged archive, or an unusual one: 0.png is stored as a sparse file"),
    "xz that asks for gigabytes": (
        lambda: lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1536 * 2**20}]),
        "Memory usage limit exceeded",
    ),
    "array with a header of gigabytes": (
        lambda: gzip.compress(b"\x93NUMPY\2\0" + struct.pack("<I", 2**31)) + gzip.compress(bytes(2**24)) * 40,
        "header of more than 64 KiB",
    ),
    "safetensors in front of the file": (
        lambda: struct.pack("<Q", 90) + b'{"v_template":{"shape":[1],"data_offsets":[-90,-89]}}'.ljust(90),
        "searched",
    ),
    "tar in gzip": (
        lambda: b"".join(gzip.compress(tarfile.TarInfo("x").tobuf() * 2**15) for _ in range(8)),
        "unpacks to more",
    ),
    "names of four gigabytes": (long_header_tar, "damaged archive"),
    "two million members": (lambda: many_members(2_000_000), "table of contents"),
    "packed many times": (lambda: bomb(9), "packed more than"),
    "pickle of numbers": (lambda: b"\x80\x02(" + b"K\x01" * 10**7 + b"t.", "searched"),
    "pickle with a long text": (lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x", "searched"),
    "header of a gigabyte": (lambda: struct.pack("<Q", 90_000_000) + b"{", "table of contents"),
    "JSON nested deeply": (lambda: b"[" * 10**6, "searched"),
    "JSON of empty lists": (lambda: b"[" + b"[]," * (5 * 10**6) + b"0]", "searched"),
    "array of four gigabytes": (
        lambda: (
            npy(np.zeros(1))[:10]
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (6890, 3, 99999), }".ljust(117)
            + b"\n"
        ),
        "shape of a body",
    ),
    "zstandard": (lambda: b"\x28\xb5\x2f\xfd" + bytes(100), "cannot be searched"),
    "half an archive": (lambda: zipped(a=bytes(1000))[:-9], "damaged archive"),
    "half of a packed file": (lambda: gzip.compress(bytes(1000))[:-9], "damaged archive"),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process")
class TestBombs:
    @pytest.fixture(scope="class")
    def outcomes(self, tmp_path_factory) -> dict[str, tuple[float, str]]:
        folder = tmp_path_factory.mktemp("bombs")
        for number, (content, _) in enumerate(BOMBS.values()):
            (folder / f"{number:03d}").write_bytes(content())
        result = subprocess.run(
            [sys.executable, "-c", SEARCH_LIMITED, str(folder)],
            env={"PYTHONPATH": str(SOURCE), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        lines = [line.split(" ", 2) for line in result.stdout.splitlines()]
        return {name: (float(line[0]), line[2]) for name, line in zip(BOMBS, lines, strict=True)}

    @pytest.mark.parametrize("name", BOMBS)
    def test_is_bounded(self, outcomes, name):
        seconds, reason = outcomes[name]
        assert any(wanted in reason for wanted in BOMBS[name][1].split("|")), reason
        assert seconds < 20 and "\n" not in reason


def test_time_grows_with_the_size(tmp_path):
    """A gigabyte of whatever takes seconds, and no memory."""
    path = tmp_path / "weights.onnx"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(np.random.default_rng(0).bytes(2**20))
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    search(tmp_path)
    assert time.process_time() - start < 6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
