"""`HanDiffuserControlNetPipeline`: text to picture by way of hands, with ControlNets beside the hands."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import ControlNetModel, MultiControlNetModel, StableDiffusionControlNetPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.image_processor import PipelineImageInput
from diffusers.utils.torch_utils import is_compiled_module

from ..hands import HandParams
from ..utils.typing import replace_example_docstring
from .component_checks import require
from .hand_conditioning import HandConditioningMixin, with_component
from .hand_inputs import HandCallback
from .hand_sampling import Generators
from .images import num_prompts, picture_batch, spread
from .inputs import LEGACY_CALLBACKS, check_count, check_names, check_size
from .one_thread import one_thread_at_a_time
from .pipeline_output import HanDiffuserPipelineOutput

EXAMPLE_DOC_STRING = """
        Examples:
            ```py
            >>> from diffusers import ControlNetModel
            >>> from diffusers_handiffuser import MINI, HanDiffuserControlNetPipeline, HanDiffuserPipeline

            >>> pipe = HanDiffuserPipeline.from_pretrained(MINI)
            >>> # With Stable Diffusion 1.x: a public one. This is new, and halves the condition once, as the bundled
            >>> # checkpoint's VAE halves a picture.
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
    caption and hands, the ControlNet the caption. `hand_params.to_condition(...)` draws the hands as pictures for
    public ControlNets.

    The pipeline shares its components with [`HanDiffuserPipeline`]: `HanDiffuserControlNetPipeline.from_pipe(pipe,
    controlnet=controlnet)`, or `AutoPipelineForText2Image.from_pipe(pipe, controlnet=controlnet)`. The arguments of
    the constructor are described in [`HandConditioningMixin`], and `controlnet` in
    `StableDiffusionControlNetPipeline`.
    """

    @one_thread_at_a_time
    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: PipelineImageInput | None = None,
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
        controlnet_conditioning_scale: float | list[float] = 1.0,
        guess_mode: bool = False,
        control_guidance_start: float | list[float] = 0.0,
        control_guidance_end: float | list[float] = 1.0,
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
        """Makes pictures that follow a prompt, hands, and the condition of each ControlNet.

        Arguments that are not listed here are those of `StableDiffusionControlNetPipeline.__call__`, and those of the
        hands are described in [`HanDiffuserPipeline`]'s `__call__`. Without hands (`hand_conditioning_scale=0`, or a
        pipeline without stage 1 and no `hand_params`) the result is that pipeline's bit for bit.

        Args:
            image (`PIL.Image.Image`, `np.ndarray`, `torch.Tensor` or a list of them): the condition, such as
                `hand_params.to_condition("depth", 512)`: one for all, one per prompt or one per result. Where there
                are several ControlNets, a list of one for each, or for each prompt such a list. Hands that stage 1
                samples know nothing of it: sample them first, with `sample_hand_params`.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands to draw instead of
                sampled ones.

        Returns:
            [`HanDiffuserPipelineOutput`], or with `return_dict=False` the tuple `(images, nsfw_content_detected,
            hand_params)`.

        Examples:
        """
        require(self, "a picture", "controlnet")
        check_size(height, width, self.vae_scale_factor)
        check_names("keyword argument", kwargs, LEGACY_CALLBACKS)
        check_count("num_images_per_prompt", num_images_per_prompt)
        image = self._conditions(image, prompt, prompt_embeds, num_images_per_prompt)
        arguments, hand_params = self.prepare_call(
            prompt=prompt,
            image=image,
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
            controlnet_conditioning_scale=controlnet_conditioning_scale,
            guess_mode=guess_mode,
            control_guidance_start=control_guidance_start,
            control_guidance_end=control_guidance_end,
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
        with self._captions_for_controlnet():
            images, nsfw_content_detected = super().__call__(**arguments)
        output = HanDiffuserPipelineOutput(images, nsfw_content_detected, hand_params)
        return output if return_dict else output.to_tuple()

    def _conditions(self, image: Any, prompt: Any, prompt_embeds: Any, num_images: int) -> Any:
        """The conditions as diffusers takes them, with one for each result where there is more than one."""
        controlnet = self.controlnet._orig_mod if is_compiled_module(self.controlnet) else self.controlnet
        if not isinstance(controlnet, MultiControlNetModel):
            rows = list(picture_batch("image", image))
            return spread("image", rows, len(rows), prompt, prompt_embeds, num_images)
        number, of_each = len(controlnet.nets), []
        nested = isinstance(image, list) and any(isinstance(item, list) for item in image)
        for conditions in image if nested else [image]:
            if not isinstance(conditions, list) or len(conditions) != number:
                raise ValueError(
                    f"`image` must be a list of one condition for each of the {number} ControlNets, or a list of such "
                    "lists, one for each prompt."
                )
        for condition in zip(*image, strict=True) if nested else image:
            rows = list(picture_batch("image", condition))
            rows = spread("image", rows, len(rows), prompt, prompt_embeds, num_images)
            of_each.append(rows * (num_prompts(prompt, prompt_embeds) * num_images if len(rows) == 1 else 1))
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
