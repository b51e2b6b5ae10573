"""`HanDiffuserControlNetImg2ImgPipeline`: image to image by way of hands, with ControlNets beside the hands."""

from typing import Any

from diffusers import StableDiffusionControlNetImg2ImgPipeline

from ..hands import HandParams
from .canvas import Canvas
from .component_checks import require
from .controlnets import ControlNetMixin, ControlNets
from .further_component import with_component
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .image_to_image import IMAGE_TO_IMAGE_DOC, prepare_start
from .images import ResultCounts
from .inputs import check_count, check_size

CALL_DOC_STRING = (
    IMAGE_TO_IMAGE_DOC
    + """
            control_image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the condition, such as
                `hand_params.to_condition("depth", image.size)`: one for all, one per prompt or one per result. Where
                there are several ControlNets, a list of one for each, or for each prompt such a list. It shows what
                `image` shows, and is resized to the size of the result like it.
            height, width (`int`, *optional*): of the result; else those of `image`. Where they stretch it, the joints
                of its hands are stretched with it.
"""
)
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from diffusers import ControlNetModel
            >>> from diffusers_handiffuser import MINI, HanDiffuserControlNetImg2ImgPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign")
            >>> # With Stable Diffusion 1.x: a public one. This is new, and halves the condition once, as the bundled
            >>> # checkpoint's VAE halves an image.
            >>> controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
            >>> img2img = HanDiffuserControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnet)
            >>> again = img2img(
            ...     "a right hand making a peace sign, green background",
            ...     image=out.images[0],
            ...     control_image=out.hand_params.to_condition("depth", 128),
            ...     hand_params=out.hand_params,
            ... ).images[0]
            ```
"""


@with_component("controlnet", ControlNets)
class HanDiffuserControlNetImg2ImgPipeline(
    ControlNetMixin, HandConditioningMixin, StableDiffusionControlNetImg2ImgPipeline
):
    """Image to image by way of hands, with one ControlNet or several.

    It is [`HanDiffuserImg2ImgPipeline`] with the ControlNets of [`HanDiffuserControlNetPipeline`], which see the
    caption alone. The pipeline shares its components with [`HanDiffuserPipeline`]:
    `HanDiffuserControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnet)`, or
    `AutoPipelineForImage2Image.from_pipe(pipe, controlnet=controlnet)`. The arguments of the constructor are described
    in [`HandConditioningMixin`], and `controlnet` in `StableDiffusionControlNetImg2ImgPipeline`.
    """

    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        require(self, "an image", "controlnet")
        check_size(call["height"], call["width"], self.vae_scale_factor)
        check_count("num_images_per_prompt", call["num_images_per_prompt"])
        of_each = self.conditions_of_each("control_image", call["control_image"], ResultCounts.of(call))
        sizes, size = prepare_start(self, call)
        canvas = Canvas(size, size)
        call["width"], call["height"] = size
        call["control_image"] = self.conditions_on_canvas(of_each, canvas)
        with self.captions_for_controlnet():
            return self._draw(call, hands, lambda rows: canvas.crops(sizes, len(rows)), sizes)
