"""Folders of the package's models: broken weights, configs, indices and links."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hostile import (
    BROKEN_SAFETENSORS,
    MODELS,
    OTHER_FILES,
    WEIGHTS,
    boundaries,
    change_json,
    load_model,
    make_index,
    naming,
    refused,
    wrong_indices,
)
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import (
    HandBodyModel,
)

pytestmark = pytest.mark.usefixtures("canary")


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

    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_indices(self, model_folder, variant):
        name, folder = model_folder
        for shard in wrong_indices(folder, variant):
            with naming(shard):
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
