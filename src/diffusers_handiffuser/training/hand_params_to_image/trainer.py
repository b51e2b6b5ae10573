r"""Trains stage 2: U-Net and Text+Hand encoder, from captions, hands and images.

From Stable Diffusion 1.x, as in the paper (everything but the VAE is trained):

    accelerate launch -m diffusers_handiffuser.training.hand_params_to_image --pretrained_model_name_or_path SD \
        --train_data_dir DATA --output_dir OUT --resolution 512 --max_train_steps 100000 --use_ema

On a small GPU, LoRA for U-Net and text tower beside the hands' own modules:

    accelerate launch -m diffusers_handiffuser.training.hand_params_to_image --pretrained_model_name_or_path SD \
        --train_method lora --rank 16 --mixed_precision bf16 --gradient_checkpointing --train_batch_size 1 \
        --train_data_dir DATA --output_dir OUT --resolution 512 --max_train_steps 20000

From nothing, a small model:

    python -m diffusers_handiffuser.training.hand_params_to_image --pretrained_vae_model_name_or_path VAE/vae \
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --use_ema \
        --max_train_minutes 600

The VAE's latents and the hands' geometry are computed once and cached on disk, so the training loop uses neither the
VAE nor the body model (`--no_cache` and `--streaming` compute them in the loop). With `--text_to_hand_params_dir`,
`OUT` is a whole `HanDiffuserPipeline`; without it, one that needs `hand_params`. With LoRA, `OUT` holds the weights
for `load_lora_weights` and the encoder; with `--merge_lora` it is a whole pipeline, too. See docs/training.md.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from ...hands import HandBodyModel
from ...hands.body_model import load_body_model
from ...models import TextHandEncoder
from ...pipelines.from_stable_diffusion import is_single_file
from ..engine.images import check_resolution
from ..engine.publishing import finish_run, open_repository, write_lora_card
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, count_training_rows, start_run
from ..engine.sources import cache_folder, open_rows, open_stream
from ..engine.weights import save_model
from .joint_head import new_joint_head
from .lora import add_lora, cast_frozen, save_lora, without_lora
from .loss import ImageLoss, ImageObjective
from .models import ImageModels, build_pipeline, load_image_models, make_fast
from .options import ImageTrainingOptions, make_parser
from .rows import BatchEncoder, CachedDataset, LiveDataset, StreamedDataset, load_cached_rows, tokenize
from .validation import HeldOutRows, ImageValidation

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
LORA_FOLDER = "lora"
"""Folder of the LoRA inside a pipeline that it was merged into."""


Source = CachedDataset | LiveDataset | StreamedDataset


def parse_args(argv: Sequence[str] | None = None) -> ImageTrainingOptions:
    return make_parser().parse(argv)


def open_data(
    options: ImageTrainingOptions, accelerator: Accelerator, models: ImageModels, body_model: HandBodyModel
) -> tuple[Source, int | None, HeldOutRows | None]:
    """(Source of training batches, number of training rows or `None` for a stream, held-out rows or `None`).

    The last rows are held out, or with `--validation_split` the first ones of another split.
    """
    data, resolution, workers = options.data, options.images.resolution, options.data.dataloader_num_workers
    dataset = None if data.streaming else open_rows(data, need_images=True)
    parts = (models.vae, models.tokenizer, models.text_encoder, body_model)
    check_resolution(resolution, models.vae)

    @functools.cache
    def batch_encoder() -> BatchEncoder:
        return BatchEncoder(*parts, accelerator.device, HALF.get(accelerator.mixed_precision, torch.float32))

    source: Source
    if dataset is None:
        stream = open_stream(
            data, options.run.seed, accelerator.process_index, accelerator.num_processes, need_images=True
        )
        source = StreamedDataset(stream, batch_encoder(), resolution, workers, accelerator)
    elif options.images.no_cache:
        source = LiveDataset(dataset, batch_encoder(), resolution, workers)
    else:
        folder = cache_folder(data, options.run.output_dir)
        source = load_cached_rows(options.images, folder, workers, dataset, *parts, accelerator)
    if data.validation_split is not None:
        other = open_rows(data, True, data.validation_split)
        live = LiveDataset(other, batch_encoder(), resolution, workers)
        return source, None if dataset is None else len(dataset), HeldOutRows(other, np.arange(len(other)), live)
    if dataset is None or isinstance(source, StreamedDataset):
        return source, None, None
    num_train = count_training_rows(len(dataset), data.num_validation_rows)
    return source, num_train, HeldOutRows(dataset, np.arange(num_train, len(dataset)), source)


def build_objective(
    options: ImageTrainingOptions, models: ImageModels, accelerator: Accelerator
) -> tuple[ImageObjective, dict[str, torch.nn.Module]]:
    """The objective, and the models in it that are trained, by name; with LoRA, prepared for it."""
    if options.lora.train_method == "lora":
        add_lora(models.unet, models.text_encoder, options.lora.rank)
        if accelerator.mixed_precision in HALF:  # not the encoder, whose frozen weights are saved
            cast_frozen(models.unet, HALF[accelerator.mixed_precision])
    trained: dict[str, torch.nn.Module] = {"unet": models.unet, "text_encoder": models.text_encoder}
    joint_head = None
    if options.loss.joint_loss_weight > 0:
        joint_head = trained["joint_finder"] = new_joint_head(models.unet, options.loss.palm_loss_weight > 0)
    return ImageObjective(models.unet, models.text_encoder, joint_head), trained


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_args(argv)
    some_unused = options.conditions.text_only_steps > 0 or options.loss.joint_loss_weight > 0
    accelerator = start_run(options, find_unused_parameters=some_unused)
    if accelerator.is_main_process:
        open_repository(options.hub, options.run.output_dir)
    torch.manual_seed(options.run.seed)
    models = load_image_models(options.models, options.schedule, options.images.resolution)
    body_model = load_body_model(options.models.body_model)
    make_fast(models.unet, accelerator)
    source, num_train, held_out = open_data(options, accelerator, models, body_model)
    if options.images.cache_only:
        accelerator.end_training()
        return
    objective, trained = build_objective(options, models, accelerator)
    empty_ids = tokenize(models.tokenizer, [""])
    loss = ImageLoss(options.loss, options.conditions, models.noise_scheduler, empty_ids, accelerator.device)
    loss.keep_in_checkpoints(accelerator)
    run = TrainingRun(options, accelerator, objective, trained, num_train, whole=options.lora.train_method == "full")

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if options.images.random_flip else None
        return loss(run.objective, source.batch(rows, mirror, run.following_rows), random)

    run.train(compute_loss, ImageValidation(options, run, models, body_model, loss, held_out))

    def save(whole: ImageObjective, facts: dict[str, str]) -> None:
        result = replace(models, unet=whole.unet.eval(), text_encoder=whole.text_encoder.eval())
        save_result = save_pipeline if options.lora.train_method == "full" else save_lora_result
        save_result(options, result, body_model, facts)

    base_model = options.models.pretrained_model_name_or_path
    finish_run(run, "hand_params_to_image", argv, save, data=options.data, hub=options.hub, base_model=base_model)


def save_pipeline(
    options: ImageTrainingOptions, models: ImageModels, body_model: HandBodyModel, facts: dict[str, str]
) -> None:
    """Writes the pipeline with its card."""
    pipeline = build_pipeline(options.validation, models, body_model, options.models.text_to_hand_params_dir)
    pipeline.save_pretrained(options.run.output_dir, safe_serialization=True, card=facts)


def save_lora_result(
    options: ImageTrainingOptions, models: ImageModels, body_model: HandBodyModel, facts: dict[str, str]
) -> None:
    """Writes the LoRA and the encoder with its hand modules or, merged, a whole pipeline with the LoRA beside it."""
    folder = Path(options.run.output_dir)
    plain = without_lora(models.text_encoder)
    base = options.models.pretrained_model_name_or_path
    assert base is not None  # the options have been checked
    if not options.lora.merge_lora:
        save_lora(folder, models.unet, models.text_encoder)
        save_model(plain, folder / "text_encoder")
        write_lora_card(folder, base, options.lora.rank, facts, _is_ours(base, options.models.revision))
        return
    save_lora(folder / LORA_FOLDER, models.unet, models.text_encoder)
    unet = load_image_models(options.models, options.schedule, options.images.resolution).unet  # in full precision
    merged = replace(models, unet=unet, text_encoder=plain)
    stage_1 = options.models.text_to_hand_params_dir
    pipeline = build_pipeline(options.validation, merged, body_model, stage_1).to("cpu")
    pipeline.load_lora_weights(folder / LORA_FOLDER)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(folder, safe_serialization=True, card=facts)


def _is_ours(base: str, revision: str | None) -> bool:
    """Whether the base model is a HanDiffuser pipeline."""
    if is_single_file(base):
        return False
    config = TextHandEncoder.load_config(base, subfolder="text_encoder", revision=revision)
    return config.get("_class_name") == "TextHandEncoder"
