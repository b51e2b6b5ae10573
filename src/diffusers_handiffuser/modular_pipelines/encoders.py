"""Blocks that sample hands and encode text and hands."""

from typing import Any

import torch
from diffusers import (
    ComponentSpec,
    ConfigSpec,
    InputParam,
    ModularPipelineBlocks,
    OutputParam,
)
from diffusers.schedulers import DDIMScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from ..hands import HandBodyModel, HandParams
from ..models import TextHandEncoder, TextToHandParamsModel
from ..pipelines.hand_sampling import clone_generators
from .modular_pipeline import MODEL_NAME, SAVED_DEFAULTS, HanDiffuserModularPipeline


class HanDiffuserBlock(ModularPipelineBlocks):
    """What the blocks have in common."""

    model_name = MODEL_NAME

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        return SAVED_DEFAULTS


class HanDiffuserSampleHandsStep(HanDiffuserBlock):
    """Stage 1: hands for each picture, unless `hand_params` are given or `hand_conditioning_scale` is 0."""

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
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("hand_params", type_hint=HandParams, description="Hands, one row per picture")]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        if block_state.hand_params is None and block_state.hand_conditioning_scale != 0:
            block_state.hand_params = components.as_pipeline().sample_hand_params(
                block_state.prompt,
                block_state.num_images_per_prompt,
                block_state.num_hand_inference_steps,
                block_state.hand_guidance_scale,
                hand_generator=(
                    clone_generators(block_state.generator)
                    if block_state.hand_generator is None
                    else block_state.hand_generator
                ),
            )
        self.set_block_state(state, block_state)
        return components, state


class HanDiffuserEncodeStep(HanDiffuserBlock):
    """Text and hands to the states that the U-Net attends to."""

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
        drawn = OutputParam("hand_params", type_hint=HandParams, description="Those drawn, one row per picture")
        return [*states, drawn]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        pipeline = components.as_pipeline()
        pipeline.text_to_hand_params = None  # a block does its own part: hands are not sampled here
        encoded = pipeline.encode_hand_conditioning(
            block_state.prompt,
            block_state.num_images_per_prompt,
            do_classifier_free_guidance=True,
            negative_prompt=block_state.negative_prompt,
            clip_skip=block_state.clip_skip,
            hand_params=block_state.hand_params,
            hand_conditioning_scale=block_state.hand_conditioning_scale,
        )
        block_state.prompt_embeds, block_state.negative_prompt_embeds, block_state.hand_params = encoded
        self.set_block_state(state, block_state)
        return components, state
