"""The training page: its commands parse, its arithmetic prints what it says, its memory is that of the models."""

import contextlib
import io
import re
import shlex

import pytest
import torch
from diffusers import UNet2DConditionModel
from pages import DOCS, blocks
from training_memory import training_memory

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training import text_hand_encoder
from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image
from diffusers_handiffuser.training.text_distillation import trainer as text_distillation
from diffusers_handiffuser.training.text_to_hand_params import trainer as text_to_hand_params

PAGE = DOCS / "training.md"
TRAINERS = {
    "text_to_hand_params": text_to_hand_params,
    "hand_params_to_image": hand_params_to_image,
    "text_hand_encoder": text_hand_encoder,
    "text_distillation": text_distillation,
}
COMMANDS = [
    line
    for language, code in blocks(PAGE)
    if language == "bash"
    for line in code.replace("\\\n", " ").splitlines()
    if " -m diffusers_handiffuser.training." in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    words = shlex.split(command.replace("$SD", "sd"))
    place = words.index("-m")
    data = TRAINERS[words[place + 1].rpartition(".")[2]].parse_args([*words[place + 2 :], *needed(words)]).data
    if hasattr(data, "text"):
        assert data.text == ["captions.txt", "english.txt"]
    else:
        assert data.train_data_dir in ("pairs", "pictures", "train")


def needed(words) -> list[str]:
    return ["--max_train_steps", "1"] if "--cache_only" in words else []


def test_there_are_commands_of_all_trainers():
    assert len(COMMANDS) == 7 and all(any(name in command for command in COMMANDS) for name in TRAINERS)


def test_arithmetic_prints_what_stands_below_it():
    (python,) = (code for language, code in blocks(PAGE) if language == "python")
    (text,) = (code for language, code in blocks(PAGE) if language == "text")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(python, {})
    assert printed.getvalue() == text


def test_weights_in_the_memory_table_are_those_of_the_models():
    with torch.device("meta"):
        models = [UNet2DConditionModel(sample_size=64, cross_attention_dim=768), TextHandEncoder()]
    rows = re.findall(
        r"^\| ([^|]+) \| 4 \| \w+ \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", PAGE.read_text(), re.M
    )
    stated = {name: [float(cell) for cell in cells] for name, *cells in rows}
    options: dict[str, dict] = {
        "full": {},
        "full, EMA": {"use_ema": True},
        "full, 8-bit Adam": {"use_8bit_adam": True},
    }
    for name, option in options.items():
        counted = training_memory(models, **option)
        parts = [counted[part] / 2**30 for part in ("weights", "gradients", "optimizer", "average")]
        assert stated[name] == pytest.approx(parts, abs=0.06), name
