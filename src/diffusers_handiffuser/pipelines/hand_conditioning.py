"""`HandConditioningMixin`: a Stable Diffusion pipeline conditioned on hands.

    prompt -> `sample_hands` -> `encode_text_and_hands` -> prompt_embeds -> the inherited denoising loop

The mixin comes before a Stable Diffusion pipeline in the bases of a class.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import (
    CLIPImageProcessor,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..hands import HandBodyModel, HandParams, ImageCrop
from ..hub.loading import check_loaded
from ..models import TextHandEncoder, TextToHandParamsModel
from ..utils.suggestions import suggests_keywords
from .component_checks import check_class, check_drawing_components, check_stage_1, require
from .composed_call import composed_call
from .from_stable_diffusion import FromStableDiffusionMixin
from .hand_encoding import HandEncodingMixin
from .hand_inputs import HandCallback, HandInputs, as_list, check_conditioning_components, check_prompts
from .hand_sampling import Generators, sample_hands
from .images import drawn_size
from .inputs import (
    check_count,
    check_drawing_inputs,
    check_finite_tensor,
    check_generators,
    check_size,
    check_text,
    checked_callback,
    hand_rows,
)
from .lora_loading import LoraLoadingMixin
from .one_thread import one_thread_at_a_time
from .pipeline_loading import PipelineLoadingMixin, accept_component_overrides, check_body
from .saved_defaults import SavedDefaultsMixin
from .understanding import UnderstandingMixin, warn_if_not_understood

HAND_COMPONENTS = (
    "hand_tokenizer",
    "hand_text_encoder",
    "text_to_hand_params",
    "text_to_hand_scheduler",
    "body_model",
)
HandCrops = Callable[[HandParams], Sequence[ImageCrop]]
"""From hands, one row per image, to how the image that is drawn shows the one that each row's camera is of."""


class HandConditioningMixin(
    HandEncodingMixin,
    UnderstandingMixin,
    SavedDefaultsMixin,
    FromStableDiffusionMixin,
    PipelineLoadingMixin,
    LoraLoadingMixin,
):
    """Samples hands for a prompt and encodes prompt and hands together.

    The constructor is Stable Diffusion's plus the components of stage 1 and the body model, all of which may be
    `None`, and the saved defaults.

    Args:
        text_encoder ([`TextHandEncoder`]): takes the place of Stable Diffusion's text encoder.
        hand_tokenizer (`PreTrainedTokenizerBase`, *optional*): of stage 1; its own, as textual inversion changes
            `tokenizer`. Texts are padded to its `model_max_length`.
        hand_text_encoder (`PreTrainedModel` or [`TextHandEncoder`], *optional*): of stage 1, frozen; any text model
            with `last_hidden_state`. The second gives CLIP's states and follows diffusers' switches, such as its
            attention backends.
        text_to_hand_params ([`TextToHandParamsModel`], *optional*): the denoiser of stage 1. Without it hands have to
            be given, or the pipeline is plain Stable Diffusion.
        text_to_hand_scheduler (`SchedulerMixin`, *optional*): of stage 1, with `prediction_type="sample"`.
        body_model ([`HandBodyModel`], *optional*): from parameters to geometry; needed whenever hands are drawn.
        default_num_inference_steps (`int`, *optional*): what suits this checkpoint when a call does not say.
        default_guidance_scale (`float`, *optional*): the same for the guidance of the image.
        default_num_hand_inference_steps (`int`, *optional*): the same for the steps of stage 1.
        default_hand_guidance_scale (`float`, *optional*): the same for the guidance of stage 1.
        body_sha256 (`str`, *optional*): of the licensed body that the checkpoint was made with, which is not stored
            with it; a `body_model` with another one is refused. `save_pretrained` sees to it.
        image_domain (`str`, *optional*): what the checkpoint draws, as a plural: "photographs", "renderings of hands".
        further_components: those of the pipeline behind in the bases; a class that has any declares them by
            [`with_component`].
    """

    model_cpu_offload_seq = "hand_text_encoder->text_to_hand_params->text_encoder->image_encoder->unet->vae"
    _optional_components = ["safety_checker", "feature_extractor", "image_encoder", *HAND_COMPONENTS]
    # Accelerate's hooks ask a model for its first parameter, and the body has none; it is small.
    _exclude_from_cpu_offload = ["safety_checker", "body_model"]
    hand_inputs_class: ClassVar[type[HandInputs]] = HandInputs
    """Its fields are the arguments that `__call__` has besides the inherited ones."""
    call_doc: ClassVar[str] = ""
    """The docstring of `__call__`: introduction, the arguments that differ from diffusers', and an example."""
    call_annotations: ClassVar[dict[str, Any]] = {}
    """Types of inherited arguments of `__call__` that take more than diffusers says."""

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
        hand_tokenizer: PreTrainedTokenizerBase | None = None,
        hand_text_encoder: PreTrainedModel | TextHandEncoder | None = None,
        text_to_hand_params: TextToHandParamsModel | None = None,
        text_to_hand_scheduler: KarrasDiffusionSchedulers | None = None,
        body_model: HandBodyModel | None = None,
        requires_safety_checker: bool = True,
        default_num_inference_steps: int | None = None,
        default_guidance_scale: float | None = None,
        default_num_hand_inference_steps: int | None = None,
        default_hand_guidance_scale: float | None = None,
        body_sha256: str | None = None,
        image_domain: str | None = None,
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
        if image_domain is not None:
            self.register_to_config(image_domain=image_domain)
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a class `__call__` with all arguments, unless it has or inherits one of its own."""
        super().__init_subclass__(**kwargs)
        if cls.__call__ is HandConditioningMixin.__call__ and (call := composed_call(cls, HandConditioningMixin)):
            cls.__call__ = call  # type: ignore[method-assign]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The inherited call, whose latents and images have to be finite."""
        outputs = super().__call__(*args, **kwargs)
        if isinstance(outputs[0], torch.Tensor):
            check_finite_tensor("The image", outputs[0])
        return outputs

    def run_safety_checker(
        self, image: torch.Tensor | np.ndarray, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor | np.ndarray, list[bool] | None]:
        check_finite_tensor("The decoded image", torch.as_tensor(image))
        return super().run_safety_checker(image, device, dtype)

    @suggests_keywords
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
        *,
        generator: Generators = None,
        framing: str | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> HandParams:
        """Stage 1 alone: hands for each image that is to be made of `prompt`.

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
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): in place of `hand_generator`, that of
                a call: gives the hands that `pipe(prompt, generator=generator)` draws, and is not advanced.
            framing (`str`, *optional*): `"close_up"`, `"waist_up"` or `"full_body"`: what of the people is in the
                image, see `frame_hands`; by default, the camera is sampled with the hands.
            height (`int`, *optional*): of the image to frame for, pixels; by default, its size is the U-Net's own.
            width (`int`, *optional*): the same; both or neither.

        Returns:
            `HandParams` of batch shape `(B * n,)`, on the CPU.
        """
        hands = HandInputs(
            num_hand_inference_steps=num_hand_inference_steps,
            hand_guidance_scale=hand_guidance_scale,
            hand_generator=hand_generator,
            hand_callback_on_step_end=hand_callback_on_step_end,
            framing=framing,
        ).with_defaults(self.config)
        if generator is not None and hand_generator is not None:
            raise ValueError("Only one of `generator` and `hand_generator` can be given.")
        check_text("prompt", prompt)
        check_count("num_images_per_prompt", num_images_per_prompt)
        check_generators("generator", generator, len(as_list(prompt)) * num_images_per_prompt)
        hands.check_rows(len(as_list(prompt)), num_images_per_prompt)
        check_size(height, width, 1)
        check_stage_1(self)
        if framing is not None:
            require(self, "`framing`", "body_model")
        self._interrupt = self._hands_interrupted = False
        sizes = [drawn_size(self, height, width)]
        hand_params = self._sample_hands(prompt, num_images_per_prompt, hands.seeded(generator), sizes)
        self.maybe_free_model_hooks()
        return hand_params

    def _sample_hands(
        self, prompt: str | list[str], num_images_per_prompt: int, hands: HandInputs, sizes: Sequence[tuple[int, int]]
    ) -> HandParams:
        """Stage 1 with this pipeline's components, framed for each image; the callbacks may interrupt it."""
        on_step_end = None
        if hands.hand_callback_on_step_end is not None:
            callback = checked_callback(
                "hand_callback_on_step_end", hands.hand_callback_on_step_end, may_return_none=True
            )

            def on_step_end(step: int, timestep: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
                return (callback(self, step, timestep, {"sample": sample}) or {}).get("sample", sample)

        assert hands.num_hand_inference_steps is not None and hands.hand_guidance_scale is not None
        warn_if_not_understood(as_list(prompt), self.hand_tokenizer, self.hand_text_encoder)
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
        return hands.framed(hand_params, sizes, self.body_model)

    def draw(self, call: dict[str, Any], hands: HandInputs) -> tuple[Any, list[bool] | None, HandParams | None]:
        """The whole of a call: hands, states of text and hands, and diffusers' loop over them.

        A pipeline with arguments of its own overrides this to check and prepare them before, and calls it.

        Args:
            call (`dict`): the arguments of the task by name, without `return_dict`.
            hands (`HandInputs`): those of the hands.

        Returns:
            `tuple`: images, whether they are NSFW, and the hands or `None`.
        """
        return self._draw(call, hands)

    def _draw(
        self,
        call: dict[str, Any],
        hands: HandInputs,
        hand_crops: HandCrops | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[Any, list[bool] | None, HandParams | None]:
        """As `draw`, with the images that the hands are of where they are not those drawn, see `prepare_call`."""
        call, hand_params = self.prepare_call(call, hands, hand_crops, image_sizes=image_sizes)
        images, nsfw_content_detected = HandConditioningMixin.__call__(self, **call)
        return images, nsfw_content_detected, hand_params

    def prepare_call(
        self,
        call: dict[str, Any],
        hands: HandInputs,
        hand_crops: HandCrops | None = None,
        *,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[dict[str, Any], HandParams | None]:
        """From the arguments of a call to those of the inherited `__call__`, whose `prompt_embeds` hold the hands.

        Args:
            call (`dict`): as for `draw`.
            hands (`HandInputs`): as for `draw`.
            hand_crops (`Callable`, *optional*): see `encode_hand_conditioning`.
            image_sizes (`Sequence[tuple[int, int]]`, *optional*): see `encode_hand_conditioning`; else the size drawn.

        Returns:
            `tuple`: keyword arguments with `return_dict=False`, and the hands, see `encode_hand_conditioning`.
        """
        for name in ("num_inference_steps", "guidance_scale"):
            call[name] = self.with_default(name, call[name])
        check_drawing_inputs(call, self._callback_tensor_inputs)
        check_drawing_components(self, call)
        self._guidance_scale = call["guidance_scale"]
        encoded = self.encode_hand_conditioning(
            call.pop("prompt"),
            call.pop("num_images_per_prompt"),
            self.do_classifier_free_guidance,
            call.pop("negative_prompt"),
            call.pop("prompt_embeds"),
            call.pop("negative_prompt_embeds"),
            lora_scale=(call["cross_attention_kwargs"] or {}).get("scale"),
            clip_skip=call["clip_skip"],
            generator=call["generator"],
            hands=hands,
            hand_crops=hand_crops,
            image_sizes=image_sizes or [drawn_size(self, call.get("height"), call.get("width"))],
        )
        call["prompt_embeds"], call["negative_prompt_embeds"], hand_params = encoded
        return {**call, "return_dict": False}, hand_params

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
        hands: HandInputs | None = None,
        *,
        hand_crops: HandCrops | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        **hand_arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, HandParams | None]:
        """Everything before the denoising loop: hands, given or sampled if wanted, and the states of text and hands.

        The arguments are those of `HanDiffuserPipeline.__call__` and `encode_prompt`; those of the hands come by name
        or as `hands`. All of them are checked before anything is computed. `hand_crops` is called with the hands, one
        row per image, and returns an [`ImageCrop`] for each: from the image that the row's camera is of to the one
        that is drawn. Without it, these are the same. `image_sizes` are width and height of the former, for `framing`:
        one for all, or one per row; by default the U-Net's own.

        Returns:
            `tuple`: `prompt_embeds` and `negative_prompt_embeds`, one row per image, and the `HandParams` they were
            made with, one row per image on the CPU, or `None`.
        """
        check_count("num_images_per_prompt", num_images_per_prompt)
        hands = (HandInputs(**hand_arguments) if hands is None else hands).with_defaults(self.config)
        hand_params = hands.hand_params
        batch_size = check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, hand_params)
        check_generators("generator", generator, batch_size * num_images_per_prompt)
        hands.check_rows(batch_size, num_images_per_prompt)
        check_conditioning_components(self, prompt, hands)
        self._interrupt = self._hands_interrupted = False
        if prompt is None or hands.hand_conditioning_scale == 0:
            hand_params = None
        elif hand_params is not None:
            hand_params = hand_rows(hand_params, batch_size, num_images_per_prompt).to("cpu")
        elif self.text_to_hand_params is not None:
            sizes = image_sizes or [drawn_size(self, None, None)]
            hand_params = self._sample_hands(prompt, num_images_per_prompt, hands.seeded(generator), sizes)
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
            hand_crops=None if hand_params is None or hand_crops is None else hand_crops(hand_params),
        )
        check_finite_tensor("The output of `text_encoder`", prompt_embeds)
        if not do_classifier_free_guidance or negative_prompt_embeds is None:
            return prompt_embeds, None, hand_params
        check_finite_tensor("The output of `text_encoder`", negative_prompt_embeds)
        if negative_prompt_embeds.shape != prompt_embeds.shape:
            raise ValueError(
                f"`negative_prompt_embeds` must have shape {tuple(prompt_embeds.shape)} like those of the prompt, "
                f"got {tuple(negative_prompt_embeds.shape)}; `encode_prompt(..., hand_params=)` makes both."
            )
        return prompt_embeds, negative_prompt_embeds, hand_params

    def progress_bar(self, iterable: Iterable | None = None, total: int | None = None, desc: str = "image") -> Any:
        """A progress bar with the stage's name, unless `set_progress_bar_config(desc=...)` gave another."""
        config = getattr(self, "_progress_bar_config", {})
        self._progress_bar_config = {"desc": desc, **config}
        try:
            return super().progress_bar(iterable=iterable, total=total)
        finally:
            self._progress_bar_config = config
