"""The end of a run: the result, its model card and the upload to the Hub."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import torch
from huggingface_hub import ModelCardData, create_repo
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

from ...hub.model_card import CARD_FILE, training_facts
from ...hub.saving import push_folder
from ...utils.atomic_files import atomic_write
from ...utils.messages import one_line_of
from ...utils.versions import installed_versions
from .options import DataOptions, HubOptions
from .run import TrainingRun
from .tracking import LOG_NAME

CURVE_NAME, SAMPLES_NAME = "loss_curve.png", "samples.png"
LORA_TEMPLATE = Path(__file__).with_name("lora_card.md")
_PACKAGES = ("diffusers_handiffuser", "torch", "diffusers", "transformers", "accelerate", "peft")


def open_repository(hub: HubOptions, output_dir: str) -> None:
    """Creates the repository that the result will be pushed to, so that errors appear before the training.

    Raises an `OSError` if the Hub refuses or cannot be reached.
    """
    if not hub.push_to_hub:
        return
    name = _repo_name(hub, output_dir)
    try:
        create_repo(name, private=hub.hub_private_repo or None, token=hub.hub_token, exist_ok=True)
    except (HTTPError, OfflineModeIsEnabled, ValueError) as error:
        raise OSError(f"`push_to_hub`: cannot make the repository {name!r}: {one_line_of(error)}") from error


def finish_run(
    run: TrainingRun,
    trainer: str,
    argv: Sequence[str] | None,
    save: Callable[[Any, dict[str, str]], None],
    *,
    data: DataOptions,
    hub: HubOptions,
    base_model: str | None,
) -> None:
    """Ends a run: saves the result with its card in the output folder, and uploads it if the options ask for it.

    Args:
        run (`TrainingRun`): finished; is closed here.
        trainer (`str`): its module.
        argv (`Sequence[str]`, *optional*): its command line; that of this process by default.
        save (callable): called in the main process with the objective, as `whole_objective` yields it, and the facts
            for the card; writes the result and its card.
        data (`DataOptions`): of the trainer.
        hub (`HubOptions`): of the trainer.
        base_model (`str`, *optional*): folder, file or Hub id that the weights come from; `None` if from nothing.
    """
    with run.whole_objective() as whole:
        if whole is not None:
            arguments = sys.argv[1:] if argv is None else argv
            facts = card_facts(trainer, arguments, data, base_model)
            if hub.push_to_hub:
                facts["name"] = _repo_name(hub, run.output_dir)
            (run.output_dir / CARD_FILE).unlink(missing_ok=True)  # of an earlier end of this run
            save(whole, facts)
            add_run_to_card(run)
            run.log({"saved": str(run.output_dir)})
            if hub.push_to_hub:
                run.log({"pushed": push_result(hub, run.output_dir)})
    run.close()


def push_result(hub: HubOptions, output_dir: str | os.PathLike) -> str:
    """Uploads the output folder, without checkpoints, logs and caches; returns its address."""
    return str(
        push_folder(
            output_dir,
            _repo_name(hub, output_dir),
            commit_message="End of training",
            private=hub.hub_private_repo or None,
            token=hub.hub_token,
        )
    )


def _repo_name(hub: HubOptions, output_dir: str | os.PathLike) -> str:
    return hub.hub_model_id or Path(os.path.abspath(output_dir)).name


def card_facts(
    trainer: str, arguments: Sequence[str], data: DataOptions, base_model: str | None = None
) -> dict[str, str]:
    """Facts for the card: base model, data, and the trainer's command line without the token."""
    if base_model is not None and os.path.isfile(base_model):
        base_model = f"The checkpoint file `{Path(base_model).name}`."
    facts = training_facts(trainer, _without_token(arguments), data.name, base_model)
    if data.dataset_name is not None and not os.path.exists(data.dataset_name):
        facts["training_data"] = f"[{data.dataset_name}](https://huggingface.co/datasets/{data.dataset_name})"
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
    """Appends to the card in the output folder: sizes, versions, loss curve and last samples of the run."""
    folder, rows = run.output_dir, run.order.num_rows
    versions = [f"{name} {version}" for name, version in installed_versions(_PACKAGES).items()]
    facts = {
        "optimiser steps": run.step,
        "rows in a step": f"{run.step_batch} ({run.accelerator.num_processes} processes)",
        "rows seen": run.step * run.step_batch,
        "rows to train on": "a stream" if rows is None else rows,
        "hours": round(run.seconds / 3600, 2),
        "precision": run.accelerator.mixed_precision,
        "trained parameters": run.num_trained,
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else run.device.type,
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }
    lines = ["## Training run", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    losses = read_losses(folder / LOG_NAME)
    if len(losses) > 1 and find_spec("matplotlib"):
        with atomic_write(folder / CURVE_NAME) as temporary:
            draw_curve(losses, temporary)
        lines += ["", f"![Loss at each line of the log]({CURVE_NAME})"]
    samples = sorted((folder / "samples").glob("*.png"))
    if samples:
        with atomic_write(folder / SAMPLES_NAME) as temporary:
            shutil.copyfile(samples[-1], temporary)
        lines += ["", f"![Validation samples of the last step]({SAMPLES_NAME})"]
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8").rstrip() + "\n\n" + "\n".join(lines) + "\n"
    with atomic_write(card) as temporary:
        temporary.write_text(text, encoding="utf-8")


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


def draw_curve(losses: dict[int, float], path: Path) -> None:
    """Writes a PNG of 640 x 320 pixels: losses over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(losses), list(losses.values()))
    axes.set(xlabel="step", ylabel="loss")
    figure.savefig(path, format="png", dpi=100)


def write_lora_card(output_dir: Path, base: str, rank: int, facts: dict[str, str], base_is_ours: bool) -> None:
    """Writes the card of a folder that holds a LoRA and the encoder that belongs to it."""
    on_hub = not os.path.exists(base)
    metadata = ModelCardData(
        library_name="diffusers",
        pipeline_tag="text-to-image",
        base_model=base if on_hub else None,
        tags=["diffusers", "handiffuser", "lora", "hands"],
    )
    text = Template(LORA_TEMPLATE.read_text(encoding="utf-8")).substitute(
        metadata=f"{metadata.to_yaml()}\n",
        name=facts.get("name", "path/or/hub-id"),
        base=base if on_hub else "path/to/the/base/model",
        loader="from_pretrained" if base_is_ours else "from_stable_diffusion",
        rank=rank,
        **{key: facts[key] for key in ("base_model", "training_data", "command")},
    )
    with atomic_write(output_dir / CARD_FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
