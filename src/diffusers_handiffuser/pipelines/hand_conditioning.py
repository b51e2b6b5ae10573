"""What hands add to a Stable Diffusion pipeline. It all happens before the denoising loop, which stays diffusers'.

    prompt -> stage 1, a diffusion over `HandParams` -> body model -> joint encoding of text and hands -> prompt_embeds

`HandConditioningMixin` stands before a Stable Diffusion pipeline in the bases of a class, whose `__call__` then passes
the `prompt_embeds` on to the one it inherits.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import scale_lora_layers, unscale_lora_layers
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from ..hands import HandBodyModel, HandParams
from ..hub.loading import check_loaded
from ..models import TextHandEncoder, TextToHandParamsModel
from .component_checks import (
    check_caption_length,
    check_class,
    check_ip_adapter,
    check_one_device,
    check_one_dtype,
    check_stage_1,
    require,
)
from .from_stable_diffusion import FromStableDiffusionMixin
from .hand_encoding import caption_states, cast_to_unet, encode_negative_for, encode_text_and_hands
from .hand_inputs import HandCallback, HandInputs, as_list, check_prompts, negative_texts
from .hand_sampling import Generators, clone_generators, sample_hands
from .inputs import (
    check_arrays,
    check_count,
    check_finite,
    check_generators,
    check_latents,
    check_names,
    check_number,
    check_numbers,
    check_text,
    checked_callback,
    hand_rows,
)
from .lora_loading import LoraLoadingMixin
from .one_thread import one_thread_at_a_time
from .pipeline_loading import PipelineLoadingMixin, accept_component_overrides, check_body
from .saved_defaults import with_default

HAND_COMPONENTS = (
    "hand_tokenizer",
    "hand_text_encoder",
    "text_to_hand_params",
    "text_to_hand_scheduler",
    "body_model",
)

_NUMBERS = (
    "timesteps",
    "sigmas",
    "controlnet_conditioning_scale",
    "control_guidance_start",
    "control_guidance_end",
    "adapter_conditioning_scale",
)
_LATENTS = ("latents", "masked_image_latents")
_ARRAYS = ("ip_adapter_image", "ip_adapter_image_embeds")
"""Arguments of some of the pipelines, whose numbers have to be finite."""

_Class = TypeVar("_Class", bound=type)


class HandConditioningMixin(FromStableDiffusionMixin, PipelineLoadingMixin, LoraLoadingMixin):
    """Samples hands for a prompt and encodes prompt and hands together.

    The constructor is Stable Diffusion's plus the components of stage 1 and the body model, all of which may be
    `None`, and the saved defaults.

    Args:
        text_encoder ([`TextHandEncoder`]): takes the place of Stable Diffusion's text encoder.
        hand_tokenizer (`CLIPTokenizer`, *optional*): of stage 1; its own, as textual inversion changes `tokenizer`.
        hand_text_encoder (`CLIPTextModel` or [`TextHandEncoder`], *optional*): of stage 1, frozen. The second gives
            the same states and follows diffusers' switches, such as its attention backends.
        text_to_hand_params ([`TextToHandParamsModel`], *optional*): the denoiser of stage 1. Without it hands have to
            be given, or the pipeline is plain Stable Diffusion.
        text_to_hand_scheduler (`SchedulerMixin`, *optional*): of stage 1, with `prediction_type="sample"`.
        body_model ([`HandBodyModel`], *optional*): from parameters to geometry; needed whenever hands are drawn.
        default_num_inference_steps (`int`, *optional*): what suits this checkpoint when a call does not say.
        default_guidance_scale (`float`, *optional*): the same for the guidance of the picture.
        default_num_hand_inference_steps (`int`, *optional*): the same for the steps of stage 1.
        default_hand_guidance_scale (`float`, *optional*): the same for the guidance of stage 1.
        body_sha256 (`str`, *optional*): of the licensed body that the checkpoint was made with, which is not stored
            with it; a `body_model` with another one is refused. `save_pretrained` sees to it.
        further_components: those of the pipeline behind in the bases; a class that has any declares them by
            [`with_component`].
    """

    model_cpu_offload_seq = "hand_text_encoder->text_to_hand_params->text_encoder->image_encoder->unet->vae"
    _optional_components = ["safety_checker", "feature_extractor", "image_encoder", *HAND_COMPONENTS]
    # Accelerate's hooks ask a model for its first parameter, and the body has none; it is small.
    _exclude_from_cpu_offload = ["safety_checker", "body_model"]
    _lora_scale = 1.0
    _interrupt = False
    _hands_interrupted = False

    @accept_component_overrides("image_encoder", *HAND_COMPONENTS)
    def __init__(
        self,
        vae: AutoencoderKL | None,
        text_encoder: TextHandEncoder | None,
        tokenizer: CLIPTokenizer | None,
        unet: UNet2DConditionModel | None,
        scheduler: KarrasDiffusionSchedulers | None,
        safety_checker: StableDiffusionSafetyChecker | None,
        feature_extractor: CLIPImageProcessor | None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        hand_tokenizer: CLIPTokenizer | None = None,
        hand_text_encoder: CLIPTextModel | TextHandEncoder | None = None,
        text_to_hand_params: TextToHandParamsModel | None = None,
        text_to_hand_scheduler: KarrasDiffusionSchedulers | None = None,
        body_model: HandBodyModel | None = None,
        requires_safety_checker: bool = True,
        default_num_inference_steps: int | None = None,
        default_guidance_scale: float | None = None,
        default_num_hand_inference_steps: int | None = None,
        default_hand_guidance_scale: float | None = None,
        body_sha256: str | None = None,
        **further_components: Any,
    ):
        check_class("text_encoder", text_encoder, TextHandEncoder, "`TextHandEncoder.from_clip(...)` makes one")
        check_class("text_to_hand_params", text_to_hand_params, TextToHandParamsModel)
        check_class("body_model", body_model, HandBodyModel, "`HandBodyModel.procedural()` makes one")
        if body_model is not None:
            check_body(body_sha256, body_model)
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
            requires_safety_checker=requires_safety_checker,
            **further_components,
        )
        self.register_modules(
            hand_tokenizer=hand_tokenizer,
            hand_text_encoder=hand_text_encoder,
            text_to_hand_params=text_to_hand_params,
            text_to_hand_scheduler=text_to_hand_scheduler,
            body_model=body_model,
        )
        self.register_to_config(
            default_num_inference_steps=default_num_inference_steps,
            default_guidance_scale=None if default_guidance_scale is None else float(default_guidance_scale),
            default_num_hand_inference_steps=default_num_hand_inference_steps,
            default_hand_guidance_scale=(
                None if default_hand_guidance_scale is None else float(default_hand_guidance_scale)
            ),
            body_sha256=body_sha256,
        )
        for name, component in self.components.items():
            if isinstance(component, torch.nn.Module):
                check_loaded(name, component)

    @property
    def dtype(self) -> torch.dtype:
        """That of the U-Net: the body model, first by name, is float32 always."""
        return super().dtype if self.unet is None else self.unet.dtype

    @property
    def interrupt(self) -> bool:
        """Whether the steps still to come are skipped, because a callback of either stage set `_interrupt`."""
        return self._interrupt or self._hands_interrupted

    def with_default(self, name: str, value: Any) -> Any:
        """The value of an argument: the caller's, else the one saved with the checkpoint, else the general one."""
        return with_default(self.config, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Stands between the `__call__` of a pipeline and the one that it inherits, whose latents nobody checks."""
        outputs = super().__call__(*args, **kwargs)
        if isinstance(outputs[0], torch.Tensor):
            check_finite("The picture", outputs[0])
        return outputs

    def run_safety_checker(
        self, image: torch.Tensor | np.ndarray, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor | np.ndarray, list[bool] | None]:
        check_finite("The decoded picture", torch.as_tensor(image))
        return super().run_safety_checker(image, device, dtype)

    @one_thread_at_a_time
    @torch.no_grad()
    def sample_hand_params(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_generator: Generators = None,
        hand_callback_on_step_end: HandCallback | None = None,
    ) -> HandParams:
        """Stage 1 alone: hands for each picture that is to be made of `prompt`.

        In half precision the same seed gives other hands, see docs/features.md.

        Args:
            prompt (`str` or `list[str]`): B prompts. Weights such as `(words:1.3)` are not read, see docs/features.md.
            num_images_per_prompt (`int`): n; row `i` belongs to prompt `i // n`, and every row is sampled anew.
            num_hand_inference_steps (`int`, *optional*): denoising steps; else the checkpoint's, else 50.
            hand_guidance_scale (`float`, *optional*): classifier-free guidance, off at 1 and below; else the
                checkpoint's, else 2.5.
            hand_generator (`torch.Generator` or `list[torch.Generator]`, *optional*): one for all rows, which then
                draw one after another, or one for each. A row does not depend on the rows behind it.
            hand_callback_on_step_end (`Callable`, *optional*): called as `callback(pipe, step, timestep, {"sample":
                ...})` after every step with the standardised sample `(B * n, 327)`; may return a changed one in such a
                `dict`. Setting `pipe._interrupt = True` ends the sampling.

        Returns:
            `HandParams` of batch shape `(B * n,)`, on the CPU.
        """
        hands = HandInputs(
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
        ).with_defaults(self.config)
        check_text("prompt", prompt)
        check_count("num_images_per_prompt", num_images_per_prompt)
        hands.check_rows(len(as_list(prompt)), num_images_per_prompt)
        check_stage_1(self)
        self._interrupt = self._hands_interrupted = False
        hand_params = self._sample_hands(prompt, num_images_per_prompt, hands)
        self.maybe_free_model_hooks()
        return hand_params

    def _sample_hands(self, prompt: str | list[str], num_images_per_prompt: int, hands: HandInputs) -> HandParams:
        """Stage 1 with this pipeline's components, for each image; the callbacks may interrupt it."""

        on_step_end = None
        if hands.hand_callback_on_step_end is not None:
            callback = checked_callback(
                "hand_callback_on_step_end", hands.hand_callback_on_step_end, may_return_none=True
            )

            def on_step_end(step: int, timestep: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
                return (callback(self, step, timestep, {"sample": sample}) or {}).get("sample", sample)

        assert hands.num_hand_inference_steps is not None and hands.hand_guidance_scale is not None
        hand_params = sample_hands(
            [text for text in as_list(prompt) for _ in range(num_images_per_prompt)],
            self.hand_tokenizer,
            self.hand_text_encoder,
            self.text_to_hand_params,
            self.text_to_hand_scheduler,
            hands.num_hand_inference_steps,
            hands.hand_guidance_scale,
            hands.hand_generator,
            self._execution_device,
            on_step_end=on_step_end,
            interrupted=lambda: self.interrupt,
            progress_bar=functools.partial(self.progress_bar, desc="hands"),
        )
        self._hands_interrupted = self._interrupt
        return hand_params

    def prepare_call(
        self,
        *,
        prompt: str | list[str] | None,
        num_inference_steps: int | None,
        guidance_scale: float | None,
        negative_prompt: str | list[str] | None,
        num_images_per_prompt: int,
        eta: float,
        generator: Generators,
        prompt_embeds: torch.Tensor | None,
        negative_prompt_embeds: torch.Tensor | None,
        cross_attention_kwargs: dict[str, Any] | None,
        clip_skip: int | None,
        callback_on_step_end_tensor_inputs: Sequence[str],
        hand_params: HandParams | None,
        num_hand_inference_steps: int | None,
        hand_guidance_scale: float | None,
        hand_conditioning_scale: float,
        hand_generator: Generators,
        hand_callback_on_step_end: HandCallback | None,
        **further: Any,
    ) -> tuple[dict[str, Any], HandParams | None]:
        """From the arguments of a pipeline's `__call__` to those of the `__call__` that it inherits.

        Defaults are filled in, the arguments named here are checked, and text and hands become `prompt_embeds`.

        Args:
            further: what is passed on as it is.

        Returns:
            `tuple`: keyword arguments of the inherited `__call__`, with `return_dict=False`, and the hands, see
            `encode_hand_conditioning`.
        """
        num_inference_steps = self.with_default("num_inference_steps", num_inference_steps)
        guidance_scale = self.with_default("guidance_scale", guidance_scale)
        require(self, "a picture", "unet", "scheduler")
        check_count("num_inference_steps", num_inference_steps)
        check_number("guidance_scale", guidance_scale)
        check_number("eta", eta)
        check_arguments = ((check_numbers, _NUMBERS), (check_latents, _LATENTS), (check_arrays, _ARRAYS))
        for check, names in check_arguments:
            for name in names:
                if further.get(name) is not None:
                    check(name, further[name])
        lora_scale = (cross_attention_kwargs or {}).get("scale")
        if lora_scale is not None:
            check_number("cross_attention_kwargs['scale']", lora_scale)
        check_ip_adapter(self, further.get("ip_adapter_image"), further.get("ip_adapter_image_embeds"))
        # A picture to start from, which comes with a strength, is encoded even where none is decoded.
        uses_vae = further.get("output_type") != "latent" or "strength" in further
        drawing = ("controlnet", "adapter", *(("vae", "safety_checker") if uses_vae else ()))
        encoding = () if prompt is None else ("text_encoder", "body_model")
        check_one_device(self, "unet", *drawing, *encoding)
        check_one_dtype(self, *drawing)
        tensor_inputs = callback_on_step_end_tensor_inputs
        if (callback := further.get("callback_on_step_end")) is not None:
            tensor_inputs = getattr(callback, "tensor_inputs", tensor_inputs)  # of diffusers' own callbacks
            further["callback_on_step_end"] = checked_callback("callback_on_step_end", callback)
        check_names("callback_on_step_end_tensor_inputs", tensor_inputs, self._callback_tensor_inputs)
        self._guidance_scale = guidance_scale

        prompt_embeds, negative_prompt_embeds, hand_params = self.encode_hand_conditioning(
            prompt,
            num_images_per_prompt,
            self.do_classifier_free_guidance,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            lora_scale=lora_scale,
            clip_skip=clip_skip,
            hand_params=hand_params,
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_conditioning_scale=hand_conditioning_scale,
            generator=generator,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
        )
        arguments = {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "eta": eta,
            "generator": generator,
            "prompt_embeds": prompt_embeds,
            "negative_prompt_embeds": negative_prompt_embeds,
            "cross_attention_kwargs": cross_attention_kwargs,
            "clip_skip": clip_skip,
            "callback_on_step_end_tensor_inputs": tensor_inputs,
            "return_dict": False,
        }
        return {**arguments, **further}, hand_params

    def encode_hand_conditioning(
        self,
        prompt: str | list[str] | None,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
        generator: Generators = None,
        **hand_arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, HandParams | None]:
        """Everything before the denoising loop: hands, given or sampled if wanted, and the states of text and hands.

        The arguments are those of `HanDiffuserPipeline.__call__` and `encode_prompt`. All of them are checked before
        anything is computed.

        Returns:
            `tuple`: `prompt_embeds` and `negative_prompt_embeds`, one row per picture, and the `HandParams` they were
            made with, one row per picture on the CPU, or `None`.
        """
        check_count("num_images_per_prompt", num_images_per_prompt)
        hands = HandInputs(**hand_arguments).with_defaults(self.config)
        hand_params = hands.hand_params
        batch_size = check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, hand_params)
        check_generators("generator", generator, batch_size * num_images_per_prompt)
        hands.check_rows(batch_size, num_images_per_prompt)
        self._check_components_for(prompt, hands)
        self._interrupt = self._hands_interrupted = False
        if prompt is None or hands.hand_conditioning_scale == 0:
            hand_params = None
        elif hand_params is not None:
            hand_params = hand_rows(hand_params, batch_size, num_images_per_prompt).to("cpu")
        elif self.text_to_hand_params is not None:
            if hands.hand_generator is None:
                hands = replace(hands, hand_generator=clone_generators(generator))
            hand_params = self._sample_hands(prompt, num_images_per_prompt, hands)
        prompt_embeds, negative_prompt_embeds = self.encode_prompt(
            prompt,
            self._execution_device,
            num_images_per_prompt,
            do_classifier_free_guidance,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            lora_scale=lora_scale,
            clip_skip=clip_skip,
            hand_params=hand_params,
            hand_conditioning_scale=hands.hand_conditioning_scale,
        )
        check_finite("The output of `text_encoder`", prompt_embeds)
        if not do_classifier_free_guidance or negative_prompt_embeds is None:
            return prompt_embeds, None, hand_params
        check_finite("The output of `text_encoder`", negative_prompt_embeds)
        if negative_prompt_embeds.shape != prompt_embeds.shape:
            raise ValueError(
                f"`negative_prompt_embeds` must have shape {tuple(prompt_embeds.shape)} like those of the prompt, "
                f"got {tuple(negative_prompt_embeds.shape)}; `encode_prompt(..., hand_params=)` makes both."
            )
        return prompt_embeds, negative_prompt_embeds, hand_params

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
        hand_params: HandParams | None = None,
        hand_conditioning_scale: float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Cross-attention states of B prompts, alone or with hands, for n pictures each.

        Without hands (`hand_params=None` or `hand_conditioning_scale=0`) this is Stable Diffusion's `encode_prompt`.
        Arguments that are not listed here are Stable Diffusion's. Hands are not sampled here. With hands, the negative
        prompt stands beside learned nulls in the places of the hands.

        Args:
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands for each prompt or each
                picture.
            hand_conditioning_scale (`float`): s; every hand state h of the prompt becomes null + s (h - null), null
                being the learned null in its place.

        Returns:
            `tuple`: `prompt_embeds` and `negative_prompt_embeds` (`None` without guidance), both `(B * n, N, D)`; N is
            165 with hands, [theta, M, caption 77, joints 86], and 77 without.
        """
        check_number("hand_conditioning_scale", hand_conditioning_scale, minimum=0)
        if hand_params is not None and hand_conditioning_scale > 0:
            if prompt_embeds is not None:
                raise ValueError("`hand_params` cannot be given with `prompt_embeds`, which are used as they are.")
            check_text("prompt", prompt)
            assert prompt is not None
            require(self, "conditioning on hands", "body_model")
            check_caption_length(self)
            rows = hand_rows(hand_params, len(as_list(prompt)), num_images_per_prompt).to(device)
            wants_negative = do_classifier_free_guidance and negative_prompt_embeds is None
            negative = negative_texts(prompt, negative_prompt) if wants_negative else None
            with self._lora_scaled(lora_scale):
                prompt_embeds, encoded_negative = encode_text_and_hands(
                    self.maybe_convert_prompt(as_list(prompt), self.tokenizer),
                    negative and self.maybe_convert_prompt(negative, self.tokenizer),
                    rows,
                    self.tokenizer,
                    self.text_encoder,
                    self.body_model,
                    hand_conditioning_scale,
                    clip_skip,
                )
            if negative_prompt_embeds is None:
                negative_prompt_embeds = encoded_negative
            else:
                negative_prompt_embeds = negative_prompt_embeds.repeat_interleave(num_images_per_prompt, 0)
            prompt, num_images_per_prompt, lora_scale = None, 1, None
        elif prompt_embeds is not None and do_classifier_free_guidance and negative_prompt_embeds is None:
            with self._lora_scaled(lora_scale):
                require(self, "a negative prompt", "tokenizer", "text_encoder")
                check_caption_length(self)
                texts = self.maybe_convert_prompt(as_list(negative_prompt or ""), self.tokenizer)
                negative_prompt_embeds = encode_negative_for(
                    prompt_embeds, texts, self.tokenizer, self.text_encoder, device
                )
        if prompt is not None:
            check_caption_length(self)
        prompt_embeds, negative_prompt_embeds = super().encode_prompt(
            prompt,
            device,
            num_images_per_prompt,
            do_classifier_free_guidance,
            negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            lora_scale=lora_scale,
            clip_skip=clip_skip,
        )
        prompt_embeds = cast_to_unet(prompt_embeds, self.unet)
        if negative_prompt_embeds is not None:
            negative_prompt_embeds = cast_to_unet(negative_prompt_embeds, self.unet)
        return prompt_embeds, negative_prompt_embeds

    def caption_states(self, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """The caption's `(B, 77, D)` out of `(B, 165, D)` states of caption and hands; others are returned whole."""
        return prompt_embeds if self.text_encoder is None else caption_states(prompt_embeds, self.text_encoder)

    def _check_components_for(self, prompt: str | list[str] | None, hands: HandInputs) -> None:
        """Refuses a call whose prompt or hands need a component that is missing or unsuitable."""
        if prompt is None:
            return
        require(self, "a prompt", "tokenizer", "text_encoder")
        check_caption_length(self)
        samples = hands.hand_params is None and self.text_to_hand_params is not None
        if hands.hand_conditioning_scale > 0 and (samples or hands.hand_params is not None):
            require(self, "conditioning on hands", "body_model")
            if samples:
                check_stage_1(self)

    @contextlib.contextmanager
    def _lora_scaled(self, lora_scale: float | None) -> Iterator[None]:
        if lora_scale is None:
            yield
            return
        scale_lora_layers(self.text_encoder, lora_scale)
        try:
            yield
        finally:
            unscale_lora_layers(self.text_encoder, lora_scale)

    def progress_bar(self, iterable: Iterable | None = None, total: int | None = None, desc: str = "picture") -> Any:
        """diffusers' progress bar under the stage's name, unless `set_progress_bar_config(desc=...)` gave another."""
        config = getattr(self, "_progress_bar_config", {})
        self._progress_bar_config = {"desc": desc, **config}
        try:
            return super().progress_bar(iterable=iterable, total=total)
        finally:
            self._progress_bar_config = config


def with_component(name: str, annotation: Any) -> Callable[[_Class], _Class]:
    """Decorates a pipeline whose constructor takes one more component, named before the scheduler as in diffusers."""

    def decorate(pipeline_class: _Class) -> _Class:
        signature = inspect.signature(HandConditioningMixin.__init__)
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index("scheduler")
        component = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        signature = signature.replace(parameters=[*parameters[:place], component, *parameters[place:]])

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            HandConditioningMixin.__init__(**signature.bind_partial(self, *args, **kwargs).arguments)

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__annotations__ = {**HandConditioningMixin.__init__.__annotations__, name: annotation}
        pipeline_class.__init__ = __init__  # type: ignore[misc]
        return pipeline_class

    return decorate
