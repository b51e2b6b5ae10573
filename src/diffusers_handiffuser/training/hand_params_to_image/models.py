"""Models of stage 2: loading or creating them before training, and the pipeline they make up after it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTokenizer

from ...hands import HandBodyModel
from ...models import TextHandEncoder, TextToHandParamsModel
from ...models.text_models import load_text_model, load_tokenizer
from ...pipelines import HanDiffuserPipeline
from ...pipelines.from_stable_diffusion import is_single_file, load_stable_diffusion
from ...pipelines.images import vae_factor
from ..engine.small_models import NEW_NOISE_SCHEDULE, load_vae, new_text_encoder, small_unet
from ..engine.weights import load_model
from .growing import grow_unet
from .options import ModelOptions, NoiseScheduleOptions, ValidationOptions

MUTABLE_ENCODER_KEYS = ("hand_representations", "joint_encoding")
"""Encoder config keys that may be overridden when a trained encoder is fine-tuned."""


@dataclass
class ImageModels:
    """The models of stage 2 and what belongs to them."""

    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: TextHandEncoder
    unet: UNet2DConditionModel
    noise_scheduler: DDPMScheduler


def load_image_models(options: ModelOptions, schedule: NoiseScheduleOptions, resolution: int) -> ImageModels:
    """Models from Stable Diffusion 1.x or one of our pipelines (a folder, a Hub id, a single file), or new ones.

    Args:
        options (`ModelOptions`): where they come from.
        schedule (`NoiseScheduleOptions`): changes to the noise schedule.
        resolution (`int`): of the images; new models are made for it.
    """
    base = options.pretrained_model_name_or_path
    vae = tokenizer = None
    if options.pretrained_vae_model_name_or_path is not None:
        vae = load_vae(options.pretrained_vae_model_name_or_path)
    if options.tokenizer_name is not None:
        tokenizer = CLIPTokenizer.from_pretrained(options.tokenizer_name)
    if base is None:
        assert vae is not None and tokenizer is not None  # the options have been checked
        models = _new_models(options, schedule, resolution, vae, tokenizer)
    elif is_single_file(base):
        models = _models_from_file(base, options, schedule, vae, tokenizer)
    else:
        models = _models_from_pipeline(base, options, schedule, vae, tokenizer)
    if options.init_from is not None:
        load_initial_weights(Path(options.init_from), {"unet": models.unet, "text_encoder": models.text_encoder})
    for model in (models.text_encoder, models.unet):
        nn.Module.float(model)  # diffusers' own `float` warns about modules kept in float32, which all are here
    models.vae.requires_grad_(False)
    return models


def _models_from_pipeline(
    base: str,
    options: ModelOptions,
    schedule: NoiseScheduleOptions,
    vae: AutoencoderKL | None,
    tokenizer: CLIPTokenizer | None,
) -> ImageModels:
    hub: dict[str, Any] = {"revision": options.revision, "variant": options.variant}
    if tokenizer is None:
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", revision=hub["revision"])
    scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler", revision=options.revision)
    return ImageModels(
        vae or AutoencoderKL.from_pretrained(base, subfolder="vae", **hub),
        tokenizer,
        load_text_encoder(base, options.text_encoder_config, **hub),
        UNet2DConditionModel.from_pretrained(base, subfolder="unet", **hub),
        noise_scheduler(schedule, dict(scheduler.config)),
    )


def _models_from_file(
    base: str,
    options: ModelOptions,
    schedule: NoiseScheduleOptions,
    vae: AutoencoderKL | None,
    tokenizer: CLIPTokenizer | None,
) -> ImageModels:
    configs = {} if options.single_file_config is None else {"config": options.single_file_config}
    pipeline = load_stable_diffusion(base, configs)
    return ImageModels(
        vae or pipeline.vae,
        tokenizer or pipeline.tokenizer,
        TextHandEncoder.from_clip(pipeline.text_encoder, **options.text_encoder_config),
        pipeline.unet,
        noise_scheduler(schedule, dict(DDPMScheduler.from_config(pipeline.scheduler.config).config)),
    )


def _new_models(
    options: ModelOptions,
    schedule: NoiseScheduleOptions,
    resolution: int,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
) -> ImageModels:
    text_encoder = new_text_encoder(options.text_encoder_config, tokenizer)
    sample_size = resolution // vae_factor(vae)
    unet = UNet2DConditionModel.from_config(
        {
            **small_unet(sample_size),
            **options.unet_config,
            "sample_size": sample_size,
            "in_channels": vae.config.latent_channels,
            "out_channels": vae.config.latent_channels,
            "cross_attention_dim": text_encoder.config.hidden_size,
        }
    )
    return ImageModels(vae, tokenizer, text_encoder, unet, noise_scheduler(schedule, dict(NEW_NOISE_SCHEDULE)))


def load_text_encoder(
    base: str, hand_config: dict, revision: str | None = None, variant: str | None = None
) -> TextHandEncoder:
    """The Text+Hand encoder of a HanDiffuser pipeline, or one that starts from a Stable Diffusion pipeline's CLIP.

    A HanDiffuser encoder takes from `hand_config` only `MUTABLE_ENCODER_KEYS`, on which its weights do not depend.
    """
    where: dict[str, Any] = {"subfolder": "text_encoder", "revision": revision}
    config = TextHandEncoder.load_config(base, **where)
    if config.get("_class_name") == "TextHandEncoder":
        overrides = {name: hand_config[name] for name in MUTABLE_ENCODER_KEYS if name in hand_config}
        return TextHandEncoder.from_pretrained(base, variant=variant, **where, **overrides)
    clip = load_text_model(base, variant=variant, **where)
    return TextHandEncoder.from_clip(clip, **hand_config)


def noise_scheduler(options: NoiseScheduleOptions, config: dict) -> DDPMScheduler:
    """The noise schedule of this configuration, with the options' changes."""
    for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type"):
        if getattr(options, name) is not None:
            config[name] = getattr(options, name)
    if options.rescale_betas_zero_snr:
        config.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    if config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon":
        raise ValueError(
            "`rescale_betas_zero_snr` needs --prediction_type v_prediction: pure noise says nothing of epsilon"
        )
    return DDPMScheduler.from_config(config)


def load_initial_weights(folder: Path, models: dict[str, nn.Module]) -> None:
    """Loads the weights of those models that the folder holds; from a checkpoint, the averaged ones.

    A U-Net with fewer levels becomes the inner part of the larger one, see `growing.grow_unet`.
    """
    found = {}
    for name in models:
        places = [place for place in (folder / f"{name}_ema", folder / name) if place.is_dir()]
        found.update({name: places[0]} if places else {})
    if not found:
        raise FileNotFoundError(f"`init_from`: {folder} holds none of the folders {', '.join(models)}")
    for name, place in found.items():
        model = models[name]
        if isinstance(model, UNet2DConditionModel) and _levels(place) < len(model.config.block_out_channels):
            grow_unet(model, UNet2DConditionModel.from_pretrained(place))
        else:
            load_model(model, place)


def _levels(unet_folder: Path) -> int:
    return len(UNet2DConditionModel.load_config(unet_folder)["block_out_channels"])


def make_fast(model: UNet2DConditionModel | ControlNetModel, accelerator: Accelerator) -> None:
    """Speeds up training of a U-Net; results differ by rounding only.

    Channels-last memory format, unless FSDP or DeepSpeed flatten the weights. In bfloat16 on a CPU, attention is
    unfused: the backward pass of torch's fused attention is slower there.
    """
    if accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        model.to(memory_format=torch.channels_last)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
        model.set_attn_processor(AttnProcessor())  # not saved


def load_stage_1(name: str) -> dict:
    """The components of stage 1 from the output of its trainer, or from a pipeline: a folder or a Hub id."""
    return {
        "hand_tokenizer": load_tokenizer(name, "hand_tokenizer"),
        "hand_text_encoder": load_text_model(name, "hand_text_encoder"),
        "text_to_hand_params": TextToHandParamsModel.from_pretrained(name, subfolder="text_to_hand_params"),
        "text_to_hand_scheduler": DDIMScheduler.from_pretrained(name, subfolder="text_to_hand_scheduler"),
    }


def build_pipeline(
    options: ValidationOptions, models: ImageModels, body_model: HandBodyModel, stage_1: str | None = None
) -> HanDiffuserPipeline:
    """The models as a pipeline, with the components of stage 1 from a folder or a Hub id, if one is given."""
    scheduler = getattr(diffusers, options.inference_scheduler).from_config(models.noise_scheduler.config)
    pipeline = HanDiffuserPipeline(
        vae=models.vae,
        text_encoder=models.text_encoder,
        tokenizer=models.tokenizer,
        unet=models.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        body_model=body_model,
        requires_safety_checker=False,
        default_num_inference_steps=options.default_num_inference_steps,
        default_guidance_scale=options.default_guidance_scale,
        default_num_hand_inference_steps=options.default_num_hand_inference_steps,
        default_hand_guidance_scale=options.default_hand_guidance_scale,
        **({} if stage_1 is None else load_stage_1(stage_1)),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
