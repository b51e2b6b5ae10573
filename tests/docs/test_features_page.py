"""Every code block of docs/features.md runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from diffusers_handiffuser import MINI, HanDiffuserPipeline

PAGE = Path(__file__).parents[2] / "docs" / "features.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_blocks():
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"block {number} of {PAGE.name}", "exec"), {})


def test_stage_1_stays_in_float32():
    """Hands are bit for bit those of a pipeline in float32."""
    (block,) = (block for block in BLOCKS if "stage_1 =" in block)
    names: dict = {}
    exec(block, names)
    pipes = {"mixed": names["pipe"], "float32": HanDiffuserPipeline.from_pretrained(MINI)}
    assert pipes["mixed"].unet.dtype == torch.bfloat16
    hands = []
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        hands.append(pipe.sample_hand_params("a fist", hand_generator=generator, num_hand_inference_steps=2))
    for field in ("right_hand_pose", "left_hand_pose", "global_orient"):
        assert torch.equal(getattr(hands[0], field), getattr(hands[1], field))
