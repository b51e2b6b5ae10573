"""What hands add to a Stable Diffusion pipeline. It all happens before the denoising loop, which stays diffusers'.

    prompt -> stage 1, a diffusion over `HandParams` -> body model -> joint encoding of text and hands -> prompt_embeds

`HandConditioningMixin` stands before a Stable Diffusion pipeline in the bases of a class, whose `__call__` then passes
the `prompt_embeds` on to the one it inherits.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import logging, scale_lora_layers, unscale_lora_layers
from diffusers.utils.torch_utils import is_compiled_module
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from ..hands import HandBodyModel, HandParams
from ..hub.loading import check_loaded
from ..models import TextHandEncoder, TextToHandParamsModel
from ..models.text_to_hand_params import SAMPLE_SIZE
from ..utils.other_imports import refuse_other_import
from .from_stable_diffusion import FromStableDiffusionMixin
from .hand_sampling import (
    Generators,
    accepts_generator,
    check_sample_prediction,
    clone_generators,
    draw_row_noise,
    encode_text_for_hands,
)
from .inputs import (
    check_arrays,
    check_count,
    check_embeds,
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

logger = logging.get_logger(__name__)

GENERAL_DEFAULTS = {
    "num_inference_steps": 50,
    "guidance_scale": 7.5,
    "num_hand_inference_steps": 50,
    "hand_guidance_scale": 2.5,
}
"""Used where neither the caller nor the checkpoint says anything: Stable Diffusion's for the picture, MDM's for the
hands. The paper states neither."""

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
HandCallback = Callable[[Any, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]


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
        _check_class("text_encoder", text_encoder, TextHandEncoder, "`TextHandEncoder.from_clip(...)` makes one")
        _check_class("text_to_hand_params", text_to_hand_params, TextToHandParamsModel)
        _check_class("body_model", body_model, HandBodyModel, "`HandBodyModel.procedural()` makes one")
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
        if value is None:
            value = self.config[f"default_{name}"]
        return GENERAL_DEFAULTS[name] if value is None else value

    def check_hand_inputs(
        self,
        prompt: str | list[str] | None,
        negative_prompt: str | list[str] | None,
        prompt_embeds: torch.Tensor | None,
        negative_prompt_embeds: torch.Tensor | None,
        hand_params: HandParams | None,
        num_images_per_prompt: int,
        num_hand_inference_steps: int,
        hand_guidance_scale: float,
        hand_conditioning_scale: float,
        generator: Generators,
        hand_generator: Generators,
    ) -> None:
        """Refuses what `encode_hand_conditioning` cannot use, by a `TypeError` or `ValueError` that names it."""
        check_count("num_images_per_prompt", num_images_per_prompt)
        check_count("num_hand_inference_steps", num_hand_inference_steps)
        check_number("hand_guidance_scale", hand_guidance_scale)
        check_number("hand_conditioning_scale", hand_conditioning_scale, minimum=0)
        for name, embeds in (("prompt_embeds", prompt_embeds), ("negative_prompt_embeds", negative_prompt_embeds)):
            if embeds is not None:
                check_embeds(name, embeds)
        for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
            if text is not None:
                check_text(name, text)
        if (prompt is None) == (prompt_embeds is None):
            raise ValueError("Exactly one of `prompt` and `prompt_embeds` must be given.")
        if prompt_embeds is not None and hand_params is not None:
            raise ValueError(
                "`hand_params` cannot be given with `prompt_embeds`, which are used as they are; "
                "`encode_prompt(..., hand_params=)` makes embeddings of text and hands."
            )

        if negative_prompt is not None and negative_prompt_embeds is not None:
            raise ValueError("Only one of `negative_prompt` and `negative_prompt_embeds` can be given.")

        batch_size = _batch_size(prompt, prompt_embeds)
        check_generators("generator", generator, batch_size * num_images_per_prompt)
        check_generators("hand_generator", hand_generator, batch_size * num_images_per_prompt)
        if hand_params is not None:
            hand_rows(hand_params, batch_size, num_images_per_prompt)
        if prompt is not None:
            _negative_texts(prompt, negative_prompt)
            self._require("a prompt", "tokenizer", "text_encoder")
            self._check_caption_length()
        if prompt is not None and hand_conditioning_scale > 0:
            if hand_params is not None:
                self._require("conditioning on hands", "body_model")
            elif self.text_to_hand_params is not None:
                self._require("conditioning on hands", "body_model")
                self._check_stage_1()

    def _check_caption_length(self) -> None:
        """Captions are padded to the tokenizer's length, which its config can say at will."""
        length, most = self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings
        if length > most:
            raise ValueError(
                f"`tokenizer` has `model_max_length` {length}, but `text_encoder` takes {most} tokens; say "
                f"`pipe.tokenizer.model_max_length = {most}` if that is what its captions were cut to"
            )

    def _check_stage_1(self) -> None:
        names = ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params", "text_to_hand_scheduler")
        self._require("sampling hands", *names)
        self._check_one_device("hand_text_encoder", "text_to_hand_params")
        check_sample_prediction(self.text_to_hand_scheduler)

    def _require(self, purpose: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) is None:
                raise ValueError(f"`{name}` is needed for {purpose}, but this pipeline has None in its place.")

    def _check_one_device(self, *names: str) -> None:
        """Refuses models of one call on several devices, unless offloading brings them together."""
        parts = {name: getattr(self, name, None) for name in names}
        devices = {name: part.device for name, part in parts.items() if part is not None and not _is_hooked(part)}
        first = next(iter(devices), "")
        for name, device in devices.items():
            if device != devices[first]:
                raise ValueError(
                    f"`{first}` is on {devices[first]}, but `{name}` on {device}; `pipe.to(...)` moves all components."
                )

    def _check_one_dtype(self, *names: str) -> None:
        """Refuses models that pass tensors on to each other by code of diffusers that does not convert them.

        The text encoders, the denoiser of stage 1 and the body may have a dtype of their own.
        """
        if torch.is_autocast_enabled(self._execution_device.type):
            return
        wanted = self.unet.dtype
        for name in names:
            part = getattr(self, name, None)
            if part is not None and part.dtype != wanted and part.dtype.is_floating_point:
                raise ValueError(
                    f"`unet` is {wanted}, but `{name}` {part.dtype}; `pipe.to(...)` gives them one dtype."
                )

    def _check_ip_adapter(self, image: Any, embeds: Any) -> None:
        """Refuses an IP-Adapter without a picture, and a picture without an IP-Adapter."""
        is_loaded = getattr(self.unet.config, "encoder_hid_dim_type", None) == "ip_image_proj"
        given = "ip_adapter_image" if image is not None else "ip_adapter_image_embeds" if embeds is not None else None
        if given is not None and not is_loaded:
            raise ValueError(f"`{given}` is given, but no IP-Adapter is loaded; `load_ip_adapter` loads one.")
        if given is None and is_loaded:
            raise ValueError(
                "`ip_adapter_image` or `ip_adapter_image_embeds` must be given, as an IP-Adapter is loaded; "
                "`unload_ip_adapter` of a pipeline that loaded it takes it out of the U-Net."
            )
        if image is not None:
            self._require("`ip_adapter_image`", "image_encoder")

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
        steps = self.with_default("num_hand_inference_steps", num_hand_inference_steps)
        guidance_scale = self.with_default("hand_guidance_scale", hand_guidance_scale)
        check_text("prompt", prompt)
        check_count("num_images_per_prompt", num_images_per_prompt)
        check_count("num_hand_inference_steps", steps)
        check_number("hand_guidance_scale", guidance_scale)
        prompts = [text for text in _texts(prompt) for _ in range(num_images_per_prompt)]
        check_generators("hand_generator", hand_generator, len(prompts))
        if hand_callback_on_step_end is not None:
            hand_callback_on_step_end = checked_callback("hand_callback_on_step_end", hand_callback_on_step_end, True)
        self._check_stage_1()
        self._interrupt = self._hands_interrupted = False
        hand_params = self._denoise_hands(prompts, steps, guidance_scale, hand_generator, hand_callback_on_step_end)
        self.maybe_free_model_hooks()
        return hand_params

    def _denoise_hands(
        self,
        prompts: list[str],
        num_inference_steps: int,
        guidance_scale: float,
        generator: Generators,
        callback: HandCallback | None,
    ) -> HandParams:
        """The sampling loop of stage 1, in float32 but for the network; one row per prompt."""
        model, scheduler, device = self.text_to_hand_params, self.text_to_hand_scheduler, self._execution_device
        guided = guidance_scale > 1
        texts = [""] * len(prompts) + prompts if guided else prompts
        distinct = list(dict.fromkeys(texts))
        states, mask = encode_text_for_hands(self.hand_tokenizer, self.hand_text_encoder, distinct, device)
        rows = [distinct.index(text) for text in texts]
        states, mask = states[rows].to(model.dtype), mask[rows]

        try:
            timesteps, _ = retrieve_timesteps(scheduler, num_inference_steps, device)
        except ValueError as error:
            raise ValueError(f"`num_hand_inference_steps` does not suit `text_to_hand_scheduler`: {error}") from None
        sample, step_generators = draw_row_noise(generator, len(prompts), SAMPLE_SIZE, device)
        sample = sample * scheduler.init_noise_sigma
        step_kwargs = {"generator": step_generators} if accepts_generator(scheduler) else {}

        with self.progress_bar(total=len(timesteps), desc="hands") as progress_bar:
            for i, t in enumerate(timesteps):
                if self.interrupt:
                    break
                model_input = scheduler.scale_model_input(sample, t).to(model.dtype)
                model_input = torch.cat([model_input] * 2) if guided else model_input
                with model.cache_context("hands"):
                    clean = model(model_input, t, states, encoder_attention_mask=mask, return_dict=False)[0].float()
                if guided:
                    unconditional, conditional = clean.chunk(2)
                    clean = unconditional + guidance_scale * (conditional - unconditional)
                sample = scheduler.step(clean, t, sample, **step_kwargs, return_dict=False)[0]
                if callback is not None:
                    sample = (callback(self, i, t, {"sample": sample}) or {}).get("sample", sample)
                progress_bar.update()
        self._hands_interrupted = self._interrupt
        check_finite("The sample of `text_to_hand_params`", sample)
        return model.decode(sample).to("cpu")

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
        self._require("a picture", "unet", "scheduler")
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
        self._check_ip_adapter(further.get("ip_adapter_image"), further.get("ip_adapter_image_embeds"))
        # A picture to start from, which comes with a strength, is encoded even where none is decoded.
        uses_vae = further.get("output_type") != "latent" or "strength" in further
        drawing = ("controlnet", "adapter", *(("vae", "safety_checker") if uses_vae else ()))
        encoding = () if prompt is None else ("text_encoder", "body_model")
        self._check_one_device("unet", *drawing, *encoding)
        self._check_one_dtype(*drawing)
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
        hand_params: HandParams | None = None,
        num_hand_inference_steps: int | None = None,
        hand_guidance_scale: float | None = None,
        hand_conditioning_scale: float = 1.0,
        generator: Generators = None,
        hand_generator: Generators = None,
        hand_callback_on_step_end: HandCallback | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, HandParams | None]:
        """Everything before the denoising loop: hands, given or sampled if wanted, and the states of text and hands.

        The arguments are those of `HanDiffuserPipeline.__call__` and `encode_prompt`. All of them are checked before
        anything is computed.

        Returns:
            `tuple`: `prompt_embeds` and `negative_prompt_embeds`, one row per picture, and the `HandParams` they were
            made with, one row per picture on the CPU, or `None`.
        """
        num_hand_inference_steps = self.with_default("num_hand_inference_steps", num_hand_inference_steps)
        hand_guidance_scale = self.with_default("hand_guidance_scale", hand_guidance_scale)
        if hand_callback_on_step_end is not None:
            hand_callback_on_step_end = checked_callback("hand_callback_on_step_end", hand_callback_on_step_end, True)
        self.check_hand_inputs(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            hand_params,
            num_images_per_prompt,
            num_hand_inference_steps,
            hand_guidance_scale,
            hand_conditioning_scale,
            generator,
            hand_generator,
        )
        self._interrupt = self._hands_interrupted = False
        if prompt is None or hand_conditioning_scale == 0:
            hand_params = None
        elif hand_params is not None:
            hand_params = hand_rows(hand_params, _batch_size(prompt), num_images_per_prompt).to("cpu")
        elif self.text_to_hand_params is not None:
            prompts = [text for text in _texts(prompt) for _ in range(num_images_per_prompt)]
            hand_generator = clone_generators(generator) if hand_generator is None else hand_generator
            hand_params = self._denoise_hands(
                prompts, num_hand_inference_steps, hand_guidance_scale, hand_generator, hand_callback_on_step_end
            )
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
            hand_conditioning_scale=hand_conditioning_scale,
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
            rows = hand_rows(hand_params, _batch_size(prompt), num_images_per_prompt).to(device)
            with self._lora_scaled(lora_scale):
                input_ids = self._caption_ids(_texts(prompt), device).repeat_interleave(num_images_per_prompt, 0)
                prompt_embeds = self._encode_with_hands(input_ids, rows, hand_conditioning_scale, clip_skip)
                if do_classifier_free_guidance and negative_prompt_embeds is None:
                    negative_ids = self._caption_ids(_negative_texts(prompt, negative_prompt), device)
                    negative_prompt_embeds = self._encode_with_nulls(negative_ids)
            if negative_prompt_embeds is not None:
                negative_prompt_embeds = negative_prompt_embeds.repeat_interleave(num_images_per_prompt, 0)
            prompt, num_images_per_prompt, lora_scale = None, 1, None
        elif prompt_embeds is not None and do_classifier_free_guidance and negative_prompt_embeds is None:
            with self._lora_scaled(lora_scale):
                negative_prompt_embeds = self._encode_negative_for(prompt_embeds, negative_prompt, device)
        if prompt is not None:
            self._check_caption_length()
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
        if self.unet is not None and self.unet.dtype.is_floating_point:
            prompt_embeds = prompt_embeds.to(self.unet.dtype)
            if negative_prompt_embeds is not None:
                negative_prompt_embeds = negative_prompt_embeds.to(self.unet.dtype)
        return prompt_embeds, negative_prompt_embeds

    def _encode_with_hands(
        self, input_ids: torch.Tensor, hand_params: HandParams, scale: float, clip_skip: int | None
    ) -> torch.Tensor:
        """`(B, 77)` tokens and B rows of hands give `(B, 165, D)` states."""
        self._require("conditioning on hands", "body_model")
        geometry = self.body_model(hand_params)
        for name, value in geometry.items():
            check_finite(f"The geometry of `hand_params` (`{name}`)", value)
        hands = self.text_encoder.prepare_hands(geometry, hand_params.hand_visible)
        output = self.text_encoder(input_ids, **hands, output_hidden_states=clip_skip is not None)
        states = output.last_hidden_state
        if clip_skip is not None:
            states = self.text_encoder.skip_last_layers(output, clip_skip, hand_params.hand_visible)
        if scale == 1:
            return states
        caption, hand_states = _split_states(states, input_ids.shape[1])
        nulls = self.text_encoder.null_hand_states().to(states)
        return _join_states(caption, nulls + scale * (hand_states - nulls))

    def _encode_with_nulls(self, input_ids: torch.Tensor) -> torch.Tensor:
        """`(B, 77)` tokens give `(B, 165, D)` states without a visible hand."""
        caption = self.text_encoder(input_ids).last_hidden_state
        nulls = self.text_encoder.null_hand_states().to(caption)
        return _join_states(caption, nulls.expand(len(caption), -1, -1))

    def _encode_negative_for(
        self, prompt_embeds: torch.Tensor, negative_prompt: str | list[str] | None, device: torch.device
    ) -> torch.Tensor:
        """The negative side of given embeddings, of their shape: text alone, or with nulls in the places of hands."""
        self._require("a negative prompt", "tokenizer", "text_encoder")
        texts = _texts(negative_prompt or "")
        texts = texts * len(prompt_embeds) if len(texts) == 1 else texts
        if len(texts) != len(prompt_embeds):
            raise ValueError(f"`negative_prompt` must hold {len(prompt_embeds)} texts, got {len(texts)}.")
        input_ids = self._caption_ids(texts, device)
        text_length = input_ids.shape[1]
        joint_length = text_length + self.text_encoder.num_hand_states
        if prompt_embeds.shape[1] not in (text_length, joint_length):
            raise ValueError(
                f"`negative_prompt_embeds` must be given with `prompt_embeds` of {prompt_embeds.shape[1]} states; "
                f"they can be made for {text_length} (text) and {joint_length} (text and hands)."
            )
        if prompt_embeds.shape[1] == joint_length:
            return self._encode_with_nulls(input_ids)
        return self.text_encoder(input_ids).last_hidden_state

    def caption_states(self, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """What `(B, 165, D)` states of caption and hands hold of the caption, `(B, 77, D)`; others are returned whole.

        It is what plain CLIP says of the caption, as the hands come after it.
        """
        if self.text_encoder is None:
            return prompt_embeds
        text_length = self.text_encoder.config.max_position_embeddings
        if prompt_embeds.shape[1] != text_length + self.text_encoder.num_hand_states:
            return prompt_embeds
        return _split_states(prompt_embeds, text_length)[0]

    def _caption_ids(self, texts: list[str], device: torch.device) -> torch.Tensor:
        """`(B, 77)` tokens for `text_encoder`; too long a caption is cut with a warning, as in Stable Diffusion."""
        self._check_caption_length()
        texts = self.maybe_convert_prompt(texts, self.tokenizer)
        length = self.tokenizer.model_max_length
        input_ids = self.tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        whole = self.tokenizer(texts).input_ids
        if max(map(len, whole)) > length:
            removed = self.tokenizer.batch_decode([ids[length - 1 : -1] for ids in whole])
            logger.warning(
                "The following part of your input was truncated because CLIP can only handle sequences up to"
                f" {length} tokens: {removed}"
            )
        return input_ids.to(device)

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


def _check_class(name: str, value: Any, wanted: type, hint: str = "") -> None:
    value = value._orig_mod if is_compiled_module(value) else value
    refuse_other_import(name, value, wanted)
    if value is not None and not isinstance(value, wanted):
        hint = f"; {hint}" if hint else ""
        raise TypeError(f"`{name}` must be a {wanted.__name__}, got {type(value).__name__}{hint}.")


def _is_hooked(model: torch.nn.Module) -> bool:
    """Whether hooks of accelerate or diffusers move some of its weights when they are needed."""
    return any(
        hasattr(module, "_hf_hook") or getattr(getattr(module, "_diffusers_hook", None), "hooks", None)
        for module in model.modules()
    )


def _texts(prompt: str | list[str]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else prompt


def _batch_size(prompt: str | list[str] | None, prompt_embeds: torch.Tensor | None = None) -> int:
    if prompt is not None:
        return len(_texts(prompt))
    assert prompt_embeds is not None
    return len(prompt_embeds)


def _negative_texts(prompt: str | list[str], negative_prompt: str | list[str] | None) -> list[str]:
    """One negative text per prompt, by Stable Diffusion's rules: two strings, two lists of one length, or none."""
    if negative_prompt is None:
        return [""] * _batch_size(prompt)
    if type(prompt) is not type(negative_prompt):
        raise TypeError(
            f"`negative_prompt` must be a {type(prompt).__name__} like `prompt`, got {type(negative_prompt).__name__}."
        )
    if len(_texts(negative_prompt)) != _batch_size(prompt):
        raise ValueError(f"`negative_prompt` must hold {_batch_size(prompt)} texts, got {len(negative_prompt)}.")
    return _texts(negative_prompt)


def _split_states(states: torch.Tensor, caption_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[theta, M, caption, joints] as caption `(B, 77, D)` and hands `(B, 88, D)`."""
    theta_mesh, caption, joints = states.split([2, caption_length, states.shape[1] - 2 - caption_length], 1)
    return caption, torch.cat([theta_mesh, joints], 1)


def _join_states(caption: torch.Tensor, hand_states: torch.Tensor) -> torch.Tensor:
    """The inverse of `_split_states`."""
    return torch.cat([hand_states[:, :2], caption, hand_states[:, 2:]], 1)
