"""What the pipelines return."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers.utils import BaseOutput

from ..hands import HandParams


@dataclass
class HanDiffuserPipelineOutput(BaseOutput):
    """Pictures and the hands in them.

    By number, `out[0]` and `out[1]` mean what they mean in Stable Diffusion's output, also where they are `None`.

    Args:
        images (`list[PIL.Image.Image]`, `np.ndarray` or `torch.Tensor`): as `output_type` says.
        nsfw_content_detected (`list[bool]`, *optional*): for each picture, or `None` without a safety checker.
        hand_params (`HandParams` of batch shape `(number of pictures,)`, *optional*): on the CPU, or `None` if the
            pictures were made without hand conditioning.
    """

    images: list[PIL.Image.Image] | np.ndarray | torch.Tensor
    nsfw_content_detected: list[bool] | None = None
    hand_params: HandParams | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))
