"""What the pipelines return.

To a type checker it is `HanDiffuserPipelineOutput | Any`, and its `images` are `list[PIL.Image.Image] | Any`: whoever
asks for a tuple, an array or a tensor knows, and nobody else has to tell them apart.
"""

from dataclasses import dataclass, fields
from typing import Any

import PIL.Image
from diffusers.utils import BaseOutput

from ..hands import HandParams


@dataclass
class HanDiffuserPipelineOutput(BaseOutput):
    """Images and the hands in them.

    By number, `out[0]` and `out[1]` mean what they mean in Stable Diffusion's output, also where they are `None`.

    Args:
        images (`list[PIL.Image.Image]`, `np.ndarray` or `torch.Tensor`): as `output_type` says.
        nsfw_content_detected (`list[bool]`, *optional*): for each image, or `None` without a safety checker.
        hand_params (`HandParams` of batch shape `(number of images,)`, *optional*): on the CPU, or `None` if the
            images were made without hand conditioning.
    """

    images: list[PIL.Image.Image] | Any
    nsfw_content_detected: list[bool] | None = None
    hand_params: HandParams | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))
