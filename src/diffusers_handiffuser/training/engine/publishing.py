"""The end of a run: what its model card tells, and the way to the Hub."""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import create_repo
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled
from PIL import Image, ImageDraw

from ...hub.model_card import CARD_FILE, training_facts
from ...hub.saving import push_folder
from ...utils.atomic_files import atomic_write
from .run import TrainingRun
from .sources import data_name
from .tracking import LOG_NAME

CURVE_NAME, SAMPLES_NAME = "loss_curve.png", "samples.png"
_VERSIONS = ("torch", "diffusers", "transformers", "accelerate", "peft")


def open_repository(args: argparse.Namespace) -> None:
    """Makes the repository that the result will be pushed to, so that what is wrong shows before the training.

    Raises an `OSError` if the Hub refuses or cannot be reached.
    """
    if not args.push_to_hub:
        return
    try:
        create_repo(_repo_name(args), private=args.hub_private_repo or None, token=args.hub_token, exist_ok=True)
    except (HTTPError, OfflineModeIsEnabled, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"`push_to_hub`: cannot make the repository {_repo_name(args)!r}: {reason}") from error


def finish_run(
    run: TrainingRun,
    args: argparse.Namespace,
    trainer: str,
    argv: Sequence[str] | None,
    save: Callable[[Any, dict[str, str]], None],
) -> None:
    """Ends a run with its result in the output folder, a card that tells of the run, and the upload if it is wanted.

    Args:
        run (`TrainingRun`): done; is closed.
        args (`argparse.Namespace`): the trainer's options.
        trainer (`str`): its module.
        argv (`Sequence[str]`, *optional*): its command line; that of this process by default.
        save: called in the main process with the objective, as `whole_objective` gives it, and what the card is to
            tell; writes the result and its card.
    """
    with run.whole_objective() as whole:
        if whole is not None:
            facts = card_facts(args, trainer, sys.argv[1:] if argv is None else argv)
            (run.output_dir / CARD_FILE).unlink(missing_ok=True)  # of an earlier end of this run
            save(whole, facts)
            add_run_to_card(run)
            run.log({"saved": str(run.output_dir)})
            pushed = push_result(args)
            if pushed is not None:
                run.log({"pushed": pushed})
    run.close()


def push_result(args: argparse.Namespace) -> str | None:
    """Uploads the output folder, without checkpoints, logs and caches, if the options ask; returns where it is."""
    if not args.push_to_hub:
        return None
    return str(
        push_folder(
            args.output_dir,
            _repo_name(args),
            commit_message="End of training",
            private=args.hub_private_repo or None,
            token=args.hub_token,
        )
    )


def _repo_name(args: argparse.Namespace) -> str:
    return args.hub_model_id or Path(os.path.abspath(args.output_dir)).name


def card_facts(args: argparse.Namespace, trainer: str, arguments: Sequence[str]) -> dict[str, str]:
    """What the trainer knows for the card: base model, data, and its own command line without the token."""
    base_model = args.pretrained_model_name_or_path
    if base_model is not None and os.path.isfile(base_model):
        base_model = f"The checkpoint file `{Path(base_model).name}`."
    facts = training_facts(trainer, _without_token(arguments), data_name(args), base_model)
    if args.push_to_hub:
        facts["name"] = _repo_name(args)
    if args.dataset_name is not None and not os.path.exists(args.dataset_name):
        facts["training_data"] = f"[{args.dataset_name}](https://huggingface.co/datasets/{args.dataset_name})"
    return facts


def _without_token(arguments: Sequence[str]) -> list[str]:
    """The arguments but for `--hub_token TOKEN`, also if the name is shortened or joined by `=`."""
    kept, skip = [], False
    for argument in arguments:
        name, sign, _ = argument.partition("=")
        is_token = len(name) > len("--hub_") and "--hub_token".startswith(name)
        if not skip and not is_token:
            kept.append(argument)
        skip = is_token and not sign
    return kept


def add_run_to_card(run: TrainingRun) -> None:
    """Adds to the card in the output folder how the training went: sizes, versions, loss curve, last samples."""
    folder, rows = run.output_dir, run.order.num_rows
    facts = {
        "optimiser steps": run.step,
        "rows in a step": f"{run.step_batch} ({run.accelerator.num_processes} processes)",
        "rows seen": run.step * run.step_batch,
        "rows to train on": "a stream" if rows is None else rows,
        "hours": round(run.seconds / 3600, 2),
        "precision": run.accelerator.mixed_precision,
        "trained parameters": run.num_trained,
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else run.device.type,
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    lines = ["## Training run", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    losses = read_losses(folder / LOG_NAME)
    if len(losses) > 1:
        with atomic_write(folder / CURVE_NAME) as aside:
            draw_curve(losses).save(aside)
        lines += ["", f"![Loss at each line of the log]({CURVE_NAME})"]
    samples = sorted((folder / "samples").glob("*.png"))
    if samples:
        with atomic_write(folder / SAMPLES_NAME) as aside:
            shutil.copyfile(samples[-1], aside)
        lines += ["", f"![Validation samples of the last step]({SAMPLES_NAME})"]
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8").rstrip() + "\n\n" + "\n".join(lines) + "\n"
    with atomic_write(card) as aside:
        aside.write_text(text, encoding="utf-8")


def _versions() -> list[str]:
    found = []
    for name in ("diffusers_handiffuser", *_VERSIONS):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_losses(log: Path) -> dict[int, float]:
    """The loss by step. Of a step that a killed run had taken before it was resumed, the later line counts."""
    losses: dict[int, float] = {}
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # a line that a killed run did not finish
            continue
        if "resumed_from" in entry:
            losses = {step: loss for step, loss in losses.items() if step <= entry["step"]}
        if "loss" in entry:
            losses[entry["step"]] = entry["loss"]
    return losses


def draw_curve(values: dict[int, float], width: int = 640, height: int = 320) -> Image.Image:
    """A line through values over steps, with the ends of both axes told in numbers."""
    left, top, right, bottom = 70, 15, width - 15, height - 35
    steps, numbers = list(values), list(values.values())
    low, high = min(numbers), max(numbers)
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    draw.line([(left, top), (left, bottom), (right, bottom)], fill="black")
    points = [
        (
            left + (right - left) * (step - steps[0]) / max(steps[-1] - steps[0], 1),
            bottom - (bottom - top) * (number - low) / max(high - low, 1e-12),
        )
        for step, number in zip(steps, numbers, strict=True)
    ]
    draw.line(points, fill=(40, 90, 200), width=2)
    draw.text((5, top - 5), f"{high:.4g}", fill="black")
    draw.text((5, bottom - 8), f"{low:.4g}", fill="black")
    draw.text((left, bottom + 8), f"step {steps[0]}", fill="black")
    draw.text((right - 70, bottom + 8), f"{steps[-1]}", fill="black")
    return picture


LORA_CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
{base_entry}tags:
- diffusers
- handiffuser
- lora
- hands
---

# {name}

LoRA of rank {rank} for U-Net and text tower, and a Text+Hand encoder with the hand modules that were trained with it,
for `diffusers_handiffuser`, an open implementation of HanDiffuser (arXiv 2403.01693).

## Use

```python
from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder

encoder = TextHandEncoder.from_pretrained("{name}", subfolder="text_encoder")
pipe = HanDiffuserPipeline.{loader}("{base}", text_encoder=encoder)
pipe.load_lora_weights("{name}")
```

Without a stage 1 in the base (`text_to_hand_params=` of `from_stable_diffusion` brings one), hands have to be given as
`hand_params=`.

## Base model

{base_model}

## Training data

{training_data}

## Training command

```
{command}
```
"""


def write_lora_card(args: argparse.Namespace, facts: dict[str, str], base_is_ours: bool) -> None:
    """The card of a folder that holds a LoRA and the encoder that belongs to it."""
    base = args.pretrained_model_name_or_path
    on_hub = not os.path.exists(base)
    text = LORA_CARD.format(
        name=facts.get("name", "path/or/hub-id"),
        base=base if on_hub else "path/to/the/base/model",
        base_entry=f"base_model: {base}\n" if on_hub else "",
        loader="from_pretrained" if base_is_ours else "from_stable_diffusion",
        rank=args.rank,
        **{key: facts[key] for key in ("base_model", "training_data", "command")},
    )
    with atomic_write(Path(args.output_dir) / CARD_FILE) as aside:
        aside.write_text(text, encoding="utf-8")
