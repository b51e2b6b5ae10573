"""The training page: its commands parse, its arithmetic prints what it says, its numbers are those of the models."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training import text_hand_encoder
from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image
from diffusers_handiffuser.training.memory import training_memory
from diffusers_handiffuser.training.text_to_hand_params import trainer as text_to_hand_params

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([\w -]+)\n(.*?)^```", PAGE, re.M | re.S)
TRAINERS = {
    "text_to_hand_params": text_to_hand_params,
    "hand_params_to_image": hand_params_to_image,
    "text_hand_encoder": text_hand_encoder,
}
COMMANDS = [
    line
    for language, code in BLOCKS
    if language == "bash"
    for line in code.replace("\\\n", " ").splitlines()
    if " -m diffusers_handiffuser.training." in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command.replace("$SD", "sd"))
    place = words.index("-m")
    args = TRAINERS[words[place + 1].rpartition(".")[2]].parse_args([*words[place + 2 :], *needed(words)])
    assert args.train_data_dir in ("pairs", "pictures", "train")


def needed(words) -> list[str]:
    return ["--max_train_steps", "1"] if "--cache_only" in words else []


def test_there_are_commands_of_all_trainers():
    assert len(COMMANDS) == 6 and all(any(name in command for command in COMMANDS) for name in TRAINERS)


def test_arithmetic_prints_what_stands_below_it():
    python = [code for language, code in BLOCKS if language == "python"]
    text = [code for language, code in BLOCKS if language == "text"]
    assert len(python) == len(text) == 1
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(python[0], {})
    assert printed.getvalue() == text[0]


def test_weights_in_the_memory_table_are_those_of_the_models():
    with torch.device("meta"):
        models = [UNet2DConditionModel(sample_size=64, cross_attention_dim=768), TextHandEncoder()]
    sizes = [sum(p.numel() for p in model.parameters()) / 1e6 for model in models]
    assert f"U-Net {sizes[0]:.1f} M parameters, Text+Hand encoder {sizes[1]:.1f} M" in PAGE
    rows = {"full, EMA": {"use_ema": True}, "full, 8-bit Adam": {"use_8bit_adam": True}, "full": {}}
    for name, options in rows.items():
        counted = training_memory(models, **options)
        cells = " | ".join(f"{counted[part] / 2**30:.1f}" for part in ("weights", "gradients", "optimizer", "average"))
        assert re.search(rf"^\| {re.escape(name)} \| 4 \| \w+ \| {re.escape(cells)} \|", PAGE, re.M), name
    checkpoint = 4 * sum(sizes) * 4 / 1e3
    assert f"with EMA is {checkpoint:.1f} GB" in PAGE


def test_files_that_it_names_exist():
    for name in re.findall(r"`((?:benchmarks|tests|examples)/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists() or "05_generate" in name, name
    for target in re.findall(r"\]\((\.\./[\w/.-]+|[\w.]+\.md)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
