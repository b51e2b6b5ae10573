"""HanDiffuser as Modular Diffusers: blocks that can be recombined, and the pipeline that runs them.

Leaving the first block out (`blocks.sub_blocks.pop("hands")`) leaves hands to the caller: `pipe(hand_params=...)`.
Every block does its part through the methods of `HanDiffuserPipeline`, so both give the same picture. There is no
block for a safety checker: pictures come as they are.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ClassifierFreeGuidance,
    ComponentSpec,
    ConfigSpec,
    InputParam,
    ModularPipeline,
    ModularPipelineBlocks,
    OutputParam,
    SequentialPipelineBlocks,
    UNet2DConditionModel,
)
from diffusers.configuration_utils import FrozenDict
from diffusers.loaders import TextualInversionLoaderMixin
from diffusers.modular_pipelines import modular_pipeline
from diffusers.modular_pipelines.modular_pipeline import LoopSequentialPipelineBlocks
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps
from diffusers.schedulers import DDIMScheduler, DPMSolverMultistepScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from ..hub.checked_components import check_component, is_component_class
from ..hub.loading import one_line_error, refuse_pickles_as_option
from ..hub.checked_sizes import sizes_checked
from ..hands import HandBodyModel, HandParams
from ..pipelines.pipeline_loading import forget_last_call, refuse_adapters
from ..hub.loading_lock import one_at_a_time
from ..models import TextHandEncoder, TextToHandParamsModel
from ..hub.saving import PushMixin
from ..pipelines.from_stable_diffusion import is_single_file
from ..pipelines.hand_conditioning import GENERAL_DEFAULTS
from ..pipelines.hand_sampling import clone_generators
from ..pipelines.inputs import check_count, check_finite, check_latents, check_number, check_numbers, check_size
from ..pipelines.lora_loading import LoraLoadingMixin
from ..pipelines.one_thread import one_thread_at_a_time
from ..pipelines.pipeline_handiffuser import HanDiffuserPipeline

MODEL_NAME = "handiffuser"
_LOOKS_INTO_THE_FOLDER = hasattr(modular_pipeline, "_is_local_component")
"""Whether this release of diffusers finds components in a folder whose index does not say where they are."""
_SAVED_DEFAULTS = [ConfigSpec(f"default_{name}", None) for name in GENERAL_DEFAULTS]
_PIPELINE_COMPONENTS = (
    "vae",
    "text_encoder",
    "tokenizer",
    "unet",
    "scheduler",
    "hand_tokenizer",
    "hand_text_encoder",
    "text_to_hand_params",
    "text_to_hand_scheduler",
    "body_model",
)


class HanDiffuserModularPipeline(
    PushMixin,
    ModularPipeline,
    StableDiffusionMixin,
    TextualInversionLoaderMixin,
    LoraLoadingMixin,
):
    """Runs [`HanDiffuserBlocks`] or any choice of its blocks; loads what `HanDiffuserPipeline` saves.

    The guidance of the picture is the component `guider`, at first a `ClassifierFreeGuidance` of the scale that the
    checkpoint asks for; `update_components(guider=...)` changes it. `save_pretrained` writes a folder that
    `HanDiffuserPipeline` loads, too.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserBlocks

        >>> blocks = HanDiffuserBlocks()
        >>> pipe = blocks.init_pipeline(MINI)
        >>> pipe.load_components()
        >>> image = pipe(prompt="a right hand making a peace sign", output="images")[0]
        ```
    """

    default_blocks_name = "HanDiffuserBlocks"
    _saves_card = True

    def __init__(
        self,
        blocks: ModularPipelineBlocks | None = None,
        pretrained_model_name_or_path: str | os.PathLike | None = None,
        **kwargs: Any,
    ):
        if pretrained_model_name_or_path is not None:  # diffusers loads components from a string alone
            pretrained_model_name_or_path = os.fspath(pretrained_model_name_or_path)
        super().__init__(blocks, pretrained_model_name_or_path, **kwargs)
        if pretrained_model_name_or_path is not None and not _LOOKS_INTO_THE_FOLDER:
            for spec in self._component_specs.values():
                is_here = spec.subfolder and os.path.isdir(os.path.join(pretrained_model_name_or_path, spec.subfolder))
                if is_here and spec.pretrained_model_name_or_path is None:
                    spec.pretrained_model_name_or_path = pretrained_model_name_or_path
        guidance_scale = self.config.get("default_guidance_scale")
        if guidance_scale is not None and "guider" in self.component_names:
            self.guider.guidance_scale = guidance_scale
            self.guider.register_to_config(guidance_scale=guidance_scale)

    @one_at_a_time
    def load_components(
        self, names: list[str] | str | None = None, *args: Any, check_sizes: bool = True, **kwargs: Any
    ) -> None:
        """As in diffusers, from safetensors alone.

        Args:
            names (`str` or `list[str]`, *optional*): the components to load; else all that the index knows places of.
            check_sizes (`bool`): as in `HanDiffuserPipeline.from_pretrained`.
            args, kwargs: those of diffusers.

        Raises:
            ValueError: a component is no model, scheduler, tokenizer or processor, or what its folder holds is not one
                of safetensors and JSON, of a size that fits them.
        """
        refuse_pickles_as_option(kwargs)
        chosen = [names] if isinstance(names, str) else names
        models: dict[str, bool] = {}
        with sizes_checked(check_sizes):
            for name, spec in self._component_specs.items():
                if spec.default_creation_method != "from_pretrained" or chosen is not None and name not in chosen:
                    continue
                found = spec.type_hint
                place = kwargs.get("pretrained_model_name_or_path", spec.pretrained_model_name_or_path)
                if found is not None and not is_component_class(found):
                    raise ValueError(
                        f"Cannot load {type(self).__name__}: {str(place)!r} says that `{name}` is a {found}; wanted a "
                        "model, scheduler, tokenizer or processor."
                    )
                if isinstance(place, str) and os.path.isdir(place):
                    with one_line_error(type(self).__name__, place):
                        check_component(Path(place), spec.subfolder or "", found)
                if isinstance(found, type) and issubclass(found, torch.nn.Module) and not is_single_file(str(place)):
                    models[name] = True
            super().load_components(names, *args, **{"use_safetensors": models, **kwargs})

    @one_thread_at_a_time
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As in diffusers; a call while another thread is in one raises a `RuntimeError`."""
        return super().__call__(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, and as a `HanDiffuserPipeline` besides, with a model card.

        `push_to_hub` and `card` are those of [`HanDiffuserPipeline`]'s `save_pretrained`.
        """
        super().save_pretrained(save_directory, *args, **kwargs)

    save_pretrained.__wrapped__ = ModularPipeline.save_pretrained  # type: ignore[attr-defined]  # its arguments

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, and as a pipeline besides, so that `HanDiffuserPipeline.from_pretrained` loads the folder.

        Instead of the folder's place on this machine the index names `repo_id` or nothing, which means this folder.
        """
        kwargs.setdefault("overwrite_modular_index", True)
        for name, component in self.components.items():
            forget_last_call(component)
            refuse_adapters(name, component)
        super()._save(folder, repo_id, *args, **kwargs)
        self.as_pipeline().save_config(folder)
        path = Path(folder, self.config_name)
        index = json.loads(path.read_text(encoding="utf-8"))
        for entry in index.values():
            if isinstance(entry, list) and entry[2]["pretrained_model_name_or_path"] == folder:
                entry[2]["pretrained_model_name_or_path"] = repo_id
        path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _described_by_card(self) -> HanDiffuserPipeline:
        return self.as_pipeline()

    def as_pipeline(self) -> HanDiffuserPipeline:
        """A `HanDiffuserPipeline` of the components that are here; the others are `None`."""
        components = {name: getattr(self, name, None) for name in _PIPELINE_COMPONENTS}
        defaults = {spec.name: self.config.get(spec.name) for spec in _SAVED_DEFAULTS}
        pipeline = HanDiffuserPipeline(
            **components, safety_checker=None, feature_extractor=None, requires_safety_checker=False, **defaults
        )
        pipeline.set_progress_bar_config(**getattr(self, "_progress_bar_config", {}))
        return pipeline


class HanDiffuserBlock(ModularPipelineBlocks):
    """What the blocks have in common."""

    model_name = MODEL_NAME

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        return _SAVED_DEFAULTS


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
        pipeline = components.as_pipeline()
        steps = pipeline.with_default("num_inference_steps", block_state.num_inference_steps)
        check_count("num_inference_steps", steps)
        check_size(block_state.height, block_state.width, pipeline.vae_scale_factor)
        for name in ("timesteps", "sigmas"):
            if getattr(block_state, name) is not None:
                check_numbers(name, getattr(block_state, name))
        if block_state.latents is not None:
            check_latents("latents", block_state.latents)
        size = components.unet.config.sample_size
        sides = [side * pipeline.vae_scale_factor for side in ((size, size) if isinstance(size, int) else size)]
        embeds = block_state.prompt_embeds
        block_state.timesteps, block_state.num_inference_steps = retrieve_timesteps(
            components.scheduler, steps, embeds.device, block_state.timesteps, block_state.sigmas
        )
        block_state.latents = pipeline.prepare_latents(
            len(embeds),
            components.unet.config.in_channels,
            block_state.height or sides[0],
            block_state.width or sides[1],
            embeds.dtype,
            embeds.device,
            block_state.generator,
            block_state.latents,
        )
        self.set_block_state(state, block_state)
        return components, state


class HanDiffuserPredictNoiseStep(HanDiffuserBlock):
    """In the loop: what the U-Net predicts, guided."""

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
                encoder_hidden_states=batch.encoder_hidden_states,
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
        check_number("eta", block_state.eta)
        accepted = HanDiffuserPipeline.prepare_extra_step_kwargs(components, block_state.generator, block_state.eta)
        dtype = block_state.latents.dtype
        latents = components.scheduler.step(
            block_state.noise_pred, t, block_state.latents, **accepted, return_dict=False
        )[0]
        block_state.latents = latents.to(dtype)
        return components, block_state


class HanDiffuserDenoiseStep(LoopSequentialPipelineBlocks):
    """The denoising loop; what happens in it can be exchanged."""

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


class HanDiffuserDecodeStep(HanDiffuserBlock):
    """Latents to pictures."""

    @property
    def description(self) -> str:
        return "Decodes the latents into pictures"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [ComponentSpec("vae", AutoencoderKL)]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("latents", type_hint=torch.Tensor, required=True),
            InputParam("output_type", type_hint=str, default="pil", description="pil, np, pt or latent"),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [OutputParam("images", description="The pictures, in the form asked for")]

    @torch.no_grad()
    def __call__(self, components: HanDiffuserModularPipeline, state: Any) -> tuple[HanDiffuserModularPipeline, Any]:
        block_state = self.get_block_state(state)
        vae, latents = components.vae, block_state.latents
        check_finite("`latents`", latents)
        if block_state.output_type == "latent":
            block_state.images = latents
        else:
            decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
            check_finite("The decoded picture", decoded)
            processor = components.as_pipeline().image_processor
            block_state.images = processor.postprocess(decoded, output_type=block_state.output_type)
        self.set_block_state(state, block_state)
        return components, state


class HanDiffuserBlocks(SequentialPipelineBlocks):
    """From a prompt to pictures with the right hands."""

    model_name = MODEL_NAME
    block_classes = [
        HanDiffuserSampleHandsStep,
        HanDiffuserEncodeStep,
        HanDiffuserPrepareLatentsStep,
        HanDiffuserDenoiseStep,
        HanDiffuserDecodeStep,
    ]
    block_names = ["hands", "encode", "prepare_latents", "denoise", "decode"]

    @property
    def description(self) -> str:
        return "Text to picture by way of hands, after HanDiffuser"

    @property
    def outputs(self) -> list[OutputParam]:
        return [OutputParam("images"), OutputParam("hand_params", type_hint=HandParams)]
