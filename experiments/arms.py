"""The experiment: what do hands add to the image, and in which form? One command trains an arm, one evaluates it.

    python experiments/arms.py train ARM --train_data_dir train --output_dir runs/ARM --init_from runs/base
    python experiments/arms.py evaluate runs/ARM --data test --output_dir results/ARM
    python experiments/arms.py evaluate runs/ARM --data test --output_dir results/ARM-sampled --hands sampled
    python experiments/arms.py evaluate --own_pictures --data test --output_dir results/data --resolution 64
    python experiments/arms.py overlapping_hands overlapping --num 100 --size 64
    python experiments/arms.py report results/* -o report.md

All arms have the same data, VAE, U-Net, text tower, steps, batches, noise and initial weights, and differ in what
their name says alone; see README.md. Options that are not listed here are the trainer's
(`python -m diffusers_handiffuser.training.hand_params_to_image --help`) and have to be the same for all arms.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diffusers_handiffuser import MINI
from diffusers_handiffuser.models.text_hand_encoder import HAND_REPRESENTATIONS
from diffusers_handiffuser.training.engine.option_parser import option_values, read_json_object
from diffusers_handiffuser.training.engine.sources import open_rows
from diffusers_handiffuser.training.hand_params_to_image import trainer
from diffusers_handiffuser.utils.command_line import run_as_command

ARM_FILE = "arm.json"

RECIPE = {
    "--resolution": 64,
    "--max_train_steps": 800,
    "--train_batch_size": 16,
    "--learning_rate": 8e-4,
    "--lr_scheduler": "linear",
    "--lr_warmup_steps": 50,
    "--ema_decay": 0.998,
    "--prediction_type": "v_prediction",
    "--beta_schedule": "linear",
    "--beta_start": 1e-4,
    "--beta_end": 0.02,
    "--condition_dropout": 0.1,
    "--hand_dropout": 0.05,
    "--hand_loss_weight": 4,
    "--joint_loss_weight": 0.5,
    "--timestep_bias_strategy": "later",
    "--timestep_bias_portion": 0.5,
    "--timestep_bias_multiplier": 2,
    "--num_validation_rows": 0,
    "--checkpoints_total_limit": 1,
}
FLAGS = ("--use_ema", "--rescale_betas_zero_snr")
"""What all arms are trained with unless the command line says otherwise; the same for all of them."""

SHARED = (
    *("seed", "resolution", "max_train_steps", "max_train_minutes", "train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "lr_scheduler", "lr_warmup_steps", "use_ema", "ema_decay", "max_train_samples", "random_flip"),
    *("timestep_bias_strategy", "timestep_bias_portion", "timestep_bias_multiplier"),
    *("prediction_type", "beta_schedule", "beta_start", "beta_end", "rescale_betas_zero_snr", "snr_gamma"),
    *("condition_dropout", "hand_dropout", "hand_loss_weight", "joint_loss_weight", "joint_jitter"),
    *("mixed_precision", "num_validation_rows", "unet_config", "init_from", "pretrained_model_name_or_path"),
)
"""Options that have to be equal for a comparison; they are noted in `arm.json`, and the report checks them."""


@dataclass(frozen=True)
class Arm:
    """What an arm does differently.

    Args:
        name (`str`): on the command line.
        about (`str`): what the image is conditioned on, in words.
        encoder (`dict`): changes to the Text+Hand encoder's configuration.
        tells (`str`): `"states"` (cross-attention to hands), `"skeleton"` (a ControlNet) or `"nothing"`.
    """

    name: str
    about: str
    encoder: dict[str, Any] = field(default_factory=dict)
    tells: str = "states"


def _arms() -> list[Arm]:
    arms = [
        Arm("text", "text alone; hands are never told", tells="nothing"),
        Arm("controlnet", "text, and a picture of the skeleton through a ControlNet", tells="skeleton"),
        Arm("full", "the joint encoder with 2D joints, rotations and vertices"),
        Arm("concatenation", "as full, but joint tokens do not go through the text tower", {"joint_encoding": False}),
    ]
    for number in (1, 2):
        for kept in itertools.combinations(HAND_REPRESENTATIONS, number):
            about = f"as full, with {' and '.join(kept)} alone".replace("_", " ")
            arms.append(Arm("+".join(kept), about, {"hand_representations": kept}))
    return arms


ARMS = {arm.name: arm for arm in _arms()}
"""By name; `full` is the seventh combination of representations."""


def trainer_arguments(arm: Arm, options: Sequence[str]) -> list[str]:
    """The trainer's command line for an arm: the recipe, what the user changes, and what the arm is."""
    parser = argparse.ArgumentParser(prog="arms.py train", add_help=False, allow_abbrev=False)
    parser.add_argument("--text_encoder_config", type=read_json_object, default={})
    parser.add_argument("--text_only_steps")
    parser.add_argument("--pretrained_model_name_or_path")
    parser.add_argument("--pretrained_vae_model_name_or_path", default=f"{MINI}/vae")
    parser.add_argument("--tokenizer_name", default=f"{MINI}/tokenizer")
    known, others = parser.parse_known_args(options)
    if known.text_only_steps is not None or set(known.text_encoder_config) & {
        "hand_representations",
        "joint_encoding",
    }:
        parser.error("the arm decides --text_only_steps, hand_representations and joint_encoding")
    if known.pretrained_model_name_or_path is not None:
        start = ["--pretrained_model_name_or_path", known.pretrained_model_name_or_path]
    else:
        start = ["--pretrained_vae_model_name_or_path", known.pretrained_vae_model_name_or_path]
        start += ["--tokenizer_name", known.tokenizer_name]
    encoder = json.dumps({**known.text_encoder_config, **arm.encoder})
    recipe = [str(part) for pair in RECIPE.items() for part in pair]
    own = ["--text_encoder_config", encoder, "--text_only_steps", str(float(arm.tells == "nothing"))]
    return [*recipe, *FLAGS, *start, *others, *own]


def train(arm: Arm, options: Sequence[str]) -> None:
    """Trains an arm into `--output_dir`, where `arm.json` then says which one it is."""
    argv = trainer_arguments(arm, options)
    options = trainer.parse_args(argv)
    values = option_values(options)
    if options.data.streaming or options.images.no_cache or options.lora.train_method != "full":
        raise ValueError("the experiment trains whole models from cached rows: no --streaming, --no_cache or LoRA")
    if arm.tells == "skeleton":
        from skeleton_arm import train_with_skeletons

        train_with_skeletons(argv)
    else:
        trainer.main(argv)
    folder = Path(options.run.output_dir)
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    encoder = {name: value for name, value in options.models.text_encoder_config.items() if name not in arm.encoder}
    shared = {name: values[name] for name in SHARED}
    facts = {
        **asdict(arm),
        "shared": {**shared, "text_encoder_config": encoder, "data": open_rows(options.data).fingerprint},
        "steps": last["step"],
        "minutes": last["minutes"],
    }
    (folder / ARM_FILE).write_text(json.dumps(facts, indent=2) + "\n")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="experiments/arms.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("train", help="train an arm; further options are the trainer's")
    command.add_argument("arm", choices=ARMS)

    command = commands.add_parser("evaluate", help="draw an arm's images of a studio test set, and score them")
    command.add_argument("run", nargs="?", help="output folder of the arm's training")
    command.add_argument("--own_pictures", action="store_true", help="score the data's own images: the ceiling")
    command.add_argument("--resolution", type=int, help="own images: resized to this many pixels a side")
    command.add_argument("--data", type=Path, required=True, help="folder of a studio data set")
    command.add_argument("--output_dir", type=Path, required=True, help="for results.json and the images")
    command.add_argument("--num", type=int, default=200, help="the first rows")
    command.add_argument("--samples", type=int, default=2, help="per row")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--hands", choices=("own", "sampled"), default="own", help="of the rows, or stage 1's")
    command.add_argument("--stage_1", default=MINI, help="the pipeline whose stage 1 samples hands")
    command.add_argument("--steps", type=int, default=25)
    command.add_argument("--guidance_scale", type=float, default=2.0)
    command.add_argument("--batch_size", type=int, default=16, help="images at a time")
    command.add_argument("--device", default="cpu")
    command.add_argument("--detector", help="mediapipe, a .task file, or MODULE:FUNCTION: score what it finds, too")
    command.add_argument("--detector_python", help="a Python that has MediaPipe, if this one does not")

    command = commands.add_parser("overlapping_hands", help="make a studio test set of hands before one another")
    command.add_argument("folder", type=Path)
    command.add_argument("--num", type=int, default=100)
    command.add_argument("--size", type=int, default=128)
    command.add_argument("--seed", type=int, default=0)

    command = commands.add_parser("report", help="tables, a plot and an image grid of results")
    command.add_argument("results", nargs="+", type=Path, help="output folders of evaluate")
    command.add_argument("-o", "--output", type=Path, required=True, help="a .md file; .png files go beside it")
    command.add_argument("--columns", type=int, default=12, help="images per arm in the grid")

    for name in ("evaluate", "overlapping_hands", "report"):
        commands.choices[name].add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args, options = parser.parse_known_args(argv)
    if options and args.command != "train":
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    if args.command == "train":
        train(ARMS[args.arm], options)
    elif args.command == "evaluate":
        from arm_pictures import evaluate

        evaluate(args)
    elif args.command == "overlapping_hands":
        from overlapping_hands import make_overlapping_hands

        make_overlapping_hands(args.folder, args.num, args.size, args.seed)
    else:
        from arm_report import write_report

        write_report(args.results, args.output, list(ARMS), args.columns)


if __name__ == "__main__":
    run_as_command(main)
