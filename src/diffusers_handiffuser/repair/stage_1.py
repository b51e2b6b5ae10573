"""Poses that stage 1 samples for a prompt."""

import functools
from pathlib import Path
from typing import Any

import torch

from ..hands import HandParams
from ..pipelines import HanDiffuserPipeline

_CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "handiffuser-mini"


def sample_hands(pipe: Any, prompt: str | None, number: int, seed: int) -> HandParams:
    """Hands for a prompt, `number` rows; row `i` depends on the prompt, `seed` and `i` alone.

    Args:
        pipe: the pipeline whose stage 1 samples them; of one that has none, the bundled checkpoint's does.
        prompt (`str`): what the hands do.
        number (`int`): of rows.
        seed (`int`): of the first row.

    Raises:
        ValueError: there is no prompt, or no hand is visible in a row.
    """
    if prompt is None:
        raise ValueError("`hands='sample'` needs a `prompt` that says what the hands do.")
    if getattr(pipe, "text_to_hand_params", None) is None:
        pipe = _bundled()
    generators = [torch.Generator().manual_seed(seed + row) for row in range(number)]
    hands: HandParams = pipe.sample_hand_params(prompt, number, hand_generator=generators)
    if not hands.hand_visible.any(-1).all():
        raise ValueError(
            f"stage 1 samples no hand for the prompt {prompt!r}: say what the hand does, or take `hands='fit'`."
        )
    return hands


@functools.cache
def _bundled() -> HanDiffuserPipeline:
    return HanDiffuserPipeline.from_pretrained(_CHECKPOINT)
