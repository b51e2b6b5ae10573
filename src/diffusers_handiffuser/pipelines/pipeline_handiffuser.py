"""`HanDiffuserPipeline`: from a prompt to an image with the right hands."""

import math
from typing import Any

from diffusers import StableDiffusionPipeline

from ..hands import HandParams
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .inputs import check_scalar, check_size

CALL_DOC_STRING = """
        Makes images.

        With B prompts and n images each, image `i` belongs to prompt `i // n`. Hands are left out, and the result
        is Stable Diffusion's with the same weights bit for bit, if `hand_conditioning_scale` is 0, or if the pipeline
        has no stage 1 and `hand_params` is not given.
"""
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> import torch
            >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign", generator=torch.Generator().manual_seed(0))
            >>> out.images[0].save("peace.png")
            >>> again = pipe("a right hand making a peace sign, green background", hand_params=out.hand_params)
            ```
"""


class HanDiffuserPipeline(HandConditioningMixin, StableDiffusionPipeline):
    """Text to image by way of hands, after HanDiffuser (arXiv 2403.01693), on top of Stable Diffusion.

    Stage 1 samples the parameters of an SMPL-H body for the prompt. Stage 2 is Stable Diffusion whose cross-attention
    sees the caption and the hands: their joint rotations, their meshes and their joints in the image. The denoising
    loop and all that comes after it are `StableDiffusionPipeline`'s, and so are its loaders and switches (LoRA,
    textual inversion, IP-Adapter, FreeU, offloading and so on).

    The arguments of the constructor are described in [`HandConditioningMixin`].
    """

    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        check_size(call["height"], call["width"], math.lcm(8, self.vae_scale_factor))
        check_scalar("guidance_rescale", call["guidance_rescale"])
        return super().draw(call, hands)
