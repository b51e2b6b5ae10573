import collections
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
from made_up_body import fake_libraries, made_up_body, made_up_hands, merged, official_pickle

from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.skeleton import NUM_JOINTS, PARENTS
from diffusers_handiffuser.hands.smplh_file import find_smplh_file, read_smplh_file

NAMES = ["v_template", "shapedirs", "posedirs", "J_regressor", "weights"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return merged(made_up_body(num_vertices=60), made_up_hands())


def write(path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def npz_bytes(arrays, compressed=False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def check(read: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    for name in [*NAMES, *(key for key in arrays if key.startswith("hands_"))]:
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], arrays[name].astype(np.float32), err_msg=name)
    np.testing.assert_array_equal(read["f"], arrays["f"])
    assert read["kintree_table"][0].tolist() == list(PARENTS)


def refused(path, reason: str) -> None:
    """The file is refused in one line that names it, and gives `reason`."""
    with pytest.raises(ValueError, match=reason) as error:
        read_smplh_file(path)
    message = str(error.value)
    assert message.startswith(f"Cannot read a body from {path}: ") and message.endswith(".")
    assert "\n" not in message and len(message) < 400


class TestFormats:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_npz(self, arrays, tmp_path, compressed):
        check(read_smplh_file(write(tmp_path / "b.npz", npz_bytes(arrays, compressed))), arrays)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_plain_pickles_of_every_protocol(self, arrays, tmp_path, protocol):
        check(read_smplh_file(write(tmp_path / "b.pkl", pickle.dumps(arrays, protocol))), arrays)

    @pytest.mark.parametrize("sparse", ["csc", "csr", "coo"])
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_official_pickles(self, arrays, tmp_path, protocol, sparse):
        path = write(tmp_path / "b.pkl", official_pickle(arrays, protocol, sparse))
        check(read_smplh_file(path), arrays)

    def test_python_2_pickles(self, arrays, tmp_path):
        """Python 2 wrote array contents as its own strings, and other names of modules."""
        content = io.BytesIO()
        pickler = Python2Pickler(content, 2)
        pickler.dump(arrays)
        data = content.getvalue()
        assert b"cnumpy.core.multiarray\n_reconstruct\n" in data and b"_codecs" not in data
        check(read_smplh_file(write(tmp_path / "b.pkl", data)), arrays)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
    def test_memory_layouts(self, arrays, tmp_path, order, dtype):
        arrays = {name: np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype, order) for name, a in arrays.items()}
        check(read_smplh_file(write(tmp_path / "b.npz", npz_bytes(arrays))), arrays)
        check(read_smplh_file(write(tmp_path / "b.pkl", pickle.dumps(arrays))), arrays)

    def test_objects_that_a_body_does_not_need_are_left_alone(self, arrays, tmp_path):
        joint2num = np.array({"pelvis": 0}, dtype=object)
        check(read_smplh_file(write(tmp_path / "b.npz", npz_bytes({**arrays, "joint2num": joint2num}))), arrays)
        extra = {**arrays, "joint2num": joint2num, "names": collections.OrderedDict(a=1), "set": {1}, "none": None}
        check(read_smplh_file(write(tmp_path / "b.pkl", pickle.dumps(extra))), arrays)

    def test_pkl_and_npz_give_the_same_body(self, arrays, tmp_path):
        tips = {side + f: k for k, (side, f) in enumerate((s, f) for s in "lr" for f in OPENPOSE)}
        paths = write(tmp_path / "b.npz", npz_bytes(arrays)), write(tmp_path / "b.pkl", official_pickle(arrays))
        npz, pkl = (HandBodyModel.from_smplh(path, vertex_ids=tips) for path in paths)
        assert npz.config == pkl.config and npz.config.licensed


OPENPOSE = ("thumb", "index", "middle", "ring", "pinky")


class Python2Pickler(pickle._Pickler):
    """Writes bytes the way Python 2 wrote its `str`."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes

    def save_global(self, obj, name=None):
        if getattr(obj, "__name__", "") == "_reconstruct":
            self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)


class TestHands:
    def test_files_without_hand_means_get_zeros_and_the_identity(self, tmp_path):
        read = read_smplh_file(write(tmp_path / "b.npz", npz_bytes(made_up_body(60))))
        assert not read["hands_meanl"].any()
        np.testing.assert_array_equal(read["hands_componentsr"], np.eye(45))

    def test_hand_means_come_from_mano_files(self, arrays, tmp_path):
        hands = made_up_hands()
        body = write(tmp_path / "b.npz", npz_bytes(made_up_body(60)))
        left = write(tmp_path / "MANO_LEFT.pkl", pickle.dumps(hands["l"], 2))
        right = write(tmp_path / "MANO_RIGHT.npz", npz_bytes(hands["r"]))
        check(read_smplh_file(body, mano_left=left, mano_right=right), arrays)

    def test_a_mano_file_without_hand_means_is_named(self, tmp_path):
        body = write(tmp_path / "b.npz", npz_bytes(made_up_body(60)))
        mano = write(tmp_path / "MANO_LEFT.pkl", pickle.dumps({}))
        with pytest.raises(ValueError, match="MANO_LEFT.pkl: it has no 'hands_mean'"):
            read_smplh_file(body, mano_left=mano)


class TestFind:
    @pytest.mark.parametrize(
        "layout",
        [
            "SMPLH_{upper}.npz",
            "SMPLH_{upper}.pkl",
            "SMPLH_{lower}.pkl",
            "smplh/SMPLH_{upper}.pkl",
            "models/smplh/SMPLH_{upper}.npz",
            "models/SMPLH_{lower}.pkl",
            "{lower}/model.npz",
            "smplh/{lower}/model.npz",
            "body_models/smplh/{lower}/model.npz",
        ],
    )
    @pytest.mark.parametrize("gender", ["neutral", "female", "male"])
    def test_layouts_in_the_wild(self, tmp_path, layout, gender):
        file = write(tmp_path / layout.format(upper=gender.upper(), lower=gender), b"")
        assert find_smplh_file(tmp_path, gender).samefile(file)

    def test_a_file_is_itself(self, tmp_path):
        file = write(tmp_path / "anything.npz", b"")
        assert find_smplh_file(file, "male") == file

    def test_nothing_there(self, tmp_path):
        write(tmp_path / "SMPLH_MALE.pkl", b"")
        with pytest.raises(FileNotFoundError, match="No SMPL-H file in .*SMPLH_NEUTRAL.npz"):
            find_smplh_file(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=r"also in smplh/ and models/\.$"):
            find_smplh_file(tmp_path / "empty")
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            find_smplh_file(tmp_path / "absent")
        with pytest.raises(ValueError, match='`gender` must be "neutral", "female" or "male", got \'x\''):
            find_smplh_file(tmp_path, "x")

    @pytest.mark.parametrize("name", ["SMPLH_MALE.pkl", "smplh/female/model.npz", "models/SMPLH_neutral.npz"])
    def test_a_file_of_another_gender_alone_is_named(self, tmp_path, name):
        write(tmp_path / name, b"")
        there = next(gender for gender in ("female", "male", "neutral") if gender in name.lower())
        for gender in {"neutral", "female", "male"} - {there}:
            with pytest.raises(FileNotFoundError, match=rf"There is '{name}': pass `gender='{there}'`"):
                HandBodyModel.from_smplh(tmp_path, gender=gender)

    def test_from_smplh_takes_a_folder_and_a_gender(self, arrays, tmp_path):
        write(tmp_path / "smplh" / "male" / "model.npz", npz_bytes(arrays))
        tips = {side + f: k for k, (side, f) in enumerate((s, f) for s in "lr" for f in OPENPOSE)}
        assert HandBodyModel.from_smplh(tmp_path, gender="male", vertex_ids=tips).config.num_vertices == 60
        with pytest.raises(FileNotFoundError):
            HandBodyModel.from_smplh(tmp_path, vertex_ids=tips)


class TestWrongContents:
    @pytest.mark.parametrize("suffix", ["npz", "pkl"])
    @pytest.mark.parametrize("name", [*NAMES, "f", "kintree_table"])
    def test_missing_arrays(self, arrays, tmp_path, name, suffix):
        rest = {key: value for key, value in arrays.items() if key != name}
        content = npz_bytes(rest) if suffix == "npz" else pickle.dumps(rest)
        refused(write(tmp_path / f"b.{suffix}", content), f"it has no '{name}'")

    @pytest.mark.parametrize(
        ("name", "change", "reason"),
        [
            ("v_template", lambda a: a[:, :2], r"'v_template' must hold numbers in the shape \(60, 3\)"),
            ("shapedirs", lambda a: a[:-1], r"'shapedirs' must hold numbers in the shape \(60, 3, B\)"),
            ("posedirs", lambda a: a[..., :207], r"shape \(60, 3, 459\), got float64 \(60, 3, 207\)"),
            ("J_regressor", lambda a: a[:24], r"'J_regressor' must hold numbers in the shape \(52, 60\)"),
            ("weights", lambda a: a[0], r"'weights' must hold numbers in the shape \(60, 52\)"),
            ("weights", lambda a: a.astype("U4"), "'weights' must hold numbers"),
            ("f", lambda a: a + 60, "'f' must hold numbers of the 60 vertices"),
            ("f", lambda a: a.astype(np.int64) - 60, "'f' must hold numbers of the 60 vertices"),
            ("f", lambda a: a[:0], "'f' must hold numbers of the 60 vertices"),
            ("kintree_table", lambda a: a[:, ::-1], "'kintree_table' is not the skeleton of SMPL-H"),
            ("posedirs", lambda a: a * np.nan, "'posedirs' holds numbers that are not finite"),
            ("v_template", lambda a: a * 1e300, "'v_template' holds numbers that are not finite"),
            ("hands_meanl", lambda a: a[:6], "'hands_meanl' must hold numbers"),
        ],
    )
    def test_wrong_arrays(self, arrays, tmp_path, name, change, reason):
        refused(write(tmp_path / "b.npz", npz_bytes({**arrays, name: change(arrays[name])})), reason)

    def test_other_files(self, tmp_path):
        refused(write(tmp_path / "b.npz", b""), "not a whole npz archive")
        refused(write(tmp_path / "b.npz", b"PK\x03\x04 and nothing else"), "not a whole npz archive")
        refused(write(tmp_path / "b.pkl", b""), "not a whole pickle")
        refused(write(tmp_path / "b.pkl", b"version https://git-lfs.github.com/spec/v1\n"), "not a whole pickle")
        refused(write(tmp_path / "b.pkl", pickle.dumps([1, 2])), "it holds a list, not the dictionary of a body")
        refused(write(tmp_path / "b.h5", b"x"), r"the name must end in .npz or .pkl")
        with pytest.raises(FileNotFoundError, match="absent.npz: there is no such file"):
            read_smplh_file(tmp_path / "absent.npz")
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            read_smplh_file(tmp_path)

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
    def test_truncated_files(self, arrays, tmp_path, part):
        for suffix, content in (("npz", npz_bytes(arrays)), ("pkl", official_pickle(arrays))):
            refused(write(tmp_path / f"b.{suffix}", content[: int(part * len(content))]), "not a whole")

    def test_flipped_bytes_are_refused_or_harmless(self, arrays, tmp_path):
        rng = np.random.default_rng(0)
        small = {name: array for name, array in arrays.items() if name != "posedirs"}
        for suffix, content in (("npz", npz_bytes(small, True)), ("pkl", official_pickle(small))):
            for _ in range(60):
                damaged = bytearray(content)
                damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
                with pytest.raises(ValueError, match="Cannot read a body from"):
                    read_smplh_file(write(tmp_path / f"b.{suffix}", bytes(damaged)))


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class TestHostilePickles:
    @pytest.fixture(autouse=True)
    def canary(self, tmp_path, monkeypatch):
        """Whatever a test does, no file called `canary` may appear."""
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize("protocol", [0, 2, 4])
    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            (os.system, ("touch canary",)),
            (eval, ("open('canary', 'w')",)),
            (exec, ("open('canary', 'w')",)),
            (open, ("canary", "w")),
            (getattr, ("x", "upper")),
            (__import__, ("os",)),
            (subprocess.check_output, (["touch", "canary"],)),
            (np.load, ("b.pkl", None, True)),
            (np.fromfile, ("b.pkl",)),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_calls(self, tmp_path, arrays, function, arguments, protocol):
        for content in (Call(function, *arguments), {**arrays, "v_template": Call(function, *arguments)}):
            data = pickle.dumps(content, protocol)
            refused(write(tmp_path / "b.pkl", data), f"{function.__name__} does not belong in a body file")

    @pytest.mark.parametrize(
        "name",
        [
            "chumpy\nsystem",
            "chumpy.ch\nos.system",
            "scipy.sparse.csc\neval",
        ],
    )
    def test_allowed_libraries_give_nothing_but_stand_ins(self, tmp_path, name):
        data = b"c" + name.encode() + b"\n(S'touch canary'\ntR."
        refused(write(tmp_path / "b.pkl", data), "not the dictionary of a body")

    @pytest.mark.parametrize(
        "name", ["scipy.sparsetools\nx", "chumpyx\nx", "numpy\nsave", "numpy.core.multiarray\nset"]
    )
    def test_neighbouring_names_are_refused(self, tmp_path, name):
        refused(write(tmp_path / "b.pkl", f"c{name}\n.".encode()), "does not belong in a body file")

    @pytest.mark.parametrize(
        "stream",
        [
            b"Pcanary\n.",
            b"\x80\x02\x82\x01.",
            b"(S'touch canary'\nios\nsystem\n.",
            b"(cos\nsystem\nS'touch canary'\no.",
            b"cnumpy\ndtype\n}S'call'\ncos\nsystem\nsb.",
            b"c_codecs\nencode\nN}S'call'\nNs\x86b.",
            b"cchumpy.ch\nCh\n}S'__init__'\nNsb.",
            b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.",
        ],
    )
    def test_handwritten_streams(self, tmp_path, stream):
        refused(write(tmp_path / "b.pkl", stream), "not a whole pickle|does not belong|not the dictionary|tries to")

    def test_poisoning_one_file_leaves_the_next_alone(self, arrays, tmp_path):
        for poison in (b"cchumpy.ch\nCh\n}S'x'\nNsb.", b"c_codecs\nencode\nN}S'call'\nNs\x86b."):
            with pytest.raises(ValueError):
                read_smplh_file(write(tmp_path / "b.pkl", b"\x80\x02" + poison))
        check(read_smplh_file(write(tmp_path / "b.pkl", official_pickle(arrays))), arrays)

    def test_arrays_of_objects(self, arrays, tmp_path):
        objects = np.array([Call(os.system, "touch canary")], dtype=object)
        refused(write(tmp_path / "b.pkl", pickle.dumps({**arrays, "f": objects})), "does not belong in a body file")
        harmless = np.array([None, "x"], dtype=object)
        refused(write(tmp_path / "b.pkl", pickle.dumps({**arrays, "f": harmless})), "array of Python objects")

    def test_npz_with_pickled_members(self, arrays, tmp_path):
        objects = np.array([Call(os.system, "touch canary")], dtype=object)
        data = npz_bytes({**arrays, "f": objects})
        refused(write(tmp_path / "b.npz", data), "array of Python objects|not the whole")

    def test_unknown_chumpy_expressions(self, arrays, tmp_path):
        with fake_libraries() as lib:
            lib.Ch.__qualname__ = lib.Ch.__name__ = "Ch"
            loop = lib.Ch()
            loop.x = loop
            data = pickle.dumps({**arrays, "v_template": loop}, 2)
        refused(write(tmp_path / "b.pkl", data), "nests array expressions too deeply")
        data = data.replace(b"chumpy.ch\nCh\n", b"chumpy.ch\nMatVecMult\n")
        refused(write(tmp_path / "b.pkl", data), "chumpy's MatVecMult is not understood")

    def test_sparse_matrices_that_lie(self, arrays, tmp_path):
        def saved(**state):
            with fake_libraries() as lib:
                return write(tmp_path / "b.pkl", pickle.dumps({**arrays, "J_regressor": lib.csc_matrix(**state)}, 2))

        good = {"data": np.ones(1), "indices": np.zeros(1, int), "indptr": np.array([0] + [1] * 60)}
        read_smplh_file(saved(_shape=(NUM_JOINTS, 60), **good))
        refused(saved(_shape=(10**6, 10**6), **good), "than such a file may hold")
        refused(saved(_shape=(-1, 60), **good), "shape")
        refused(saved(_shape=(NUM_JOINTS, 60), **{**good, "indices": np.array([-1])}), "damaged")
        refused(saved(_shape=(NUM_JOINTS, 60), **{**good, "indices": np.array([99])}), "damaged")
        refused(saved(_shape=(NUM_JOINTS, 60), **{**good, "indptr": np.array([0, 2**40] + [1] * 59)}), "damaged")


class TestBoundedMemory:
    """Small files that ask for a great deal of memory get none of it."""

    @pytest.fixture(autouse=True)
    def limit(self):
        tracemalloc.start()
        yield
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 150e6

    def npy(self, shape, dtype="<f8", data=b"") -> bytes:
        header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
        header = header.ljust(117) + "\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data

    def archive(self, arrays, tmp_path, **members):
        file = io.BytesIO(npz_bytes({name: array for name, array in arrays.items() if name not in members}))
        with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(f"{name}.npy", content)
        return write(tmp_path / "b.npz", file.getvalue())

    @pytest.mark.parametrize("shape", ["(1000000000000,)", "(6890, 3, 10000000)", f"({2**62}, {2**62})"])
    def test_npz_that_declares_giant_arrays(self, arrays, tmp_path, shape):
        refused(self.archive(arrays, tmp_path, posedirs=self.npy(shape)), "than such a file may hold")

    @pytest.mark.parametrize("shape", ["(-1,)", "(1.5,)", "('x',)", "None"])
    def test_npz_with_impossible_shapes(self, arrays, tmp_path, shape):
        refused(self.archive(arrays, tmp_path, posedirs=self.npy(shape)), "shape")

    @pytest.mark.parametrize("shape", ["(60, 3" + " " * 20_000 + ")", "(60, 3), 'x': (((", "__import__('os')"])
    def test_npz_with_odd_headers(self, arrays, tmp_path, shape):
        refused(self.archive(arrays, tmp_path, v_template=self.npy(shape)), "[Hh]eader|npz")

    def test_npz_that_declares_more_than_it_holds(self, arrays, tmp_path):
        refused(self.archive(arrays, tmp_path, posedirs=self.npy("(60, 3, 459)", data=b"\0" * 8)), "cut short")

    def test_zip_bombs(self, arrays, tmp_path):
        bomb = self.archive(arrays, tmp_path, posedirs=self.npy("(60, 3, 459)", data=b"\0" * 10**8))
        assert bomb.stat().st_size < 10**6
        tracemalloc.reset_peak()
        check(read_smplh_file(bomb), {**arrays, "posedirs": np.zeros((60, 3, 459))})

    def test_unusual_compression(self, arrays, tmp_path):
        file = io.BytesIO(npz_bytes({name: array for name, array in arrays.items() if name != "f"}))
        with zipfile.ZipFile(file, "a", zipfile.ZIP_LZMA) as archive:
            archive.writestr("f.npy", self.npy("(1, 3)", data=b"\0" * 24))
        refused(write(tmp_path / "b.npz", file.getvalue()), "compressed in a way that numpy does not use")

    @pytest.mark.parametrize(
        "stream",
        [
            b"]" * 600_000 + b".",
            b"Nr\xff\xff\xff\x7f0}.",
            b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",
            b"\x80\x04\x8d" + struct.pack("<Q", 10**12) + b"x.",
            b"\x80\x04\x95" + struct.pack("<Q", 10**12) + b"}.",
            b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b"x.",
            b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        ],
        ids=["many lists", "memo", "bytes", "text", "frame", "bytearray", "integer"],
    )
    def test_pickle_operations_that_claim_giant_sizes(self, tmp_path, stream):
        refused(write(tmp_path / "b.pkl", stream), "not a whole pickle|does not belong|more than")

    def test_one_string_behind_many_arrays(self, arrays, tmp_path):
        data = b"\0" * (60 * 3 * 459 * 8)
        big = [np.frombuffer(data).reshape(60, 3, 459) for _ in range(500)]
        stream = SharedPickler.dumps({**arrays, "extra": big}, data)
        assert len(stream) < 4_000_000
        check(read_smplh_file(write(tmp_path / "b.pkl", stream)), arrays)

    def test_pickled_arrays_that_declare_another_length(self, arrays, tmp_path):
        data = pickle.dumps({**arrays, "v_template": np.zeros((60, 3))}, 4)
        grown = data.replace(b"K<K\x03\x86", b"J" + struct.pack("<i", 2**30) + b"K\x03\x86")
        assert grown != data
        refused(write(tmp_path / "b.pkl", grown), "than such a file may hold|not a whole|length that it declares")


class SharedPickler(pickle._Pickler):
    """Pickles arrays over one shared bytes object."""

    @classmethod
    def dumps(cls, content, shared: bytes) -> bytes:
        file = io.BytesIO()
        pickler = cls(file, 4)
        pickler.shared = shared
        pickler.dump(content)
        return file.getvalue()

    def reducer_override(self, value):
        if isinstance(value, np.ndarray) and value.nbytes == len(self.shared) and not value.any():
            function, arguments, state = value.__reduce__()
            return function, arguments, (*state[:-1], self.shared)
        return NotImplemented
