"""`HanDiffuserImg2ImgPipeline`: from a picture and a prompt to another picture with the right hands."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.image_processor import PipelineImageInput

from ..hands import HandParams
from ..utils.typing import replace_example_docstring
from .hand_conditioning import HandConditioningMixin
from .hand_inputs import HandCallback
from .hand_sampling import Generators
from .images import are_latents, check_sides, picture_batch, picture_size, spread
from .inputs import LEGACY_CALLBACKS, check_names, check_strength
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

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
    """Picture to picture by way of hands: Stable Diffusion's image-to-image with HanDiffuser's conditioning.

    It shares its components with [`HanDiffuserPipeline`]: `HanDiffuserImg2ImgPipeline.from_pipe(pipe)`, or
    `AutoPipelineForImage2Image.from_pipe(pipe)`. The arguments of the constructor are described in
    [`HandConditioningMixin`].
    """

    @one_thread_at_a_time
    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: PipelineImageInput | None = None,
        strength: float = 0.8,
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        ip_adapter_image: PipelineImageInput | None = None,
        ip_adapter_image_embeds: list[torch.Tensor] | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: dict[str, Any] | None = None,
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
        """Makes pictures of pictures.

        Arguments that are not listed here are those of `StableDiffusionImg2ImgPipeline.__call__`, and those of the
        hands are described in [`HanDiffuserPipeline`]'s `__call__`. Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is that pipeline's bit for bit.

        Hands that stage 1 samples follow the prompt and know nothing of `image`; where the picture's own hands are to
        stay, give them as `hand_params`.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): to start from: one picture, one
                per prompt or one per result. With B prompts, B pictures and n results each, result `i` is made of
                picture and prompt `i // n`, other than in diffusers, which mixes them. Arrays `(H, W, C)` and tensors
                `(C, H, W)` hold numbers in `[0, 1]`; latents are taken too. Its sides, which are the result's, have
                to be divisible by `vae_scale_factor`; diffusers would cut the rest off without a word.
            strength (`float`): from 0 to 1, the part of the steps that is run; 1 all but ignores the picture.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands to draw instead of
                sampled ones.

        Returns:
            [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
            hand_params)`.

        Examples:
        """
        num_inference_steps = self.with_default("num_inference_steps", num_inference_steps)
        check_strength(strength, num_inference_steps if timesteps is None and sigmas is None else None)
        check_names("keyword argument", kwargs, LEGACY_CALLBACKS)
        pictures = picture_batch("image", image)
        size = picture_size(pictures, are_latents(pictures, self.image_processor), self.vae_scale_factor)
        check_sides("image", size, self.vae_scale_factor, "as the result has its size; resize or crop it")
        pictures = spread("image", pictures, len(pictures), prompt, prompt_embeds, num_images_per_prompt)

        arguments, hand_params = self.prepare_call(
            prompt=prompt,
            image=pictures,
            strength=strength,
            num_inference_steps=num_inference_steps,
            timesteps=timesteps,
            sigmas=sigmas,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            num_images_per_prompt=num_images_per_prompt,
            eta=eta,
            generator=generator,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            ip_adapter_image=ip_adapter_image,
            ip_adapter_image_embeds=ip_adapter_image_embeds,
            output_type=output_type,
            cross_attention_kwargs=cross_attention_kwargs,
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
