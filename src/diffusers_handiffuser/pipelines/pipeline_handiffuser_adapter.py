"""`HanDiffuserAdapterPipeline`: text to image by way of hands, with T2I-Adapters beside the hands."""

from typing import Any

import PIL.Image
import torch
from diffusers import MultiAdapter, StableDiffusionAdapterPipeline, T2IAdapter
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPVisionModelWithProjection

from ..hands import HandParams
from .component_checks import require
from .further_component import with_component
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandInputs
from .images import ResultCounts, image_sizes, repeat_per_result, resized_images
from .inputs import check_count, check_finite_arrays, check_size

AdapterImage = torch.Tensor | PIL.Image.Image | list[PIL.Image.Image] | list[torch.Tensor]


class _AdapterPipeline(StableDiffusionAdapterPipeline):
    """diffusers' pipeline with the image encoder that its siblings have, so that it can share their components."""

    def __init__(self, image_encoder: CLIPVisionModelWithProjection | None = None, **components: Any):
        super().__init__(**components)
        self.register_modules(image_encoder=image_encoder)


CALL_DOC_STRING = """
        Makes images that follow a prompt, hands, and the condition of each adapter.

        Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is `StableDiffusionAdapterPipeline`'s.

        Args:
            image (`PIL.Image.Image`, `torch.Tensor` of shape `(C, H, W)` or a list of them): the condition, such as
                `hand_params.to_condition("depth", 512)`: one for all, one per prompt or one per result; with several
                adapters, a list of that for each. Hands are in the camera of the condition (the first, of several):
                where `height` and `width` stretch it, as in diffusers, their joints are stretched with it.
"""
EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from diffusers import T2IAdapter
            >>> from diffusers_handiffuser import MINI, HanDiffuserAdapterPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> # With Stable Diffusion 1.x: a public one. This is new, and fits the bundled checkpoint's first block.
            >>> width = pipe.unet.config.block_out_channels[0]
            >>> adapter = T2IAdapter(channels=[width], num_res_blocks=1, downscale_factor=2 * pipe.vae_scale_factor)
            >>> with_depth = HanDiffuserAdapterPipeline.from_pipe(pipe, adapter=adapter)
            >>> hands = pipe.sample_hand_params("a right hand making a peace sign")
            >>> depth = hands.to_condition("depth", 128)
            >>> image = with_depth("a right hand making a peace sign", image=depth, hand_params=hands).images[0]
            ```
"""


@with_component("adapter", T2IAdapter | MultiAdapter | list[T2IAdapter])
class HanDiffuserAdapterPipeline(HandConditioningMixin, TextualInversionLoaderMixin, _AdapterPipeline):
    """HanDiffuser's text-to-image with one T2I-Adapter or several.

    An adapter sees its condition alone, and adds to the U-Net's features whatever states of caption and hands are.
    `hand_params.to_condition(...)` draws the hands as such a condition. The pipeline shares its components with
    [`HanDiffuserPipeline`]: `HanDiffuserAdapterPipeline.from_pipe(pipe, adapter=adapter)`. The arguments of the
    constructor are described in [`HandConditioningMixin`], and `adapter` in `StableDiffusionAdapterPipeline`.

    Adapters were made for U-Nets whose first block has cross-attention, as Stable Diffusion's has; the features of
    others, such as that of the bundled checkpoint, have not the adapters' sizes.
    """

    model_cpu_offload_seq = "hand_text_encoder->text_to_hand_params->text_encoder->image_encoder->adapter->unet->vae"
    _callback_tensor_inputs: list[str] = []

    call_annotations = {"image": AdapterImage | list[AdapterImage] | None}
    call_doc = CALL_DOC_STRING + EXAMPLE_DOC_STRING

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        require(self, "an image", "adapter")
        image = call["image"]
        check_size(call["height"], call["width"], 8)
        check_count("num_images_per_prompt", call["num_images_per_prompt"])
        check_finite_arrays("image", image)
        several = isinstance(self.adapter, MultiAdapter)
        if several and not (isinstance(image, list) and len(image) == len(self.adapter.adapters)):
            raise ValueError(f"`image` must be a list of one for each of the {len(self.adapter.adapters)} adapters.")
        counts = ResultCounts.of(call)
        conditions = [_per_result(condition, counts) for condition in (image if several else [image])]
        call["image"] = conditions if several else conditions[0]
        sizes = image_sizes(conditions[0])
        height, width = self._default_height_width(call["height"], call["width"], conditions[0])
        return self._draw(call, hands, lambda rows: resized_images(sizes, (width, height), len(rows)), sizes)


def _per_result(condition: Any, counts: ResultCounts) -> list:
    """A condition for each result, as the adapter does not repeat a single one itself."""
    condition = condition if isinstance(condition, list) else list(condition) if _is_batch(condition) else [condition]
    for item in condition:
        if not isinstance(item, (PIL.Image.Image, torch.Tensor)):
            raise TypeError(f"`image` must be PIL images or torch tensors, got {type(item).__name__}.")
    condition = repeat_per_result("image", condition, len(condition), counts)
    return condition if len(condition) > 1 else condition * counts.results


def _is_batch(condition: Any) -> bool:
    return isinstance(condition, torch.Tensor) and condition.ndim == 4
