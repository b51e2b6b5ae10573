"""The models of stage 2: what a training starts from, and the pipeline that it ends as."""

import argparse
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
from transformers import CLIPTextModel, CLIPTokenizer

from ...hands import HandBodyModel
from ...models import TextHandEncoder, TextToHandParamsModel
from ...pipelines import HanDiffuserPipeline
from ...pipelines.from_stable_diffusion import is_single_file, load_stable_diffusion
from ..engine.small_models import NEW_NOISE_SCHEDULE, load_vae, new_text_encoder, small_unet, vae_factor
from ..engine.weights import load_model
from .growing import grow_unet

WHAT_IS_TOLD = ("hand_representations", "joint_encoding")
"""Of the Text+Hand encoder's configuration: what may change when its training goes on."""


@dataclass
class ImageModels:
    """The models of stage 2 and what belongs to them."""

    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: TextHandEncoder
    unet: UNet2DConditionModel
    noise_scheduler: DDPMScheduler


def load_image_models(args: argparse.Namespace) -> ImageModels:
    """From Stable Diffusion 1.x or one of our pipelines (a folder, a Hub id, a single file) or from nothing."""
    base = args.pretrained_model_name_or_path
    vae = tokenizer = None
    if args.pretrained_vae_model_name_or_path is not None:
        vae = load_vae(args.pretrained_vae_model_name_or_path)
    if args.tokenizer_name is not None:
        tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer_name)
    if base is None:
        assert vae is not None and tokenizer is not None  # the options have been checked
        models = _new_models(args, vae, tokenizer)
    elif is_single_file(base):
        models = _models_of_file(args, vae, tokenizer)
    else:
        models = _models_of_pipeline(args, vae, tokenizer)
    if args.init_from is not None:
        load_initial_weights(Path(args.init_from), {"unet": models.unet, "text_encoder": models.text_encoder})
    for model in (models.text_encoder, models.unet):
        nn.Module.float(model)  # diffusers' own warns of what is float32 in any case
    models.vae.requires_grad_(False)
    return models


def _models_of_pipeline(
    args: argparse.Namespace, vae: AutoencoderKL | None, tokenizer: CLIPTokenizer | None
) -> ImageModels:
    base = args.pretrained_model_name_or_path
    hub = {"revision": args.revision, "variant": args.variant}
    if tokenizer is None:
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", revision=args.revision)
    scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler", revision=args.revision)
    return ImageModels(
        vae or AutoencoderKL.from_pretrained(base, subfolder="vae", **hub),
        tokenizer,
        load_text_encoder(base, args.text_encoder_config, **hub),
        UNet2DConditionModel.from_pretrained(base, subfolder="unet", **hub),
        noise_scheduler(args, dict(scheduler.config)),
    )


def _models_of_file(
    args: argparse.Namespace, vae: AutoencoderKL | None, tokenizer: CLIPTokenizer | None
) -> ImageModels:
    configs = {} if args.single_file_config is None else {"config": args.single_file_config}
    pipeline = load_stable_diffusion(args.pretrained_model_name_or_path, configs)
    return ImageModels(
        vae or pipeline.vae,
        tokenizer or pipeline.tokenizer,
        TextHandEncoder.from_clip(pipeline.text_encoder, **args.text_encoder_config),
        pipeline.unet,
        noise_scheduler(args, dict(DDPMScheduler.from_config(pipeline.scheduler.config).config)),
    )


def _new_models(args: argparse.Namespace, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> ImageModels:
    text_encoder = new_text_encoder(args.text_encoder_config, tokenizer)
    sample_size = args.resolution // vae_factor(vae)
    unet = UNet2DConditionModel.from_config(
        {
            **small_unet(sample_size),
            **args.unet_config,
            "sample_size": sample_size,
            "in_channels": vae.config.latent_channels,
            "out_channels": vae.config.latent_channels,
            "cross_attention_dim": text_encoder.config.hidden_size,
        }
    )
    return ImageModels(vae, tokenizer, text_encoder, unet, noise_scheduler(args, dict(NEW_NOISE_SCHEDULE)))


def load_text_encoder(
    base: str, hand_config: dict, revision: str | None = None, variant: str | None = None
) -> TextHandEncoder:
    """The Text+Hand encoder of a HanDiffuser pipeline, or one that starts from a Stable Diffusion pipeline's CLIP.

    Of `hand_config` the first takes what its weights do not depend on, `WHAT_IS_TOLD`.
    """
    where: dict[str, Any] = {"subfolder": "text_encoder", "revision": revision}
    config = TextHandEncoder.load_config(base, **where)
    if config.get("_class_name") == "TextHandEncoder":
        told = {name: hand_config[name] for name in WHAT_IS_TOLD if name in hand_config}
        return TextHandEncoder.from_pretrained(base, variant=variant, **where, **told)
    clip = CLIPTextModel.from_pretrained(base, variant=variant, **where)
    return TextHandEncoder.from_clip(clip, **hand_config)


def noise_scheduler(args: argparse.Namespace, config: dict) -> DDPMScheduler:
    """A noise schedule with the changes that the options ask for."""
    for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type"):
        if getattr(args, name) is not None:
            config[name] = getattr(args, name)
    if args.rescale_betas_zero_snr:
        config.update(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    if config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon":
        raise ValueError(
            "`rescale_betas_zero_snr` needs --prediction_type v_prediction: pure noise says nothing of epsilon"
        )
    return DDPMScheduler.from_config(config)


def load_initial_weights(folder: Path, models: dict[str, nn.Module]) -> None:
    """Loads those models that the folder holds; of a checkpoint, the averaged weights.

    A U-Net of fewer levels becomes the inside of the one that is wanted, see `growing.grow_unet`.
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
    """What makes a U-Net faster in training and changes its results by rounding alone.

    Channels last in memory, unless FSDP or DeepSpeed lay the weights flat. And in bfloat16 on a CPU attention step by
    step: torch's fused one takes longer backwards there than all its parts together.
    """
    if accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        model.to(memory_format=torch.channels_last)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
        model.set_attn_processor(AttnProcessor())  # which is not saved


def load_stage_1(name: str) -> dict:
    """The components of stage 1 from the output of its trainer, or from a pipeline: a folder or a Hub id."""
    return {
        "hand_tokenizer": CLIPTokenizer.from_pretrained(name, subfolder="hand_tokenizer"),
        "hand_text_encoder": CLIPTextModel.from_pretrained(name, subfolder="hand_text_encoder"),
        "text_to_hand_params": TextToHandParamsModel.from_pretrained(name, subfolder="text_to_hand_params"),
        "text_to_hand_scheduler": DDIMScheduler.from_pretrained(name, subfolder="text_to_hand_scheduler"),
    }


def build_pipeline(args: argparse.Namespace, models: ImageModels, body_model: HandBodyModel) -> HanDiffuserPipeline:
    """The models as a pipeline, with stage 1 if the options name it."""
    scheduler = getattr(diffusers, args.inference_scheduler).from_config(models.noise_scheduler.config)
    stage_1 = {} if args.text_to_hand_params_dir is None else load_stage_1(args.text_to_hand_params_dir)
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
        default_num_inference_steps=args.default_num_inference_steps,
        default_guidance_scale=args.default_guidance_scale,
        default_num_hand_inference_steps=args.default_num_hand_inference_steps,
        default_hand_guidance_scale=args.default_hand_guidance_scale,
        **stage_1,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
