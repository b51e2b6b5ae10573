"""The numbered examples, one after the other in an empty folder: from nothing to a published pipeline that draws."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
HUB_TESTS = ROOT / "tests" / "hub"
sys.path.append(str(HUB_TESTS))

_spec = importlib.util.spec_from_file_location("hub_fixtures", HUB_TESTS / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
hub = _fixtures.hub


def run(example: Path, monkeypatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(example), *options])
    monkeypatch.syspath_prepend(str(example.parent))  # as python does for a script
    runpy.run_path(str(example), run_name="__main__")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.slow
def test_examples_in_their_order(tmp_path, monkeypatch, hub):
    monkeypatch.chdir(tmp_path)
    assert [path.name[:2] for path in EXAMPLES] == ["01", "02", "03", "04", "05"]
    for example in EXAMPLES:
        of_hub = ("--user", "someone") if example.name[:2] in ("04", "05") else ()
        run(example, monkeypatch, *of_hub)

    assert set(hub.repositories) == {"someone/my-handiffuser", "someone/my-handiffuser-lora"}
    files = hub.files("someone/my-handiffuser")
    assert "model_index.json" in files and not any(name.startswith("checkpoint-") for name in files)
    assert "training.hand_params_to_image" in files["README.md"].decode()
    assert Image.open("run/picture.png").size == (64, 64) and Image.open("run/preview.png").height == 256

    # What the LoRA's card says works with what is on the Hub.
    encoder = TextHandEncoder.from_pretrained("someone/my-handiffuser-lora", subfolder="text_encoder")
    pipe = HanDiffuserPipeline.from_stable_diffusion("run/sd", text_encoder=encoder, text_to_hand_params="run/stage_1")
    # The name of the file is asked for only because this process began offline.
    pipe.load_lora_weights("someone/my-handiffuser-lora", weight_name="pytorch_lora_weights.safetensors")
    assert pipe.get_active_adapters()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_says_what_it_is_for(example, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        run(example, monkeypatch, "--help")
    assert end.value.code == 0 and f"{int(example.name[:2])}. " in capsys.readouterr().out
