"""What the pipelines share that start from an image."""

from typing import Any

from .images import (
    ResultCounts,
    check_sides,
    image_batch,
    image_size,
    image_sizes,
    is_latent,
    repeat_per_result,
)
from .inputs import check_strength

Size = tuple[int, int]

IMAGE_TO_IMAGE_DOC = """
        Makes images of images.

        Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is diffusers' bit for bit.

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
"""Introduction and arguments of `__call__`, to which a class adds its own and an example."""


def prepare_start(pipeline: Any, call: dict[str, Any]) -> tuple[list[Size], Size]:
    """Checks the image that a call starts from, and puts one for all results or one per result in its place.

    Args:
        pipeline: one that starts from `image`.
        call (`dict`): the arguments of its call by name, perhaps with `height` and `width`.

    Returns:
        `tuple`: width and height of the images, pixels, in a list as long as they are, and those of the results.
    """
    steps = pipeline.with_default("num_inference_steps", call["num_inference_steps"])
    counted = call.get("timesteps") is None and call.get("sigmas") is None
    check_strength(call["strength"], steps if counted else None)
    images = image_batch("image", call["image"])
    latents_given = is_latent(images, pipeline.image_processor)
    height, width = image_size(images, latents_given, pipeline.vae_scale_factor)
    size = (call.get("width") or width, call.get("height") or height)
    if size == (width, height):
        remedy = "as the result has its size; resize or crop it"
        check_sides("image", (height, width), pipeline.vae_scale_factor, remedy)
    elif latents_given:
        raise ValueError(
            f"`height` and `width` must be those of the latents in `image`, {height} and {width}, "
            f"got {size[1]} and {size[0]}."
        )
    images = call["image"] = repeat_per_result("image", images, len(images), ResultCounts.of(call))
    return [(width, height)] * len(images) if latents_given else image_sizes(images), size
