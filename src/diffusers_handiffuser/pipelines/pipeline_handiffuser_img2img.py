"""`HanDiffuserImg2ImgPipeline`: from an image and a prompt to another image with the right hands."""

from typing import Any

from diffusers import StableDiffusionImg2ImgPipeline

from ..hands import HandParams
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .image_to_image import IMAGE_TO_IMAGE_DOC, prepare_start
from .images import resized_images

EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> import torch
            >>> from diffusers_handiffuser import MINI, HanDiffuserImg2ImgPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign", generator=torch.Generator().manual_seed(0))
            >>> img2img = HanDiffuserImg2ImgPipeline.from_pipe(pipe)
            >>> again = img2img(
            ...     "a right hand making a peace sign, green background",
            ...     image=out.images[0],
            ...     strength=0.6,
            ...     hand_params=out.hand_params,
            ... ).images[0]
            ```
"""


class HanDiffuserImg2ImgPipeline(HandConditioningMixin, StableDiffusionImg2ImgPipeline):
    """Image to image by way of hands: Stable Diffusion's image-to-image with HanDiffuser's conditioning.

    It shares its components with [`HanDiffuserPipeline`]: `HanDiffuserImg2ImgPipeline.from_pipe(pipe)`, or
    `AutoPipelineForImage2Image.from_pipe(pipe)`. The arguments of the constructor are described in
    [`HandConditioningMixin`].
    """

    call_doc = IMAGE_TO_IMAGE_DOC + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        sizes, size = prepare_start(self, call)
        return self._draw(call, hands, lambda rows: resized_images(sizes, size, len(rows)), sizes)
