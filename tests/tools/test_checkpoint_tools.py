"""The scripts that the bundled checkpoint is made and looked into with."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from diffusers_handiffuser import MINI, HanDiffuserPipeline
from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.training.engine.images import encode_images, normalize_images
from diffusers_handiffuser.training.text_distillation.trainer import save_student
from diffusers_handiffuser.training.text_distillation.vocabulary import build_tokenizer, save_tokenizer

TOOLS = Path(__file__).parents[2] / "tools"


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.04, 0.24])
def test_redrawn_latents_are_of_their_pictures(tmp_path, monkeypatch, strength):
    """Drawn again for one step of 25 they are nearly the encoder's; for a quarter of the way, others, row by row."""
    make_dataset(tmp_path / "data", 4, progress=False)
    file = tmp_path / "redrawn.safetensors"
    given = ("--model", MINI, "--train_data_dir", tmp_path / "data", "--num", 3, "--batch_size", 2,
             "--strength", strength, strength, "-o", file)  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["redraw_latents.py", *map(str, given)])
    tool("redraw_latents").main()
    (redrawn,) = load_file(file).values()
    assert redrawn.shape == (3, 4, 64, 64) and redrawn.dtype == torch.float16

    dataset = HandDataset(tmp_path / "data")
    images = np.stack([dataset.load_image(row, 128) for row in range(3)])
    with torch.no_grad():
        own = encode_images(AutoencoderKL.from_pretrained(MINI, subfolder="vae"), normalize_images(images))
    distances = (redrawn.float()[:, None] - own).square().mean((-3, -2, -1))  # of each from each
    assert torch.equal(distances.argmin(1), torch.arange(3))
    assert distances.diagonal().max() < 0.1 if strength < 0.1 else distances.diagonal().min() > 0.01


def test_average_of_autoencoders(tmp_path):
    vaes = [AutoencoderKL(block_out_channels=(4,), norm_num_groups=1) for _ in range(3)]
    for number, vae in enumerate(vaes):
        vae.save_pretrained(tmp_path / str(number))
    average = tool("export_mini").average([tmp_path / str(number) for number in range(3)])
    for name, value in average.state_dict().items():
        assert torch.allclose(value, torch.stack([vae.state_dict()[name] for vae in vaes]).mean(0), atol=1e-6), name


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Exports a stage 1 that is the bundled one with another text model, a BERT, and gives the folder."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fist", "hand", "##s"]
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=77, **sizes)
    save_student(BertModel(config), tmp_path / "english/hand_text_encoder")
    save_tokenizer(build_tokenizer(words), tmp_path / "english/hand_tokenizer")

    def run(*options):
        given = ("--stage_1", MINI, "--text_model", tmp_path / "english", "-o", tmp_path / "out", *options)
        monkeypatch.setattr(sys, "argv", ["export_mini.py", *map(str, given)])
        tool("export_mini").main()
        return tmp_path / "out"

    return run


@pytest.mark.skipif(transformers.__version__ < "5", reason="the tool writes the older layouts from the newer ones")
def test_export_of_another_stage_1_leaves_the_rest(export):
    out = export()
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "body_model", "text_to_hand_scheduler"):
        files = [path.relative_to(out) for path in (out / name).iterdir()]
        assert files and {path.name for path in files} == {path.name for path in (Path(MINI) / name).iterdir()}
        assert all((out / file).read_bytes() == (Path(MINI) / file).read_bytes() for file in files), name
    assert (out / "hand_tokenizer/vocab.txt").read_text(encoding="utf-8").splitlines()[-2:] == ["hand", "##s"]
    assert not any((out / "hand_tokenizer" / name).exists() for name in ("vocab.json", "merges.txt"))
    pipe = HanDiffuserPipeline.from_pretrained(out)
    assert type(pipe.hand_text_encoder) is BertModel and pipe.hand_text_encoder.dtype == torch.float32
    assert pipe.hand_tokenizer("a fists").input_ids == [2, 5, 6, 8, 3]


def test_export_refuses_options_of_a_stage_2_that_stays(export, capsys):
    with pytest.raises(SystemExit):
        export("--steps", 20)
    assert "without --stage_2 its parts stay as they are, but --steps was given" in capsys.readouterr().err


def test_the_card_tells_what_was_read_blind():
    cards = TOOLS.parent / "model_cards"
    readings = json.loads((cards / "evaluation/read_blind.json").read_text(encoding="utf-8"))
    first, second = (tool("score_readings").score(reading) for reading in readings["checkpoint"])
    (own,) = (tool("score_readings").score(reading) for reading in readings["data"])
    card = (cards / "handiffuser-mini.md").read_text(encoding="utf-8")
    for name, counts in first.items():
        wanted = f"| {counts.split()[0]} and {second[name]} | {own.get(name, '')}".rstrip()
        assert [line for line in card.splitlines() if line.startswith(f"| {name}") and wanted in line], (name, wanted)


@pytest.mark.slow
def test_loss_by_timestep_knows_a_good_model(tmp_path, monkeypatch, capsys):
    """A trained U-Net errs less than one whose last layer is scaled up, everywhere, and every tenth has its line."""
    make_dataset(tmp_path / "data", 3, progress=False)
    pipe = HanDiffuserPipeline.from_pretrained(MINI)
    with torch.no_grad():
        pipe.unet.conv_out.weight *= 1.5
    pipe.save_pretrained(tmp_path / "worse")
    given = (MINI, tmp_path / "worse", "--data", tmp_path / "data", "--num", 3, "--batch_size", 2)
    monkeypatch.setattr(sys, "argv", ["loss_by_timestep.py", *map(str, given)])
    tool("loss_by_timestep").main()
    printed = capsys.readouterr().out.splitlines()
    lines = [line.strip("| ").split(" | ") for line in printed if line.startswith("|") and line[2].isdigit()]
    assert [line[0] for line in lines] == 2 * [f"{first}-{first + 99}" for first in range(0, 1000, 100)]
    numbers = np.array([line[1:] for line in lines], float).reshape(2, 10, 4)
    assert (np.diff(numbers[:, :, 0]) < 0).all()  # noise grows
    assert (numbers[0, :, 1] < numbers[1, :, 1]).all() and (numbers[0, :, 3] < numbers[1, :, 3]).all()
    assert (numbers[0, :6, 2] > numbers[0, :6, 1]).all()  # hands are what is hard, but not in mere noise
