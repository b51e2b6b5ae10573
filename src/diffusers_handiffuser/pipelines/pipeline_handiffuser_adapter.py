"""`HanDiffuserAdapterPipeline`: text to picture by way of hands, with T2I-Adapters beside the hands."""

from collections.abc import Callable
from typing import Any

import PIL.Image
import torch
from diffusers import MultiAdapter, StableDiffusionAdapterPipeline, T2IAdapter
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPVisionModelWithProjection

from ..hands import HandParams
from ..utils.typing import replace_example_docstring
from .component_checks import require
from .hand_conditioning import HandConditioningMixin, with_component
from .hand_inputs import HandCallback
from .hand_sampling import Generators
from .images import num_prompts, spread
from .inputs import check_arrays, check_count, check_size
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

AdapterImage = torch.Tensor | PIL.Image.Image | list[PIL.Image.Image] | list[torch.Tensor]


class _AdapterPipeline(StableDiffusionAdapterPipeline):
    """diffusers' pipeline with the image encoder that its siblings have, so that it can share their components."""

    def __init__(self, image_encoder: CLIPVisionModelWithProjection | None = None, **components: Any):
        super().__init__(**components)
        self.register_modules(image_encoder=image_encoder)


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

    @one_thread_at_a_time
    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: AdapterImage | list[AdapterImage] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        callback: Callable[[int, int, torch.Tensor], None] | None = None,
        callback_steps: int = 1,
        cross_attention_kwargs: dict[str, Any] | None = None,
        adapter_conditioning_scale: float | list[float] = 1.0,
        clip_skip: int | None = None,
        hand_params: HandParams | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        hand_generator: Generators = None,
        hand_callback_on_step_end: HandCallback | None = None,
    ) -> HanDiffuserPipelineOutput | Any:
        """Makes pictures that follow a prompt, hands, and the condition of each adapter.

        Arguments that are not listed here are those of `StableDiffusionAdapterPipeline.__call__`, and those of the
        hands are described in [`HanDiffuserPipeline`]'s `__call__`. Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is that pipeline's.

        Args:
            image (`PIL.Image.Image`, `torch.Tensor` of shape `(C, H, W)` or a list of them): the condition, such as
                `hand_params.to_condition("depth", 512)`: one for all, one per prompt or one per result; with several
                adapters, a list of that for each.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands to draw instead of
                sampled ones.

        Returns:
            [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
            hand_params)`.

        Examples:
        """
        require(self, "a picture", "adapter")
        check_size(height, width, 8)
        check_count("num_images_per_prompt", num_images_per_prompt)
        check_arrays("image", image)
        several = isinstance(self.adapter, MultiAdapter)
        if several and not (isinstance(image, list) and len(image) == len(self.adapter.adapters)):
            raise ValueError(f"`image` must be a list of one for each of the {len(self.adapter.adapters)} adapters.")
        repeats = (prompt, prompt_embeds, num_images_per_prompt)
        several_images = image if several and isinstance(image, list) else [image]
        conditions = [_per_result(condition, *repeats) for condition in several_images]
        arguments, hand_params = self.prepare_call(
            prompt=prompt,
            image=conditions if several else conditions[0],
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            num_images_per_prompt=num_images_per_prompt,
            eta=eta,
            generator=generator,
            latents=latents,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            output_type=output_type,
            callback=callback,
            callback_steps=callback_steps,
            cross_attention_kwargs=cross_attention_kwargs,
            adapter_conditioning_scale=adapter_conditioning_scale,
            clip_skip=clip_skip,
            callback_on_step_end_tensor_inputs=(),
            hand_params=hand_params,
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_conditioning_scale=hand_conditioning_scale,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
        )
        del arguments["callback_on_step_end_tensor_inputs"]  # the one pipeline that has none
        images, nsfw_content_detected = super().__call__(**arguments)
        output = HanDiffuserPipelineOutput(images, nsfw_content_detected, hand_params)
        return output if return_dict else output.to_tuple()


def _per_result(condition: Any, prompt: Any, prompt_embeds: Any, num_images: int) -> list:
    """A condition for each result, as the adapter does not repeat a single one itself."""
    condition = condition if isinstance(condition, list) else list(condition) if _is_batch(condition) else [condition]
    for item in condition:
        if not isinstance(item, (PIL.Image.Image, torch.Tensor)):
            raise TypeError(f"`image` must be PIL pictures or torch tensors, got {type(item).__name__}.")
    condition = spread("image", condition, len(condition), prompt, prompt_embeds, num_images)
    return condition if len(condition) > 1 else condition * (num_prompts(prompt, prompt_embeds) * num_images)


def _is_batch(condition: Any) -> bool:
    return isinstance(condition, torch.Tensor) and condition.ndim == 4
