# Made by tools/call_stubs.py: the arguments of `__call__` for type checkers and editors.

from collections.abc import Callable
from os import PathLike
from typing import Any

from diffusers import StableDiffusionControlNetInpaintPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from numpy import ndarray
from PIL.Image import Image
from torch import Generator, Tensor

from diffusers_handiffuser.detection.detector import HandDetector
from diffusers_handiffuser.hands.params import HandParams
from diffusers_handiffuser.pipelines.canvas import Canvas
from diffusers_handiffuser.pipelines.controlnets import ControlNetMixin
from diffusers_handiffuser.pipelines.hand_conditioning import HandConditioningMixin
from diffusers_handiffuser.pipelines.hand_inputs import HandInputs
from diffusers_handiffuser.pipelines.inpainting import InpaintingMixin
from diffusers_handiffuser.pipelines.pipeline_output import HanDiffuserPipelineOutput

class HanDiffuserControlNetInpaintPipeline(
    ControlNetMixin, InpaintingMixin, HandConditioningMixin, StableDiffusionControlNetInpaintPipeline
):
    def draw(
        self,
        call: dict[str, Any],
        hands: HandInputs,
    ) -> tuple[Any, list[bool] | None, HandParams | None]: ...
    def check_images(
        self,
        call: dict[str, Any],
        images: list[Image] | ndarray | Tensor,
        hands: HandInputs,
    ) -> None: ...
    def arguments_on_canvas(
        self,
        call: dict[str, Any],
        canvas: Canvas,
    ) -> dict[str, Any]: ...
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        mask_image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        control_image: Image | ndarray | Tensor | list[Image] | list[ndarray] | list[Tensor] | None = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
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
        controlnet_conditioning_scale: float | list[float] = 0.5,
        guess_mode: bool = False,
        control_guidance_start: float | list[float] = 0.0,
        control_guidance_end: float | list[float] = 1.0,
        clip_skip: int | None = None,
        callback_on_step_end: Callable | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] | tuple[str, ...] = ("latents",),
        hand_params: HandParams | str | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        hand_generator: Generator | list[Generator] | None = None,
        hand_callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
        | None = None,
        hand_mask_margin: float = 0.03,
        keep_unmasked: bool = True,
        *,
        framing: str | None = None,
        hand_detector: HandDetector | str | PathLike | None = None,
        **kwargs: Any,
    ) -> HanDiffuserPipelineOutput | Any: ...
