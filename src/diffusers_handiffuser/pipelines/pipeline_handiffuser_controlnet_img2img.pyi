# Made by tools/call_stubs.py: the arguments of `__call__` for type checkers and editors.

from collections.abc import Callable
from typing import Any

from diffusers import StableDiffusionControlNetImg2ImgPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from numpy import ndarray
from PIL.Image import Image
from torch import Generator, Tensor

from diffusers_handiffuser.hands.params import HandParams
from diffusers_handiffuser.pipelines.controlnets import ControlNetMixin
from diffusers_handiffuser.pipelines.hand_conditioning import HandConditioningMixin
from diffusers_handiffuser.pipelines.hand_inputs import HandInputs
from diffusers_handiffuser.pipelines.pipeline_output import HanDiffuserPipelineOutput

class HanDiffuserControlNetImg2ImgPipeline(
    ControlNetMixin, HandConditioningMixin, StableDiffusionControlNetImg2ImgPipeline
):
    def draw(
        self,
        call: dict[str, Any],
        hands: HandInputs,
    ) -> tuple[Any, list[bool] | None, HandParams | None]: ...
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        control_image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        height: int | None = None,
        width: int | None = None,
        strength: float = 0.8,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | list[Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        ip_adapter_image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        ip_adapter_image_embeds: list[Tensor] | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: dict[str, Any] | None = None,
        controlnet_conditioning_scale: float | list[float] = 0.8,
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
        hand_generator: Generator | list[Generator] | None = None,
        hand_callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
        | None = None,
        *,
        framing: str | None = None,
        **kwargs: Any,
    ) -> HanDiffuserPipelineOutput | Any: ...
