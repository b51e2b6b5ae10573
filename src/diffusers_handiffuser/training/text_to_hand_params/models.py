"""Stage 1's models: what a training starts from, and the pipeline that it ends as."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ...hands import HandBodyModel
from ...hands.body_model import load_body_model
from ...models import TextToHandParamsModel
from ...pipelines import HanDiffuserPipeline
from ..engine.small_models import scale_embeddings
from ..engine.weights import load_model
from .options import DiffusionOptions, ModelOptions, SamplingOptions

SMALL_TEXT_ENCODER = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


@dataclass
class HandParamsModels:
    """Stage 1's models and what belongs to them."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    model: TextToHandParamsModel
    body_model: HandBodyModel
    scheduler: DDIMScheduler


def load_models(options: ModelOptions, diffusion: DiffusionOptions) -> HandParamsModels:
    """The models that the options name or configure; the text encoder requires gradients only if it is trained."""
    tokenizer = _load_tokenizer(options)
    text_encoder = _load_text_encoder(options, tokenizer).float()
    model = TextToHandParamsModel(**{"cross_attention_dim": text_encoder.config.hidden_size, **options.model_config})
    body_model = load_body_model(options.body_model)
    if options.init_from is not None:
        _load_weights(Path(options.init_from), {"text_to_hand_params": model, "hand_text_encoder": text_encoder})
    text_encoder.requires_grad_(options.train_text_encoder)
    return HandParamsModels(tokenizer, text_encoder, model, body_model, build_scheduler(diffusion))


def _load_tokenizer(options: ModelOptions) -> CLIPTokenizer:
    if options.tokenizer_name is not None:
        return CLIPTokenizer.from_pretrained(options.tokenizer_name)
    base: Any = options.pretrained_model_name_or_path  # one of the two is given: the options are checked
    hub: dict[str, Any] = {"revision": options.revision}
    return CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", **hub)


def _load_text_encoder(options: ModelOptions, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    base = options.pretrained_model_name_or_path
    if base is not None:
        hub: dict[str, Any] = {"revision": options.revision, "variant": options.variant}
        return CLIPTextModel.from_pretrained(base, subfolder="text_encoder", **hub)
    values = {
        **SMALL_TEXT_ENCODER,
        **options.text_encoder_config,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return scale_embeddings(CLIPTextModel(CLIPTextConfig(**values)))


def _load_weights(folder: Path, models: dict[str, nn.Module]) -> None:
    for name, model in models.items():
        averaged = folder / f"{name}_ema"
        load_model(model, averaged if averaged.is_dir() else folder / name)


def build_scheduler(options: DiffusionOptions) -> DDIMScheduler:
    """Trailing steps, so that sampling starts from the pure noise of the last training step."""
    return DDIMScheduler(
        num_train_timesteps=options.num_train_timesteps,
        beta_schedule=options.beta_schedule,
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def stage_1_pipeline(models: HandParamsModels, options: SamplingOptions) -> HanDiffuserPipeline:
    """A pipeline that has stage 1 only."""
    pipeline = HanDiffuserPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        hand_tokenizer=models.tokenizer,
        hand_text_encoder=models.text_encoder,
        text_to_hand_params=models.model,
        text_to_hand_scheduler=models.scheduler,
        body_model=models.body_model,
        default_num_hand_inference_steps=options.num_hand_inference_steps,
        default_hand_guidance_scale=options.hand_guidance_scale,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
