"""`HanDiffuserInpaintPipeline`: repairs the hands in a given image."""

from diffusers import StableDiffusionInpaintPipeline

from .hand_conditioning import HandConditioningMixin
from .inpainting import INPAINTING_DOC, InpaintHandInputs, InpaintingMixin

CALL_DOC_STRING = (
    INPAINTING_DOC
    + """
            masked_image_latents (`torch.Tensor`, *optional*): latents of the image without what the mask covers; else
                the VAE makes them of `image`. With them, `image` may hold latents, too, and has no pixels to keep.
"""
)
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> import torch
            >>> from diffusers_handiffuser import MINI, HanDiffuserInpaintPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign", generator=torch.Generator().manual_seed(0))
            >>> inpaint = HanDiffuserInpaintPipeline.from_pipe(pipe)
            >>> repaired = inpaint(
            ...     "a right hand making a peace sign", image=out.images[0], hand_params=out.hand_params
            ... ).images[0]
            ```
"""


class HanDiffuserInpaintPipeline(InpaintingMixin, HandConditioningMixin, StableDiffusionInpaintPipeline):
    """Repaints a part of an image, by default its hands, with HanDiffuser's conditioning.

    Both kinds of U-Net work: Stable Diffusion's own with four channels and those for inpainting with nine. The
    pipeline shares its components with [`HanDiffuserPipeline`]: `HanDiffuserInpaintPipeline.from_pipe(pipe)`, or
    `AutoPipelineForInpainting.from_pipe(pipe)`. The arguments of the constructor are described in
    [`HandConditioningMixin`].
    """

    hand_inputs_class = InpaintHandInputs
    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING
