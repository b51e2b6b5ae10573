"""`HanDiffuserPipeline`: from a prompt to a picture with the right hands."""

import math
from collections.abc import Callable
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.image_processor import PipelineImageInput

from ..hands import HandParams
from ..utils.typing import replace_example_docstring
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandCallback
from .hand_sampling import Generators
from .inputs import LEGACY_CALLBACKS, check_names, check_number, check_size
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> import torch
            >>> from diffusers_handiffuser import MINI, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> out = pipe("a right hand making a peace sign", generator=torch.Generator().manual_seed(0))
            >>> out.images[0].save("peace.png")
            >>> again = pipe("a right hand making a peace sign, green background", hand_params=out.hand_params)
            ```
"""


class HanDiffuserPipeline(HandConditioningMixin, StableDiffusionPipeline):
    """Text to picture by way of hands, after HanDiffuser (arXiv 2403.01693), on top of Stable Diffusion.

    Stage 1 samples the parameters of an SMPL-H body for the prompt. Stage 2 is Stable Diffusion whose cross-attention
    sees the caption and the hands: their joint rotations, their meshes and their joints in the picture. The denoising
    loop and all that comes after it are `StableDiffusionPipeline`'s, and so are its loaders and switches (LoRA,
    textual inversion, IP-Adapter, FreeU, offloading and so on).

    The arguments of the constructor are described in [`HandConditioningMixin`].
    """

    @one_thread_at_a_time
    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        prompt: str | list[str] | None = None,
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
        ip_adapter_image: PipelineImageInput | None = None,
        ip_adapter_image_embeds: list[torch.Tensor] | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: dict[str, Any] | None = None,
        guidance_rescale: float = 0.0,
        clip_skip: int | None = None,
        callback_on_step_end: Callable | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        hand_params: HandParams | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        hand_generator: Generators = None,
        hand_callback_on_step_end: HandCallback | None = None,
        **kwargs: Any,
    ) -> HanDiffuserPipelineOutput | Any:
        """Makes pictures. Arguments that are not listed here are those of `StableDiffusionPipeline.__call__`.

        With B prompts and n pictures each, picture `i` belongs to prompt `i // n`. Hands are left out, and the result
        is Stable Diffusion's with the same weights bit for bit, if `hand_conditioning_scale` is 0, or if the pipeline
        has no stage 1 and `hand_params` is not given.

        Args:
            prompt (`str` or `list[str]`, *optional*): what to draw; either this or `prompt_embeds`.
            height, width (`int`, *optional*): in pixels; both or neither.
            num_inference_steps (`int`, *optional*): else the checkpoint's default, else 50.
            guidance_scale (`float`, *optional*): else the checkpoint's default, else 7.5.
            num_images_per_prompt (`int`): n; every picture has hands of its own.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one, or one per picture. Stage 1
                draws from a copy of it, so the same generator and the same hands give the same picture again.
            prompt_embeds, negative_prompt_embeds (`torch.Tensor`, *optional*): used as they are; no hands are sampled
                then. `encode_prompt(..., hand_params=)` makes them from text and hands.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands to draw instead of
                sampled ones.
            num_hand_inference_steps (`int`, *optional*): of stage 1; else the checkpoint's default, else 50.
            hand_guidance_scale (`float`, *optional*): of stage 1; else the checkpoint's default, else 2.5.
            hand_conditioning_scale (`float`): strength of the hands in stage 2; 0 leaves them out.
            hand_generator (`torch.Generator` or `list[torch.Generator]`, *optional*): for stage 1, in place of
                `generator`.
            hand_callback_on_step_end (`Callable`, *optional*): after every step of stage 1, see `sample_hand_params`.

        Returns:
            [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
            hand_params)`.

        Examples:
        """
        check_size(height, width, math.lcm(8, self.vae_scale_factor))
        check_number("guidance_rescale", guidance_rescale)
        check_names("keyword argument", kwargs, LEGACY_CALLBACKS)
        arguments, hand_params = self.prepare_call(
            prompt=prompt,
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
            ip_adapter_image=ip_adapter_image,
            ip_adapter_image_embeds=ip_adapter_image_embeds,
            output_type=output_type,
            cross_attention_kwargs=cross_attention_kwargs,
            guidance_rescale=guidance_rescale,
            clip_skip=clip_skip,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            hand_params=hand_params,
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_conditioning_scale=hand_conditioning_scale,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
            **kwargs,
        )
        images, nsfw_content_detected = super().__call__(**arguments)
        output = HanDiffuserPipelineOutput(images, nsfw_content_detected, hand_params)
        return output if return_dict else output.to_tuple()
