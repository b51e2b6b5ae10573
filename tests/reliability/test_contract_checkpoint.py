"""A checkpoint that was stored once loads in every version, with the same keys and the same results."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from diffusers_handiffuser import HanDiffuserPipeline

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "fixtures" / "contract"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
DTYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location(
        "make_contract_checkpoint", ROOT / "tools/make_contract_checkpoint.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def expected():
    return load_file(FOLDER / "expected.safetensors")


def held(module: torch.nn.Module) -> dict[str, str]:
    """What a model holds, as the manifest writes it; transformers names its CLIP in two ways."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    return {
        key.removeprefix("text_model.") if type(module).__module__.startswith("transformers") else key: (
            f"{names[value.dtype]} {list(value.shape)}"
        )
        for key, value in module.state_dict().items()
    }


def test_the_files_are_those_that_were_stored():
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert found == {*MANIFEST["sha256"], "manifest.json"}
    for name, digest in MANIFEST["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
    assert sum((FOLDER / name).stat().st_size for name in found) < 350_000


@pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
def test_it_loads_and_gives_the_same(loader, tool, expected):
    pipe = loader.from_pretrained(FOLDER / "pipeline")
    assert type(pipe) is HanDiffuserPipeline
    for name, value in MANIFEST["classes"].items():
        if isinstance(value, list):
            assert type(getattr(pipe, name)).__name__.removesuffix("Fast") == str(value[1] or "NoneType"), name
        else:
            assert pipe.config[name] == value, name
    for name, tensors in MANIFEST["tensors"].items():
        prefix = "text_model." if name == "hand_text_encoder" else ""
        wanted = {key.removeprefix(prefix): value for key, value in tensors.items()}
        assert held(getattr(pipe, name)) == wanted, name

    found = tool.outputs(pipe, expected)
    assert {*found, *(name for name in expected if name.startswith("given."))} == expected.keys()
    for name, value in found.items():
        assert value.dtype == expected[name].dtype
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}")


def test_what_is_compared_hangs_on_the_weights(expected):
    with_hands, text_alone = expected["picture"], expected["picture_of_text_alone"]
    assert (with_hands - text_alone).abs().max() > 0.01 and (with_hands[0] - with_hands[1]).abs().max() > 0.01
    assert ((with_hands > 0) & (with_hands < 1)).float().mean() > 0.5, "not clipped away"


def test_what_is_saved_today_has_the_same_form(tool, tmp_path):
    """Saved by this version, from the loaded checkpoint: the same classes, keys, shapes, dtypes and numbers."""
    HanDiffuserPipeline.from_pretrained(FOLDER / "pipeline").save_pretrained(tmp_path / "pipeline")
    today = tool.describe(tmp_path)
    assert today["classes"] == today["classes"] | MANIFEST["classes"]
    assert today["tensors"].keys() == MANIFEST["tensors"].keys()
    for name in ("text_encoder", "text_to_hand_params", "body_model"):
        assert today["tensors"][name] == MANIFEST["tensors"][name]
        weights = f"pipeline/{name}/diffusion_pytorch_model.safetensors"
        stored, saved = load_file(FOLDER / weights), load_file(tmp_path / weights)
        assert all(torch.equal(stored[key], saved[key]) for key in stored)


def test_the_tool_does_not_replace_it(tool, tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    assert tool.main(["--folder", str(tmp_path / "kept")]) == 2
    assert "--force" in capsys.readouterr().err and not list((tmp_path / "kept").iterdir())


def test_the_tool_makes_it(tool, tmp_path):
    """Of the same form; random weights of another torch may be others."""
    assert tool.main(["--folder", str(tmp_path / "made")]) == 0
    made = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert made["classes"] == MANIFEST["classes"] and made["tensors"] == MANIFEST["tensors"]
