"""Command-line options that the trainers share, under the names they have in diffusers' `train_text_to_image.py`."""

import argparse
import json
from pathlib import Path

LR_SCHEDULERS = ("constant", "constant_with_warmup", "linear", "cosine", "constant_with_decay")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--train_data_dir", required=True, help="folder with a metadata.jsonl (and its pictures)")
    group.add_argument("--max_train_samples", type=int, help="use only the first rows")
    group.add_argument(
        "--num_validation_rows", type=int, default=32, help="the last rows of the folder are held out for validation"
    )
    group.add_argument(
        "--cache_dir", help="where pictures, latents and geometry are cached (default: .cache inside the data folder)"
    )


def add_training_options(parser: argparse.ArgumentParser, **defaults) -> None:
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
    group.add_argument("--learning_rate", type=float, default=1e-4)
    group.add_argument("--lr_scheduler", choices=LR_SCHEDULERS, default="constant_with_warmup")
    group.add_argument("--lr_warmup_steps", type=int, default=500)
    group.add_argument(
        "--lr_decay_fraction",
        type=float,
        default=0.2,
        help="constant_with_decay: the last part of the run, in which the rate falls linearly to zero",
    )
    group.add_argument("--adam_beta1", type=float, default=0.9)
    group.add_argument("--adam_beta2", type=float, default=0.999)
    group.add_argument("--adam_weight_decay", type=float, default=1e-2)
    group.add_argument("--adam_epsilon", type=float, default=1e-8)
    group.add_argument("--max_grad_norm", type=float, default=1.0)
    group.add_argument("--mixed_precision", choices=("no", "fp16", "bf16"), default="no")
    group.add_argument("--gradient_checkpointing", action="store_true")
    group.add_argument("--allow_tf32", action="store_true")
    group.add_argument("--use_ema", action="store_true")
    group.add_argument("--ema_decay", type=float, default=0.9999, help="reached gradually: (1 + step) / (10 + step)")
    group.add_argument("--checkpointing_steps", type=int, default=500)
    group.add_argument("--checkpoints_total_limit", type=int)
    group.add_argument("--resume_from_checkpoint", help='a checkpoint folder, or "latest"')
    group.add_argument("--validation_steps", type=int, help="sample pictures and numbers every so many steps")
    group.add_argument("--logging_steps", type=int, default=50)
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group.add_argument("--num_threads", type=int, help="CPU threads (default: torch's)")
    group.add_argument("--use_cpu", action="store_true", help="stay on the CPU although there is an accelerator")
    parser.set_defaults(**defaults)


def check_training_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses option values that could only fail later."""
    if args.max_train_steps is None and args.num_train_epochs is None and args.max_train_minutes is None:
        parser.error("one of --max_train_steps, --num_train_epochs and --max_train_minutes is needed")
    for name in ("train_batch_size", "gradient_accumulation_steps", "checkpointing_steps", "logging_steps"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, but is {getattr(args, name)}")
    for name in ("max_train_steps", "num_train_epochs", "max_train_minutes", "checkpoints_total_limit", "num_threads"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            parser.error(f"--{name} must be positive, but is {value}")
    if not 0 <= args.ema_decay < 1:
        parser.error(f"--ema_decay must lie in [0, 1), but is {args.ema_decay}")


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
