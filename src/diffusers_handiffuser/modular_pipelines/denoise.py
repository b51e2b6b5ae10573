"""Blocks that denoise latents."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ClassifierFreeGuidance,
    ComponentSpec,
    InputParam,
    OutputParam,
    UNet2DConditionModel,
)
from diffusers.configuration_utils import FrozenDict
from diffusers.modular_pipelines.modular_pipeline import LoopSequentialPipelineBlocks
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps
from diffusers.schedulers import DPMSolverMultistepScheduler
from diffusers.utils.torch_utils import randn_tensor

from ..pipelines.hand_encoding import cast_to_unet
from ..pipelines.images import vae_factor
from ..pipelines.inputs import (
    check_count,
    check_finite_numbers,
    check_generators,
    check_latents,
    check_scalar,
    check_size,
)
from ..pipelines.pipeline_handiffuser import HanDiffuserPipeline
from ..pipelines.saved_defaults import GENERAL_DEFAULTS, with_default
from .encoders import HanDiffuserBlock
from .modular_pipeline import MODEL_NAME, HanDiffuserModularPipeline


class HanDiffuserPrepareLatentsStep(HanDiffuserBlock):
    """Timesteps and the noise to start from."""

    @property
    def description(self) -> str:
        return "Sets the timesteps and draws the latents to start from"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec("scheduler", DPMSolverMultistepScheduler),
            ComponentSpec("unet", UNet2DConditionModel),
            ComponentSpec("vae", AutoencoderKL),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("prompt_embeds", type_hint=torch.Tensor, required=True),
            InputParam("height", type_hint=int, description="In pixels; both or neither"),
            InputParam("width", type_hint=int),
            InputParam("num_inference_steps", type_hint=int, description="Else the checkpoint's default"),
            InputParam("timesteps", type_hint=list[int]),
            InputParam("sigmas", type_hint=list[float]),
            InputParam("generator"),
            InputParam("latents", type_hint=torch.Tensor),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("timesteps", type_hint=torch.Tensor),
            OutputParam("num_inference_steps", type_hint=int),
            OutputParam("latents", type_hint=torch.Tensor),
        ]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        scheduler, unet = components.scheduler, components.unet
        embeds = cast_to_unet(block_state.prompt_embeds, unet)
        factor = vae_factor(components.vae)
        steps = with_default(components.config, "num_inference_steps", block_state.num_inference_steps)
        check_count("num_inference_steps", steps)
        check_size(block_state.height, block_state.width, factor)
        check_generators("generator", block_state.generator, len(embeds))
        for name in ("timesteps", "sigmas"):
            if getattr(block_state, name) is not None:
                check_finite_numbers(name, getattr(block_state, name))
        if block_state.latents is not None:
            check_latents("latents", block_state.latents)
        block_state.timesteps, block_state.num_inference_steps = retrieve_timesteps(
            scheduler, steps, embeds.device, block_state.timesteps, block_state.sigmas
        )
        if block_state.latents is None:
            size = unet.config.sample_size
            height, width = (size, size) if isinstance(size, int) else size
            if block_state.height is not None:
                height, width = block_state.height // factor, block_state.width // factor
            shape = (len(embeds), unet.config.in_channels, height, width)
            latents = randn_tensor(shape, block_state.generator, embeds.device, embeds.dtype)
        else:
            latents = block_state.latents.to(embeds.device)
        block_state.latents = latents * scheduler.init_noise_sigma
        self.set_block_state(state, block_state)
        return components, state


class HanDiffuserPredictNoiseStep(HanDiffuserBlock):
    """In the loop: the guided prediction of the U-Net."""

    @property
    def description(self) -> str:
        return "Inside the denoising loop: the U-Net's prediction, combined by the guider"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec(
                "guider",
                ClassifierFreeGuidance,
                config=FrozenDict({"guidance_scale": GENERAL_DEFAULTS["guidance_scale"]}),
                default_creation_method="from_config",
            ),
            ComponentSpec("unet", UNet2DConditionModel),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("latents", type_hint=torch.Tensor, required=True),
            InputParam("num_inference_steps", type_hint=int, required=True),
            InputParam("cross_attention_kwargs", type_hint=dict),
            InputParam(kwargs_type="denoiser_input_fields", description="The states of text and hands"),
        ]

    @torch.no_grad()
    def __call__(
        self, components: HanDiffuserModularPipeline, block_state: Any, i: int, t: torch.Tensor
    ) -> tuple[HanDiffuserModularPipeline, Any]:
        guider, unet = components.guider, components.unet
        guider.set_state(step=i, num_inference_steps=block_state.num_inference_steps, timestep=t)
        batches = guider.prepare_inputs(
            {"encoder_hidden_states": (block_state.prompt_embeds, block_state.negative_prompt_embeds)}
        )
        latents = components.scheduler.scale_model_input(block_state.latents, t)
        for batch in batches:
            guider.prepare_models(unet)
            batch.noise_pred = unet(
                latents,
                t,
                encoder_hidden_states=cast_to_unet(batch.encoder_hidden_states, unet),
                cross_attention_kwargs=block_state.cross_attention_kwargs,
                return_dict=False,
            )[0]
            guider.cleanup_models(unet)
        block_state.noise_pred = guider(batches)[0]
        return components, block_state


class HanDiffuserSchedulerStep(HanDiffuserBlock):
    """In the loop: one step of the scheduler."""

    @property
    def description(self) -> str:
        return "Inside the denoising loop: one step of the scheduler"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec("scheduler", DPMSolverMultistepScheduler)]

    @property
    def inputs(self) -> list[InputParam]:
        return [InputParam("generator"), InputParam("eta", type_hint=float, default=0.0)]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("latents", type_hint=torch.Tensor, description="The denoised latents")]

    @torch.no_grad()
    def __call__(
        self, components: HanDiffuserModularPipeline, block_state: Any, i: int, t: torch.Tensor
    ) -> tuple[HanDiffuserModularPipeline, Any]:
        check_scalar("eta", block_state.eta)
        accepted = HanDiffuserPipeline.prepare_extra_step_kwargs(components, block_state.generator, block_state.eta)
        dtype = block_state.latents.dtype
        latents = components.scheduler.step(
            block_state.noise_pred, t, block_state.latents, **accepted, return_dict=False
        )[0]
        block_state.latents = latents.to(dtype)
        return components, block_state


class HanDiffuserDenoiseStep(LoopSequentialPipelineBlocks):
    """The denoising loop; its steps can be exchanged."""

    model_name = MODEL_NAME
    block_classes = [HanDiffuserPredictNoiseStep, HanDiffuserSchedulerStep]
    block_names = ["predict_noise", "scheduler_step"]

    @property
    def description(self) -> str:
        return "Denoises the latents over `timesteps`"

    @property
    def loop_expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec("scheduler", DPMSolverMultistepScheduler)]

    @property
    def loop_inputs(self) -> list[InputParam]:
        return [
            InputParam("timesteps", type_hint=torch.Tensor, required=True),
            InputParam("num_inference_steps", type_hint=int, required=True),
        ]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        with self.progress_bar(total=len(block_state.timesteps)) as progress_bar:
            for i, t in enumerate(block_state.timesteps):
                components, block_state = self.loop_step(components, block_state, i=i, t=t)
                progress_bar.update()
        self.set_block_state(state, block_state)
        return components, state
