"""Stage 1 in float32, as docs/features.md shows it."""

import torch
from pages import DOCS, blocks

from diffusers_handiffuser import MINI, HanDiffuserPipeline


def test_stage_1_stays_in_float32():
    """Hands are bit for bit those of a pipeline in float32."""
    (block,) = (code for _, code in blocks(DOCS / "features.md") if "stage_1 =" in code)
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
