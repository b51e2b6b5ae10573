# Made by tools/call_stubs.py: the arguments of `__call__` for type checkers and editors.

from collections.abc import Callable
from typing import Any

from diffusers import StableDiffusionAdapterPipeline
from diffusers.loaders.textual_inversion import TextualInversionLoaderMixin
from PIL.Image import Image
from torch import Generator, Tensor

from diffusers_handiffuser.hands.params import HandParams
from diffusers_handiffuser.pipelines.hand_conditioning import HandConditioningMixin
from diffusers_handiffuser.pipelines.hand_inputs import HandInputs
from diffusers_handiffuser.pipelines.pipeline_output import HanDiffuserPipelineOutput

class HanDiffuserAdapterPipeline(HandConditioningMixin, TextualInversionLoaderMixin, StableDiffusionAdapterPipeline):
    def draw(
        self,
        call: dict[str, Any],
        hands: HandInputs,
    ) -> tuple[Any, list[bool] | None, HandParams | None]: ...
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: Tensor
        | Image
        | list[Image]
        | list[Tensor]
        | list[Tensor | Image | list[Image] | list[Tensor]]
        | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | list[str] | None = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | list[Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
        callback: Callable[[int, int, Tensor], None] | None = None,
        callback_steps: int = 1,
        cross_attention_kwargs: dict[str, Any] | None = None,
        adapter_conditioning_scale: float | list[float] = 1.0,
        clip_skip: int | None = None,
        hand_params: HandParams | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        hand_generator: Generator | list[Generator] | None = None,
        hand_callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
        | None = None,
        *,
        framing: str | None = None,
    ) -> HanDiffuserPipelineOutput | Any: ...
