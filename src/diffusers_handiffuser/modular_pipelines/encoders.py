"""Blocks that sample hands and encode text and hands."""

import functools
from typing import Any

import torch
from diffusers import (
    ComponentSpec,
    ConfigSpec,
    InputParam,
    ModularPipelineBlocks,
    OutputParam,
    StableDiffusionPipeline,
)
from diffusers.schedulers import DDIMScheduler
from tqdm.auto import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from ..hands import HandBodyModel, HandParams
from ..models import TextHandEncoder, TextToHandParamsModel
from ..pipelines.component_checks import check_caption_length, check_stage_1, require
from ..pipelines.hand_encoding import convert_prompt, encode_text_and_hands
from ..pipelines.hand_inputs import HandInputs, as_list, check_prompts, negative_texts
from ..pipelines.hand_sampling import clone_generators, sample_hands
from ..pipelines.images import drawn_size
from ..pipelines.inputs import check_count, check_finite_tensor, check_size, check_text, hand_rows
from ..pipelines.one_thread import SHARED_STATE_LOCK
from ..pipelines.understanding import warn_if_not_understood
from .modular_pipeline import MODEL_NAME, SAVED_DEFAULTS, HanDiffuserModularPipeline


class HanDiffuserBlock(ModularPipelineBlocks):
    """Base of the blocks: their model name and the saved defaults."""

    model_name = MODEL_NAME

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        return SAVED_DEFAULTS


class HanDiffuserSampleHandsStep(HanDiffuserBlock):
    """Stage 1: hands for each image, unless `hand_params` are given or `hand_conditioning_scale` is 0."""

    _progress_bar_config: dict[str, Any] = {}

    def set_progress_bar_config(self, **config: Any) -> None:
        """Options of `tqdm`, as in diffusers' loop blocks."""
        self._progress_bar_config = config

    @property
    def description(self) -> str:
        return "Samples hands for a prompt (stage 1), unless hands are given"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec("hand_tokenizer", CLIPTokenizer),
            ComponentSpec("hand_text_encoder", CLIPTextModel),
            ComponentSpec("text_to_hand_params", TextToHandParamsModel),
            ComponentSpec("text_to_hand_scheduler", DDIMScheduler),
            ComponentSpec("body_model", HandBodyModel),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("prompt", type_hint=str | list[str], required=True, description="What to draw"),
            InputParam("num_images_per_prompt", type_hint=int, default=1),
            InputParam("hand_params", type_hint=HandParams, description="Hands to draw instead of sampled ones"),
            InputParam("hand_conditioning_scale", type_hint=float, default=1.0),
            InputParam("num_hand_inference_steps", type_hint=int, description="Else the checkpoint's default"),
            InputParam("hand_guidance_scale", type_hint=float, description="Else the checkpoint's default"),
            InputParam(
                "generator", description="For stage 1, which draws from a copy, unless `hand_generator` is given"
            ),
            InputParam("hand_generator"),
            InputParam("framing", type_hint=str, description="close_up, waist_up or full_body; else as sampled"),
            InputParam("height", type_hint=int, description="Of the image to frame for, in pixels; both or neither"),
            InputParam("width", type_hint=int),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("hand_params", type_hint=HandParams, description="Hands, one row per image")]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        prompt, num_images = block_state.prompt, block_state.num_images_per_prompt
        hands = HandInputs(
            hand_params=block_state.hand_params,
            num_hand_inference_steps=block_state.num_hand_inference_steps,
            hand_guidance_scale=block_state.hand_guidance_scale,
            hand_generator=(
                clone_generators(block_state.generator)
                if block_state.hand_generator is None
                else block_state.hand_generator
            ),
            framing=block_state.framing,
        ).with_defaults(components.config)
        if hands.hand_params is None and block_state.hand_conditioning_scale != 0:
            check_text("prompt", prompt)
            check_count("num_images_per_prompt", num_images)
            check_size(block_state.height, block_state.width, 1)
            hands.check_rows(len(as_list(prompt)), num_images)
            check_stage_1(components)
            if hands.framing is not None:
                require(components, "`framing`", "body_model")
            assert hands.num_hand_inference_steps is not None and hands.hand_guidance_scale is not None
            warn_if_not_understood(as_list(prompt), components.hand_tokenizer, components.hand_text_encoder)
            hand_params = sample_hands(
                [text for text in as_list(prompt) for _ in range(num_images)],
                components.hand_tokenizer,
                components.hand_text_encoder,
                components.text_to_hand_params,
                components.text_to_hand_scheduler,
                hands.num_hand_inference_steps,
                hands.hand_guidance_scale,
                hands.hand_generator,
                components._execution_device,
                progress_bar=functools.partial(tqdm, **{"desc": "hands", **self._progress_bar_config}),
            )
            components.text_to_hand_params._reset_stateful_cache()
            size = drawn_size(components, block_state.height, block_state.width)
            block_state.hand_params = hands.framed(hand_params, [size], components.body_model)
        self.set_block_state(state, block_state)
        return components, state


class HanDiffuserEncodeStep(HanDiffuserBlock):
    """Text and hands to cross-attention states."""

    @property
    def description(self) -> str:
        return "Encodes text and hands together"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec("tokenizer", CLIPTokenizer),
            ComponentSpec("text_encoder", TextHandEncoder),
            ComponentSpec("body_model", HandBodyModel),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("prompt", type_hint=str | list[str], required=True, description="What to draw"),
            InputParam("negative_prompt", type_hint=str | list[str]),
            InputParam("num_images_per_prompt", type_hint=int, default=1),
            InputParam("hand_params", type_hint=HandParams, description="Hands to draw; without them, text alone"),
            InputParam("hand_conditioning_scale", type_hint=float, default=1.0),
            InputParam("clip_skip", type_hint=int),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        states = [
            OutputParam(name, type_hint=torch.Tensor, kwargs_type="denoiser_input_fields")
            for name in ("prompt_embeds", "negative_prompt_embeds")
        ]
        drawn = OutputParam("hand_params", type_hint=HandParams, description="Those drawn, one row per image")
        return [*states, drawn]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        prompt, negative_prompt = block_state.prompt, block_state.negative_prompt
        num_images, scale = block_state.num_images_per_prompt, block_state.hand_conditioning_scale
        check_count("num_images_per_prompt", num_images)
        hands = HandInputs(hand_params=block_state.hand_params, hand_conditioning_scale=scale)
        batch_size = check_prompts(prompt, negative_prompt)
        hands.check_rows(batch_size, num_images)
        require(components, "a prompt", "tokenizer", "text_encoder")
        check_caption_length(components)
        device = components._execution_device
        if hands.hand_params is None or scale == 0:
            block_state.hand_params = None
            with SHARED_STATE_LOCK:
                embeds = StableDiffusionPipeline.encode_prompt(
                    components, prompt, device, num_images, True, negative_prompt, clip_skip=block_state.clip_skip
                )
        else:
            require(components, "conditioning on hands", "body_model")
            block_state.hand_params = hand_rows(hands.hand_params, batch_size, num_images).to("cpu")
            embeds = encode_text_and_hands(
                convert_prompt(components, as_list(prompt)),
                convert_prompt(components, negative_texts(prompt, negative_prompt)),
                block_state.hand_params.to(device),
                components.tokenizer,
                components.text_encoder,
                components.body_model,
                scale,
                block_state.clip_skip,
            )
        for states in embeds:
            check_finite_tensor("The output of `text_encoder`", states)
        block_state.prompt_embeds, block_state.negative_prompt_embeds = embeds
        self.set_block_state(state, block_state)
        return components, state
