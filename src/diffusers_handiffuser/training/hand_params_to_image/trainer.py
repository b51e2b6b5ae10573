"""Trains stage 2: U-Net and Text+Hand encoder, from captions, hands and pictures.

From Stable Diffusion 1.x, as in the paper (everything but the VAE is trained):

    accelerate launch -m diffusers_handiffuser.training.hand_params_to_image --pretrained_model_name_or_path SD \\
        --train_data_dir DATA --output_dir OUT --resolution 512 --max_train_steps 100000 --use_ema

On a small GPU, LoRA for U-Net and text tower beside the hands' own modules:

    accelerate launch -m diffusers_handiffuser.training.hand_params_to_image --pretrained_model_name_or_path SD \\
        --train_method lora --rank 16 --mixed_precision bf16 --gradient_checkpointing --train_batch_size 1 \\
        --train_data_dir DATA --output_dir OUT --resolution 512 --max_train_steps 20000

From nothing, a small model:

    python -m diffusers_handiffuser.training.hand_params_to_image --pretrained_vae_model_name_or_path VAE/vae \\
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --use_ema \\
        --max_train_minutes 600

The VAE's latents and the hands' geometry are computed once and cached on disk: neither the VAE nor the body model
takes part in the training loop (`--no_cache` and `--streaming` compute them there). With `--text_to_hand_params_dir`,
`OUT` is a whole `HanDiffuserPipeline`; without it, one that needs `hand_params`. Of LoRA, `OUT` holds the weights for
`load_lora_weights` and the encoder; with `--merge_lora` it is a whole pipeline, too. See docs/training.md.
"""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import torch
from accelerate import Accelerator

from ...data.dataset import HandDataset
from ...hands import HandBodyModel
from ...hands.body_model import load_body_model
from ...models import TextHandEncoder
from ...pipelines.from_stable_diffusion import is_single_file
from ..engine.images import check_resolution
from ..engine.options import (
    add_data_options,
    add_hub_model_options,
    add_hub_options,
    add_training_options,
    check_training_options,
    json_option,
)
from ..engine.publishing import finish_run, open_repository, write_lora_card
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, count_training_rows, start_run
from ..engine.sources import cache_folder, open_rows, open_stream
from ..engine.weights import save_model
from .joint_head import new_joint_finder
from .lora import add_lora, cast_frozen, save_lora, without_lora
from .loss import ImageLoss, ImageObjective
from .models import ImageModels, build_pipeline, load_image_models, make_fast
from .rows import CachedRows, LiveRows, RowEncoder, StreamedRows, load_cached_rows, tokenize
from .validation import HeldOutRows, ImageValidation

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
LORA_FOLDER = "lora"
"""Where the LoRA lies beside a pipeline that it was merged into."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser()
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.pretrained_model_name_or_path is None:
        for name in ("pretrained_vae_model_name_or_path", "tokenizer_name"):
            if getattr(args, name) is None:
                parser.error(f"without --pretrained_model_name_or_path, --{name} is needed")
        if args.train_method == "lora":
            parser.error("--train_method lora needs --pretrained_model_name_or_path: it changes weights that are good")
    if args.merge_lora and args.train_method != "lora":
        parser.error("--merge_lora needs --train_method lora")
    if args.rank < 1:
        parser.error(f"--rank must be at least 1, but is {args.rank}")
    if args.cache_only and (args.no_cache or args.streaming):
        parser.error("--cache_only makes caches, which --no_cache and --streaming do without")
    if args.validation_prompts and args.text_to_hand_params_dir is None:
        parser.error("--validation_prompts needs --text_to_hand_params_dir")
    if not hasattr(diffusers, args.inference_scheduler):
        parser.error(f"--inference_scheduler: diffusers has no {args.inference_scheduler}")
    for name in ("hand_loss_weight", "joint_loss_weight", "palm_loss_weight"):
        if getattr(args, name) < 0:
            parser.error(f"--{name} must not be negative, but is {getattr(args, name)}")
    if args.palm_loss_weight > 0 and args.joint_loss_weight == 0:
        parser.error("--palm_loss_weight needs --joint_loss_weight: it is asked at the joints that this one finds")
    if args.balance_timesteps and args.snr_gamma is not None:
        parser.error("--balance_timesteps and --snr_gamma both weigh the timesteps: choose one")
    if args.timestep_bias_multiplier <= 0:
        parser.error(f"--timestep_bias_multiplier must be positive, but is {args.timestep_bias_multiplier}")
    for name in ("condition_dropout", "hand_dropout", "text_only_steps", "timestep_bias_portion"):
        if not 0 <= getattr(args, name) <= 1:
            parser.error(f"--{name} must lie in [0, 1], but is {getattr(args, name)}")
    return args


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.hand_params_to_image",
        description="Train stage 2: text and hands to a picture (U-Net and Text+Hand encoder).",
    )
    add_data_options(parser, streaming=True)
    add_training_options(parser, checkpointing_steps=1000)
    add_hub_options(parser)
    _add_model_options(parser)
    _add_condition_options(parser)
    _add_diffusion_options(parser)
    _add_result_options(parser)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to start from")
    group.add_argument(
        "--pretrained_model_name_or_path",
        help="Stable Diffusion 1.x or HanDiffuser pipeline: a folder, a Hub id, or a single .safetensors or .ckpt "
        "file; without it, models start from nothing",
    )
    add_hub_model_options(group)
    group.add_argument(
        "--single_file_config",
        help="for a single file: folder or Hub id with the configs of such a pipeline (default: as diffusers finds "
        "them on the Hub)",
    )
    group.add_argument("--pretrained_vae_model_name_or_path", help="another VAE: its folder, or one with vae/ inside")
    group.add_argument("--tokenizer_name", help="another tokenizer: its folder")
    group.add_argument(
        "--unet_config",
        type=json_option,
        default={},
        help="JSON (or file): changes to the small U-Net's configuration",
    )
    group.add_argument(
        "--text_encoder_config", type=json_option, default={}, help="the same for the Text+Hand encoder"
    )
    group.add_argument(
        "--init_from",
        help="take the weights (only) of unet/ and text_encoder/, or of the one that this folder holds; of a "
        "checkpoint, the averaged ones; a U-Net for smaller latents becomes the inside of a larger one",
    )
    group.add_argument("--body_model", help="SMPL-H file (default: the body that ships with the package)")
    group.add_argument(
        "--text_to_hand_params_dir", help="output of stage 1 (folder or Hub id), to make a whole pipeline"
    )
    group.add_argument(
        "--train_method",
        choices=("full", "lora"),
        default="full",
        help="full: all of U-Net and encoder, as in the paper; lora: low-rank updates, and the hand modules fully",
    )
    group.add_argument("--rank", type=int, default=4, help="lora: rank of the updates")
    group.add_argument(
        "--merge_lora",
        action="store_true",
        help="lora: also write a whole pipeline with the updates merged into its weights; the LoRA goes to lora/",
    )


def _add_condition_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures and conditions")
    group.add_argument("--resolution", type=int, default=512, help="pictures are resized to this many pixels a side")
    group.add_argument(
        "--random_flip",
        action="store_true",
        help="also train on mirrored rows: picture, hands and the words left/right",
    )
    group.add_argument(
        "--encode_batch_size", type=int, default=16, help="pictures per batch when latents are computed"
    )
    group.add_argument(
        "--cache_on_device", action="store_true", help="keep all latents and geometry in the memory of the device"
    )
    group.add_argument("--no_cache", action="store_true", help="compute latents and geometry in the loop")
    group.add_argument("--cache_only", action="store_true", help="make the caches and stop")
    group.add_argument("--validation_split", help="hold out the first rows of this split, not the last of the data")
    group.add_argument(
        "--condition_dropout", type=float, default=0.1, help='part of the rows that get "" and no hands, for guidance'
    )
    group.add_argument(
        "--hand_dropout", type=float, default=0.05, help="part of the rows that keep their caption but get no hands"
    )
    group.add_argument(
        "--text_only_steps",
        type=float,
        default=0.0,
        help="part of the steps that use the caption's 77 states alone, what hand_conditioning_scale=0 samples with",
    )
    group.add_argument(
        "--joint_jitter",
        type=float,
        default=0.0,
        help="standard deviation of noise on the 2D joints, in units of half a picture; each row gets 0 to 1 times it",
    )


def _add_diffusion_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("diffusion")
    group.add_argument(
        "--prediction_type",
        choices=("epsilon", "v_prediction"),
        help="default: the pretrained scheduler's, or epsilon",
    )
    group.add_argument("--beta_schedule", help="default: the pretrained scheduler's, or scaled_linear")
    group.add_argument("--beta_start", type=float, help="default: the pretrained scheduler's, or 0.00085")
    group.add_argument("--beta_end", type=float, help="default: the pretrained scheduler's, or 0.012")
    group.add_argument(
        "--rescale_betas_zero_snr", action="store_true", help="zero terminal SNR (Lin et al. 2023); needs v_prediction"
    )
    group.add_argument("--snr_gamma", type=float, help="min-SNR loss weights (Hang et al. 2023); 5.0 is recommended")
    group.add_argument(
        "--balance_timesteps",
        action="store_true",
        help="every range of timesteps counts about the same in the loss, by running means of it; otherwise the "
        "noisiest ones, where most is left to chance, drown those where details are drawn, most so in a small model",
    )
    group.add_argument(
        "--hand_loss_weight",
        type=float,
        default=0.0,
        help="the loss counts 1 + this times as much on the joints of visible hands (fading out within two latent "
        "positions); fingers are few of a picture's pixels. 0: the same everywhere, as in the paper",
    )
    group.add_argument(
        "--joint_loss_weight",
        type=float,
        default=0.0,
        help="the U-Net's features and the states of joints also learn where every joint of a visible hand is, this "
        "times the cross-entropies over the latent positions and along x and y (layers that are dropped at the end "
        "read it from them); a U-Net that starts from nothing else takes long to bind joints to their places. "
        "0: not at all, as in the paper; 0.1",
    )
    group.add_argument(
        "--palm_loss_weight",
        type=float,
        default=0.0,
        help="with --joint_loss_weight: at those joints the features also learn whether palm or back of the hand is "
        "seen, this times the cross-entropy; the two differ by little of a picture, which is learned late. 0: not at "
        "all, as in the paper",
    )
    group.add_argument("--noise_offset", type=float, default=0.0)
    group.add_argument(
        "--input_perturbation", type=float, default=0.0, help="more noise in the latents than in the target; 0.1"
    )
    group.add_argument(
        "--timestep_bias_strategy",
        choices=("none", "later", "earlier"),
        default="none",
        help="draw the noisiest (later) or the cleanest (earlier) steps more often; what a caption says of the whole "
        "picture is learned at the noisiest",
    )
    group.add_argument("--timestep_bias_multiplier", type=float, default=1.0, help="how many times as often")
    group.add_argument("--timestep_bias_portion", type=float, default=0.25, help="the part of the steps that is meant")


def _add_result_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("validation and result")
    group.add_argument("--validation_prompts", nargs="+", help="sampled through both stages; needs the stage-1 folder")
    group.add_argument(
        "--num_validation_images", type=int, default=8, help="pictures of held-out rows, with their hands"
    )
    group.add_argument("--inference_scheduler", default="DPMSolverMultistepScheduler", help="diffusers class to save")
    group.add_argument("--default_num_inference_steps", type=int, help="saved with the pipeline, used in validation")
    group.add_argument("--default_guidance_scale", type=float, help="saved with the pipeline, used in validation")
    group.add_argument("--default_num_hand_inference_steps", type=int, help="saved with the pipeline")
    group.add_argument("--default_hand_guidance_scale", type=float, help="saved with the pipeline")


def open_data(
    args: argparse.Namespace, accelerator: Accelerator, models: ImageModels, body_model: HandBodyModel
) -> tuple[CachedRows | LiveRows | StreamedRows, int | None, HeldOutRows | None]:
    """(Batches to train on, how many rows there are or None for a stream, rows held out or None).

    The last rows are held out, or with `--validation_split` the first ones of another split.
    """
    dataset = None if args.streaming else open_rows(args, need_images=True)
    parts = (models.vae, models.tokenizer, models.text_encoder, body_model)
    check_resolution(args.resolution, models.vae)

    def live(rows: HandDataset) -> LiveRows:
        return LiveRows(rows, row_encoder(), args.resolution, args.dataloader_num_workers)

    @functools.cache
    def row_encoder() -> RowEncoder:
        return RowEncoder(*parts, accelerator.device, HALF.get(accelerator.mixed_precision, torch.float32))

    source: CachedRows | LiveRows | StreamedRows
    if dataset is None:
        stream = open_stream(args, args.seed, accelerator.process_index, accelerator.num_processes, need_images=True)
        source = StreamedRows(stream, row_encoder(), args.resolution, args.dataloader_num_workers, accelerator)
    elif args.no_cache:
        source = live(dataset)
    else:
        source = load_cached_rows(
            args, cache_folder(args, args.output_dir), args.dataloader_num_workers, dataset, *parts, accelerator
        )
    if args.validation_split is not None:
        other = open_rows(args, True, args.validation_split)
        held_out = HeldOutRows(other, np.arange(len(other)), live(other))
        return source, None if dataset is None else len(dataset), held_out
    if dataset is None or isinstance(source, StreamedRows):
        return source, None, None
    num_train = count_training_rows(len(dataset), args.num_validation_rows)
    return source, num_train, HeldOutRows(dataset, np.arange(num_train, len(dataset)), source)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args, find_unused_parameters=args.text_only_steps > 0 or args.joint_loss_weight > 0)
    if accelerator.is_main_process:
        open_repository(args, args.output_dir)
    torch.manual_seed(args.seed)
    models, body_model = load_image_models(args), load_body_model(args.body_model)
    make_fast(models.unet, accelerator)
    source, num_train, held_out = open_data(args, accelerator, models, body_model)
    if args.cache_only:
        accelerator.end_training()
        return
    if args.train_method == "lora":
        add_lora(models.unet, models.text_encoder, args.rank)
        if accelerator.mixed_precision in HALF:  # the encoder is saved, and stays as it is
            cast_frozen(models.unet, HALF[accelerator.mixed_precision])

    trained: dict[str, torch.nn.Module] = {"unet": models.unet, "text_encoder": models.text_encoder}
    joint_finder = None
    if args.joint_loss_weight > 0:
        joint_finder = trained["joint_finder"] = new_joint_finder(models.unet, args.palm_loss_weight > 0)
    objective = ImageObjective(models.unet, models.text_encoder, joint_finder)
    loss = ImageLoss(args, models.noise_scheduler, tokenize(models.tokenizer, [""]), accelerator.device)
    loss.keep_in_checkpoints(accelerator)
    run = TrainingRun(args, accelerator, objective, trained, num_train, whole=args.train_method == "full")
    validation = ImageValidation(args, run, models, body_model, loss, held_out)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if args.random_flip else None
        return loss(run.objective, source.batch(rows, mirror, run.following_rows), random)

    run.train(compute_loss, validation)

    def save(whole: ImageObjective, facts: dict[str, str]) -> None:
        result = replace(models, unet=whole.unet.eval(), text_encoder=whole.text_encoder.eval())
        (save_pipeline if args.train_method == "full" else save_lora_result)(args, result, body_model, facts)

    base_model = args.pretrained_model_name_or_path
    finish_run(run, "hand_params_to_image", argv, save, data=args, hub=args, base_model=base_model)


def save_pipeline(
    args: argparse.Namespace, models: ImageModels, body_model: HandBodyModel, facts: dict[str, str]
) -> None:
    """Writes the pipeline with its card."""
    pipeline = build_pipeline(args, models, body_model)
    pipeline.save_pretrained(args.output_dir, safe_serialization=True, card=facts)


def save_lora_result(
    args: argparse.Namespace, models: ImageModels, body_model: HandBodyModel, facts: dict[str, str]
) -> None:
    """Writes the LoRA and the encoder with its hand modules or, merged, a whole pipeline with the LoRA beside it."""
    folder = Path(args.output_dir)
    plain = without_lora(models.text_encoder)
    if not args.merge_lora:
        save_lora(folder, models.unet, models.text_encoder)
        save_model(plain, folder / "text_encoder")
        write_lora_card(folder, args.pretrained_model_name_or_path, args.rank, facts, base_is_ours=_is_ours(args))
        return
    save_lora(folder / LORA_FOLDER, models.unet, models.text_encoder)
    fresh = load_image_models(args)  # the U-Net in full precision
    pipeline = build_pipeline(args, replace(models, unet=fresh.unet, text_encoder=plain), body_model).to("cpu")
    pipeline.load_lora_weights(folder / LORA_FOLDER)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(folder, safe_serialization=True, card=facts)


def _is_ours(args: argparse.Namespace) -> bool:
    """Whether the base model is a HanDiffuser pipeline."""
    if is_single_file(args.pretrained_model_name_or_path):
        return False
    config = TextHandEncoder.load_config(
        args.pretrained_model_name_or_path, subfolder="text_encoder", revision=args.revision
    )
    return config.get("_class_name") == "TextHandEncoder"
