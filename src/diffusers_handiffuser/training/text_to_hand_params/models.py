"""Stage 1's models: what a training starts from, and the pipeline that it ends as."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, DiffusionPipeline
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase

from ...hands import HandBodyModel
from ...hands.body_model import load_body_model
from ...models import TextToHandParamsModel
from ...models.text_models import load_text_model, load_tokenizer, text_length
from ...pipelines import HanDiffuserPipeline
from ..engine.small_models import scale_embeddings
from ..engine.weights import load_matching, load_model
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

    tokenizer: PreTrainedTokenizerBase
    text_encoder: Any
    model: TextToHandParamsModel
    body_model: HandBodyModel
    scheduler: DDIMScheduler


def load_models(options: ModelOptions, diffusion: DiffusionOptions) -> HandParamsModels:
    """The models that the options name or configure; the text encoder requires gradients only if it is trained."""
    tokenizer = _load_tokenizer(options)
    text_encoder = _load_text_encoder(options, tokenizer).float()
    text_length(tokenizer, text_encoder)  # that they belong together
    model = TextToHandParamsModel(**{"cross_attention_dim": text_encoder.config.hidden_size, **options.model_config})
    body_model = load_body_model(options.body_model)
    if options.init_from is not None:
        models = {"text_to_hand_params": model, "hand_text_encoder": text_encoder}
        _load_weights(Path(options.init_from), models, options.ignore_mismatched_sizes)
    text_encoder.requires_grad_(options.train_text_encoder)
    return HandParamsModels(tokenizer, text_encoder, model, body_model, build_scheduler(diffusion))


def _load_tokenizer(options: ModelOptions) -> PreTrainedTokenizerBase:
    if options.tokenizer_name is not None:
        return load_tokenizer(options.tokenizer_name)
    base: Any = options.pretrained_model_name_or_path  # one of the two is given: the options are checked
    hub: dict[str, Any] = {"revision": options.revision}
    return load_tokenizer(base, f"{_prefix(base, options.revision)}tokenizer", **hub)


def _load_text_encoder(options: ModelOptions, tokenizer: PreTrainedTokenizerBase) -> Any:
    base = options.pretrained_model_name_or_path
    if base is not None:
        hub: dict[str, Any] = {"revision": options.revision, "variant": options.variant}
        return load_text_model(base, f"{_prefix(base, options.revision)}text_encoder", **hub)
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


def _prefix(base: str, revision: str | None) -> str:
    """Of the names of text model and tokenizer: "hand_" in a pipeline with a stage 1, "" in Stable Diffusion."""
    if Path(base).is_dir():
        has_stage_1 = (Path(base) / "hand_text_encoder").is_dir()
    else:
        index = DiffusionPipeline.load_config(base, revision=revision)
        has_stage_1 = index.get("hand_text_encoder", [None])[0] is not None
    return "hand_" if has_stage_1 else ""


def _load_weights(folder: Path, models: dict[str, nn.Module], ignore_mismatched_sizes: bool) -> None:
    for name, model in models.items():
        averaged = folder / f"{name}_ema"
        load = load_matching if ignore_mismatched_sizes else load_model
        load(model, averaged if averaged.is_dir() else folder / name)


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
