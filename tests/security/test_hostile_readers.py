"""Readers of hands, bodies and motion: broken and harmful files are refused in one line that names the file."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from hostile import BROKEN_SAFETENSORS, OTHER_FILES, TOUCH, Call, boundaries, change_json, refused
from made_up_body import made_up_body
from safetensors.torch import save_file
from valid_files import READERS, npz_bytes, some_hands

from diffusers_handiffuser import (
    HandParams,
)
from diffusers_handiffuser.hands.smplh_file import read_smplh_file

pytestmark = pytest.mark.usefixtures("canary")

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
