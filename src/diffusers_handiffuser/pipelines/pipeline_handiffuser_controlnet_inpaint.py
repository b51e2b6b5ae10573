"""`HanDiffuserControlNetInpaintPipeline`: repairs the hands in a given image, with ControlNets beside the hands."""

import math
from typing import Any

import PIL.Image
from diffusers import StableDiffusionControlNetInpaintPipeline

from ..hands import HandParams
from .canvas import Canvas
from .component_checks import require
from .controlnets import ControlNetMixin, ControlNets
from .further_component import with_component
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .images import Images, ResultCounts, image_sizes, is_latent
from .inpainting import INPAINTING_DOC, InpaintHandInputs, InpaintingMixin

CALL_DOC_STRING = (
    INPAINTING_DOC
    + """
            control_image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the condition, such as
                `hand_params.to_condition("depth", image.size)`: one for all, one per prompt or one per result. Where
                there are several ControlNets, a list of one for each, or for each prompt such a list. It shows what
                `image` shows, and becomes what is drawn as `image` does: resized, stretched, padded. With
                `padding_mask_crop`, which works with one ControlNet, it has to be a PIL image of the size of `image`.
"""
)
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from diffusers import ControlNetModel
            >>> from diffusers_handiffuser import MINI, HanDiffuserControlNetInpaintPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign")
            >>> # With Stable Diffusion 1.x: a public one. This is new, and halves the condition once, as the bundled
            >>> # checkpoint's VAE halves an image.
            >>> controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
            >>> inpaint = HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnet)
            >>> repaired = inpaint(
            ...     "a right hand making a peace sign",
            ...     image=out.images[0],
            ...     control_image=out.hand_params.to_condition("depth", 128),
            ...     hand_params=out.hand_params,
            ... ).images[0]
            ```
"""


@with_component("controlnet", ControlNets)
class HanDiffuserControlNetInpaintPipeline(
    ControlNetMixin, InpaintingMixin, HandConditioningMixin, StableDiffusionControlNetInpaintPipeline
):
    """Repaints a part of an image, by default its hands, with HanDiffuser's conditioning and ControlNets.

    It is [`HanDiffuserInpaintPipeline`] with the ControlNets of [`HanDiffuserControlNetPipeline`], which see the
    caption alone. The pipeline shares its components with [`HanDiffuserPipeline`]:
    `HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnet)`, or
    `AutoPipelineForInpainting.from_pipe(pipe, controlnet=controlnet)`. The arguments of the constructor are described
    in [`HandConditioningMixin`], and `controlnet` in `StableDiffusionControlNetInpaintPipeline`.
    """

    hand_inputs_class = InpaintHandInputs
    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    @property
    def side_multiple(self) -> int:
        """As diffusers' pipeline wants it, whatever the VAE."""
        return math.lcm(8, self.vae_scale_factor)

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        require(self, "an image", "controlnet")
        with self.captions_for_controlnet():
            return super().draw(call, hands)

    def check_images(self, call: dict[str, Any], images: Images, hands: HandInputs) -> None:
        if is_latent(images, self.image_processor):
            raise ValueError("`image` must hold pixels, not latents, which diffusers does not take with a ControlNet.")
        if call["padding_mask_crop"] is not None:
            self._check_condition_to_crop(call["control_image"])
        of_each = self.conditions_of_each("control_image", call["control_image"], ResultCounts.of(call))
        (size,) = set(image_sizes(of_each[0][:1]))
        if call["padding_mask_crop"] is not None and size != image_sizes(images)[0]:
            raise ValueError(
                "`padding_mask_crop` crops `control_image` like `image`: both must have one size, got "
                f"{' and '.join('{} x {}'.format(*found) for found in (size, *image_sizes(images)))} pixels."
            )
        call["control_image"] = of_each

    def _check_condition_to_crop(self, condition: Any) -> None:
        """Refuses what diffusers would refuse, but after the hands are sampled."""
        if self.has_several_controlnets:
            raise ValueError(
                f"`padding_mask_crop` works with one ControlNet, but this pipeline has {len(self.controlnet.nets)}."
            )
        if not isinstance(condition, PIL.Image.Image):
            raise ValueError(
                f"`padding_mask_crop` takes one PIL image as `control_image`, got {type(condition).__name__}."
            )

    def arguments_on_canvas(self, call: dict[str, Any], canvas: Canvas) -> dict[str, Any]:
        of_each = call["control_image"]
        cropped = canvas.region is not None  # by diffusers, which takes one PIL image then
        return {"control_image": of_each[0][0] if cropped else self.conditions_on_canvas(of_each, canvas)}
