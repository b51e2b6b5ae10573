"""`HanDiffuserImg2ImgPipeline`: from an image and a prompt to another image with the right hands."""

from typing import Any

from diffusers import StableDiffusionImg2ImgPipeline

from ..hands import HandParams
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .images import (
    ResultCounts,
    check_sides,
    image_batch,
    image_size,
    image_sizes,
    is_latent,
    repeat_per_result,
    resized_images,
)
from .inputs import check_strength

CALL_DOC_STRING = """
        Makes images of images.

        Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is `StableDiffusionImg2ImgPipeline`'s bit for bit.

        Hands that stage 1 samples follow the prompt and know nothing of `image`; where the image's own hands are to
        stay, give them as `hand_params`, in the camera of `image`. Images of several sizes are resized to that of the
        first, as in diffusers, and the joints of their hands with them.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): to start from: one image, one
                per prompt or one per result. With B prompts, B images and n results each, result `i` is made of
                image and prompt `i // n`, other than in diffusers, which mixes them. Arrays `(H, W, C)` and tensors
                `(C, H, W)` hold numbers in `[0, 1]`; latents are taken too. Its sides, which are the result's, have
                to be divisible by `vae_scale_factor`; diffusers would cut the rest off without a word.
            strength (`float`): from 0 to 1, the part of the steps that is run; 1 all but ignores the image.
"""
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

    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        steps = self.with_default("num_inference_steps", call["num_inference_steps"])
        check_strength(call["strength"], steps if call["timesteps"] is None and call["sigmas"] is None else None)
        images = image_batch("image", call["image"])
        size = image_size(images, is_latent(images, self.image_processor), self.vae_scale_factor)
        check_sides("image", size, self.vae_scale_factor, "as the result has its size; resize or crop it")
        images = call["image"] = repeat_per_result("image", images, len(images), ResultCounts.of(call))
        sizes = image_sizes(images)
        return self._draw(call, hands, lambda rows: resized_images(sizes, sizes[0], len(rows)), sizes)
