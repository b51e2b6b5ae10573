"""Command-line options that the trainers share, under the names they have in diffusers' `train_text_to_image.py`."""

import argparse
import json
from pathlib import Path
from typing import Any

LR_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "constant_with_decay",
)


def add_data_options(parser: argparse.ArgumentParser, streaming: bool = False) -> None:
    """Which data set; with `streaming`, also how to read one that is not to be downloaded as a whole."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset_name",
        help="data set of the Hub, or anything `diffusers_handiffuser.data.open_dataset` takes: a folder, Parquet "
        "files, .tar shards",
    )
    group.add_argument("--dataset_config_name", help="which configuration of a data set of the Hub that has several")
    group.add_argument("--dataset_revision", help="branch, tag or commit of a data set of the Hub")
    group.add_argument("--train_data_dir", help="folder with a metadata.jsonl (and its pictures), or with shards")
    group.add_argument("--train_split", default="train", help="the split of the data set that is trained on")
    group.add_argument("--max_train_samples", type=int, help="use only the first rows")
    group.add_argument("--num_validation_rows", type=int, default=32, help="the last rows are held out for validation")
    group.add_argument(
        "--cache_dir",
        help="where pictures, latents and geometry are cached (default: .cache inside the data folder; for data that "
        "are no folder, inside the output folder)",
    )
    group.add_argument(
        "--max_row_bytes", type=int, default=2**28, help="refuse larger rows of .tar shards, pictures included"
    )
    group.add_argument(
        "--dataloader_num_workers", type=int, default=0, help="threads that decode pictures besides the main one"
    )
    if streaming:
        group.add_argument(
            "--streaming", action="store_true", help="read from front to back, with nothing downloaded or cached"
        )
        group.add_argument(
            "--shuffle_buffer", type=int, default=1000, help="streaming: rows that are shuffled together"
        )


def add_hub_model_options(group: Any) -> None:
    """Which files of the model that `--pretrained_model_name_or_path` names; `group` is a parser's."""
    group.add_argument("--revision", help="revision of the Hub model")
    group.add_argument("--variant", help='variant of the model files, e.g. "fp16"')


def add_training_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Options of `run.TrainingRun`; `defaults` overrides default values by option name."""
    group = parser.add_argument_group("training")
    group.add_argument("--output_dir", required=True, help="checkpoints, log.jsonl, sample pictures and the result")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--train_batch_size", type=int, default=32, help="rows per process and forward pass")
    group.add_argument("--gradient_accumulation_steps", type=int, default=1)
    group.add_argument("--max_train_steps", type=int, help="optimiser steps in all")
    group.add_argument("--num_train_epochs", type=int, help="the length in passes over the data instead of steps")
    group.add_argument(
        "--max_train_minutes",
        type=float,
        help="stop after this time (summed over resumed runs) and save; if alone, the rate decays over it",
    )
    group.add_argument("--checkpointing_steps", type=int, default=500)
    group.add_argument("--checkpoints_total_limit", type=int)
    group.add_argument("--resume_from_checkpoint", help='a checkpoint folder, or "latest"')
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    _add_optimizer_options(parser)
    _add_hardware_options(parser)
    _add_report_options(parser)
    parser.set_defaults(**defaults)


def _add_optimizer_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimiser and average")
    group.add_argument("--learning_rate", type=float, default=1e-4)
    group.add_argument(
        "--scale_lr", action="store_true", help="multiply the rate by processes, accumulation steps and batch size"
    )
    group.add_argument("--lr_scheduler", choices=LR_SCHEDULERS, default="constant_with_warmup")
    group.add_argument("--lr_warmup_steps", type=int, default=500)
    group.add_argument("--lr_num_cycles", type=int, default=1, help="cosine_with_restarts: number of restarts")
    group.add_argument("--lr_power", type=float, default=1.0, help="polynomial: its power")
    group.add_argument(
        "--lr_decay_fraction",
        type=float,
        default=0.2,
        help="constant_with_decay: the last part of the run, in which the rate falls linearly to zero",
    )
    group.add_argument("--use_8bit_adam", action="store_true", help="8-bit AdamW of bitsandbytes")
    group.add_argument("--adam_beta1", type=float, default=0.9)
    group.add_argument("--adam_beta2", type=float, default=0.999)
    group.add_argument("--adam_weight_decay", type=float, default=1e-2)
    group.add_argument("--adam_epsilon", type=float, default=1e-8)
    group.add_argument("--max_grad_norm", type=float, default=1.0)
    group.add_argument("--use_ema", action="store_true", help="average the weights; the average is the result")
    group.add_argument("--ema_decay", type=float, default=0.9999, help="reached gradually: (1 + step) / (10 + step)")
    group.add_argument("--offload_ema", action="store_true", help="keep the average in the memory of the CPU")


def _add_hardware_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("hardware")
    group.add_argument(
        "--mixed_precision", choices=("no", "fp16", "bf16"), help="default: what `accelerate launch` was told, or no"
    )
    group.add_argument("--gradient_checkpointing", action="store_true")
    group.add_argument(
        "--enable_xformers_memory_efficient_attention", action="store_true", help="needs xformers and a CUDA device"
    )
    group.add_argument("--allow_tf32", action="store_true")
    group.add_argument("--num_threads", type=int, help="CPU threads (default: torch's)")
    group.add_argument("--use_cpu", action="store_true", help="stay on the CPU although there is an accelerator")


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reports")
    group.add_argument("--logging_steps", type=int, default=50)
    group.add_argument("--validation_steps", type=int, help="sample pictures and numbers every so many steps")
    group.add_argument("--validation_epochs", type=int, help="the same in passes over the data")
    group.add_argument(
        "--report_to",
        help='"tensorboard", "wandb", another tracker of accelerate, or "all" (default: log.jsonl alone)',
    )
    group.add_argument("--tracker_project_name", default="handiffuser")
    group.add_argument("--logging_dir", default="logs", help="of TensorBoard, inside the output folder")


def add_hub_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Hub")
    group.add_argument("--push_to_hub", action="store_true", help="upload the result with a filled model card")
    group.add_argument("--hub_model_id", help="default: the name of the output folder, under your name")
    group.add_argument("--hub_token", help="default: that of `hf auth login` or HF_TOKEN")
    group.add_argument("--hub_private_repo", action="store_true", help="make the repository private, if it is new")


def check_training_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses option values that could only fail later."""
    if hasattr(args, "train_data_dir"):
        _check_data_options(parser, args)
    for part in ("run", "optimizer", "ema", "hardware", "checkpoints", "tracking"):
        setattr(args, part, args)
    args.name = getattr(args, "dataset_name", None) or getattr(args, "train_data_dir", None)
    if args.max_train_steps is None and args.num_train_epochs is None and args.max_train_minutes is None:
        parser.error("one of --max_train_steps, --num_train_epochs and --max_train_minutes is needed")
    for name in ("train_batch_size", "gradient_accumulation_steps", "checkpointing_steps", "logging_steps"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, but is {getattr(args, name)}")
    positive = ("max_train_steps", "num_train_epochs", "max_train_minutes", "checkpoints_total_limit", "num_threads")
    for name in (*positive, "validation_steps", "validation_epochs", "lr_num_cycles"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            parser.error(f"--{name} must be positive, but is {value}")
    if args.lr_warmup_steps < 0:
        parser.error(f"--lr_warmup_steps must not be negative, but is {args.lr_warmup_steps}")
    if not 0 <= args.ema_decay < 1:
        parser.error(f"--ema_decay must lie in [0, 1), but is {args.ema_decay}")
    if args.offload_ema and not args.use_ema:
        parser.error("--offload_ema needs --use_ema")


def _check_data_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.train_data_dir is None and args.dataset_name is None:
        parser.error("one of --train_data_dir and --dataset_name is needed")
    for name in ("dataloader_num_workers", "num_validation_rows"):
        if getattr(args, name) < 0:
            parser.error(f"--{name} must not be negative, but is {getattr(args, name)}")
    if getattr(args, "streaming", False):
        for name in ("num_train_epochs", "validation_epochs", "max_train_samples"):
            if getattr(args, name) is not None:
                parser.error(f"--streaming does not know the number of rows: --{name} means nothing to it")


def json_option(text: str) -> dict:
    """argparse type: a JSON object, inline or as the path of a file."""
    try:
        value = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"neither a JSON object nor a readable JSON file: {text} ({error})"
        ) from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, but is a {type(value).__name__}: {text}")
    return value
