"""`HanDiffuserControlNetPipeline`: text to image by way of hands, with ControlNets beside the hands."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import ControlNetModel, MultiControlNetModel, StableDiffusionControlNetPipeline
from diffusers.utils.torch_utils import is_compiled_module

from ..hands import HandParams
from .component_checks import require
from .further_component import with_component
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .images import ResultCounts, image_batch, image_sizes, repeat_per_result, resized_images
from .inputs import check_count, check_size

CALL_DOC_STRING = """
        Makes images that follow a prompt, hands, and the condition of each ControlNet.

        Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is `StableDiffusionControlNetPipeline`'s bit for bit.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the condition, such as
                `hand_params.to_condition("depth", 512)`: one for all, one per prompt or one per result. Where there
                are several ControlNets, a list of one for each, or for each prompt such a list. Hands that stage 1
                samples know nothing of it: sample them first, with `sample_hand_params`. Hands are in the camera of
                the condition (the first, of several): where `height` and `width` stretch it, as in diffusers, their
                joints are stretched with it.
"""
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from diffusers import ControlNetModel
            >>> from diffusers_handiffuser import MINI, HanDiffuserControlNetPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> # With Stable Diffusion 1.x: a public one. This is new, and halves the condition once, as the bundled
            >>> # checkpoint's VAE halves an image.
            >>> controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
            >>> with_depth = HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnet)
            >>> hands = pipe.sample_hand_params("a right hand making a peace sign")
            >>> depth = hands.to_condition("depth", 128)
            >>> image = with_depth("a right hand making a peace sign", image=depth, hand_params=hands).images[0]
            ```
"""


@with_component("controlnet", ControlNetModel | list[ControlNetModel] | tuple[ControlNetModel] | MultiControlNetModel)
class HanDiffuserControlNetPipeline(HandConditioningMixin, StableDiffusionControlNetPipeline):
    """HanDiffuser's text-to-image with one ControlNet or several.

    A ControlNet was trained with the states of captions alone, and that is what it is given here: the U-Net sees
    caption and hands, the ControlNet the caption. `hand_params.to_condition(...)` draws the hands as images for
    public ControlNets.

    The pipeline shares its components with [`HanDiffuserPipeline`]: `HanDiffuserControlNetPipeline.from_pipe(pipe,
    controlnet=controlnet)`, or `AutoPipelineForText2Image.from_pipe(pipe, controlnet=controlnet)`. The arguments of
    the constructor are described in [`HandConditioningMixin`], and `controlnet` in
    `StableDiffusionControlNetPipeline`.
    """

    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        require(self, "an image", "controlnet")
        check_size(call["height"], call["width"], self.vae_scale_factor)
        check_count("num_images_per_prompt", call["num_images_per_prompt"])
        conditions = call["image"] = self._conditions(call["image"], ResultCounts.of(call))
        sizes = image_sizes(condition[0] if isinstance(condition, list) else condition for condition in conditions)
        size = (call["width"], call["height"])
        if call["height"] is None:  # diffusers rounds the sides of the first condition down
            factor = self.control_image_processor.config.vae_scale_factor
            size = (sizes[0][0] // factor * factor, sizes[0][1] // factor * factor)
        with self._captions_for_controlnet():
            return self._draw(call, hands, lambda rows: resized_images(sizes, size, len(rows)), sizes)

    def _conditions(self, image: Any, counts: ResultCounts) -> Any:
        """The conditions as diffusers takes them, with one for each result where there is more than one."""
        controlnet = self.controlnet._orig_mod if is_compiled_module(self.controlnet) else self.controlnet
        if not isinstance(controlnet, MultiControlNetModel):
            rows = list(image_batch("image", image))
            return repeat_per_result("image", rows, len(rows), counts)
        number, of_each = len(controlnet.nets), []
        nested = isinstance(image, list) and any(isinstance(item, list) for item in image)
        for conditions in image if nested else [image]:
            if not isinstance(conditions, list) or len(conditions) != number:
                raise ValueError(
                    f"`image` must be a list of one condition for each of the {number} ControlNets, or a list of such "
                    "lists, one for each prompt."
                )
        for condition in zip(*image, strict=True) if nested else image:
            rows = list(image_batch("image", condition))
            rows = repeat_per_result("image", rows, len(rows), counts)
            of_each.append(rows * (counts.results if len(rows) == 1 else 1))
        return [list(of_one) for of_one in zip(*of_each, strict=True)]

    @contextlib.contextmanager
    def _captions_for_controlnet(self) -> Iterator[None]:
        """Meanwhile the ControlNet is given the caption's states out of those of caption and hands."""
        handle = self.controlnet.register_forward_pre_hook(self._without_hands, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _without_hands(
        self, controlnet: torch.nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        states = self.caption_states(kwargs["encoder_hidden_states"])
        return args, {**kwargs, "encoder_hidden_states": states}
