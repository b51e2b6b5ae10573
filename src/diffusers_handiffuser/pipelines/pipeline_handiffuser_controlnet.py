"""`HanDiffuserControlNetPipeline`: text to image by way of hands, with ControlNets beside the hands."""

from typing import Any

from diffusers import StableDiffusionControlNetPipeline

from ..hands import HandParams
from .component_checks import require
from .controlnets import ControlNetMixin, ControlNets
from .further_component import with_component
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .images import ResultCounts, image_sizes, resized_images
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


@with_component("controlnet", ControlNets)
class HanDiffuserControlNetPipeline(ControlNetMixin, HandConditioningMixin, StableDiffusionControlNetPipeline):
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
        counts = ResultCounts.of(call)
        of_each = self.conditions_of_each("image", call["image"], counts)
        call["image"] = of_each[0]
        if self.has_several_controlnets:  # a list of one for each ControlNet, result by result
            per_result = [rows * (counts.results if len(rows) == 1 else 1) for rows in of_each]
            call["image"] = [list(conditions) for conditions in zip(*per_result, strict=True)]
        sizes = image_sizes(of_each[0])
        size = (call["width"], call["height"])
        if call["height"] is None:  # diffusers rounds the sides of the first condition down
            factor = self.control_image_processor.config.vae_scale_factor
            size = (sizes[0][0] // factor * factor, sizes[0][1] // factor * factor)
        with self.captions_for_controlnet():
            return self._draw(call, hands, lambda rows: resized_images(sizes, size, len(rows)), sizes)
