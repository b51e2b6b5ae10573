"""The model card (README.md) of saved and pushed checkpoints, filled from the model and its author's facts.

Facts that the checkpoint does not hold come from its author, as `card=` of `save_pretrained` and `push_to_hub`. The
card says which of them were not given.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import torch
from huggingface_hub import ModelCardData

from ..utils.atomic_files import atomic_write
from ..utils.messages import INSTALL

CARD_FILE = "README.md"
TEMPLATE_FILE = Path(__file__).with_suffix(".md")

CARD_FACTS = {
    "name": "the name on the Hub, or any title",
    "license": "identifier of the weights' licence, as the Hub spells it (`apache-2.0`, `creativeml-openrail-m`)",
    "base_model": "what the training started from: a Hub id, or words",
    "body_license": "licence of a body of your own",
    "training_data": "what it was trained on",
    "command": "the commands that made it",
    "limits": "what it cannot do",
}
"""Keys of `card=`, and what they mean."""

_GENERAL_LIMITS = (
    "Of every HanDiffuser checkpoint: hands are sampled for one person in the image, and its numbers cannot be "
    "compared with those of the paper (arXiv 2403.01693), which had other data."
)


def write_model_card(
    folder: str | os.PathLike, model: Any, facts: Mapping[str, str] | None = None, subfolder: str | None = None
) -> None:
    """Writes the card of a pipeline or model into a folder, unless the folder has one.

    Without facts, a pipeline that was loaded from a folder with a card, and in which no model was replaced, keeps that
    card. Fine-tuned models need their facts given anew.

    Args:
        folder (`str` or `os.PathLike`): created if it does not exist.
        model: a pipeline or model of this package.
        facts (`Mapping[str, str]`, *optional*): see `CARD_FACTS`.
        subfolder (`str`, *optional*): the model's folder below the card.
    """
    path = Path(folder) / CARD_FILE
    facts = _checked(facts or {})
    if path.exists():
        return
    text = None if facts else _loaded_card(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text or render_model_card(model, facts, subfolder), encoding="utf-8")


def training_facts(
    module: str, arguments: Sequence[str], data: str | os.PathLike, base_model: str | None = None
) -> dict[str, str]:
    """Card facts that a trainer knows about its result. Local folders appear by name only.

    Args:
        module (`str`): the trainer's module within `diffusers_handiffuser.training`.
        arguments (`Sequence[str]`): its command-line arguments.
        data (`str` or `os.PathLike`): folder of the data set.
        base_model (`str`, *optional*): folder or Hub id of the initial weights; `None` if trained from scratch.
    """
    shown = [_without_place(argument) for argument in arguments]
    if base_model is not None and os.path.isdir(base_model):
        base_model = f"The pipeline in a folder `{Path(base_model).name}`."
    return {
        "base_model": base_model or "None: trained from nothing.",
        "training_data": f"The data set in a folder `{Path(data).name}`.",
        "command": shlex.join(["python", "-m", f"diffusers_handiffuser.training.{module}", *shown]),
    }


def _without_place(argument: str) -> str:
    """A command-line argument with a path outside the working folder reduced to its name; `--option=PATH` too."""
    option, sign, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    elsewhere = os.path.isabs(value) or value.startswith(("~", ".."))
    return f"{option}{sign}{Path(value).name}" if elsewhere else argument


def render_model_card(model: Any, facts: Mapping[str, str] | None = None, subfolder: str | None = None) -> str:
    """The text of the card; the arguments are those of `write_model_card`."""
    facts = _checked(facts or {})
    is_pipeline = hasattr(model, "components")
    body = getattr(model, "body_model", None) if is_pipeline else model
    name = facts.get("name", "path/or/hub-id")
    usage = _pipeline_usage(model, name, subfolder) if is_pipeline else _model_usage(model, name, subfolder)
    return Template(TEMPLATE_FILE.read_text(encoding="utf-8")).substitute(
        metadata=_metadata(facts, is_pipeline),
        title=facts.get("name", type(model).__name__),
        introduction=_introduction(model, is_pipeline),
        usage="\n".join([f"# {INSTALL}", *usage]),
        base_model=facts.get("base_model", "Not given by the author."),
        body=_body(body, facts) if is_pipeline or hasattr(body, "full_mesh") else "None belongs to this model.",
        training_data=facts.get("training_data", "Not given by the author."),
        command=f"```\n{facts['command']}\n```" if "command" in facts else "Not given by the author.",
        limits=f"{facts.get('limits', 'Those of this checkpoint were not given by the author.')}\n\n{_GENERAL_LIMITS}",
        license=facts.get("license", "The licence of the weights was not given by the author."),
    )


def _model_usage(model: Any, name: str, subfolder: str | None) -> list[str]:
    class_name = type(model).__name__
    place = f'"{name}", subfolder="{subfolder}"' if subfolder else f'"{name}"'
    return [
        f"from diffusers_handiffuser import {class_name}",
        "",
        f"model = {class_name}.from_pretrained({place})",
    ]


def _pipeline_usage(pipeline: Any, name: str, subfolder: str | None) -> list[str]:
    class_name, body = type(pipeline).__name__, pipeline.body_model
    imports, arguments = [class_name], [f'"{name}"']
    if subfolder:  # diffusers loads models from there, but no pipelines
        arguments = [f'snapshot_download("{name}") + "/{subfolder}"']
    if body is not None and body.config.licensed:
        imports.append("HandBodyModel")
        arguments.append("body_model=HandBodyModel.from_smplh(PATH)")
    lines = [
        f"from diffusers_handiffuser import {', '.join(imports)}",
        *(["from huggingface_hub import snapshot_download"] if subfolder else []),
        "",
        f"pipe = {class_name}.from_pretrained({', '.join(arguments)})",
    ]
    if pipeline.unet is None:
        lines.append('hands = pipe.sample_hand_params("a right hand making a peace sign")')
    elif class_name == "HanDiffuserPipeline":
        lines.append('image = pipe("a right hand making a peace sign").images[0]')
    return lines


def _metadata(facts: Mapping[str, str], is_pipeline: bool) -> str:
    """The YAML block at the top, which the Hub reads."""
    base_model = facts.get("base_model", "")
    return ModelCardData(
        license=facts.get("license", "unknown"),
        library_name="diffusers",
        pipeline_tag="text-to-image" if is_pipeline else None,
        base_model=base_model if re.fullmatch(r"[\w.-]+/[\w.-]+", base_model) else None,
        tags=["diffusers", "handiffuser", "hands", "smpl-h"],
    ).to_yaml()


def _introduction(model: Any, is_pipeline: bool) -> str:
    made_for = "`diffusers_handiffuser`, an open implementation of HanDiffuser (arXiv 2403.01693)"
    if not is_pipeline:
        return f"A `{type(model).__name__}` for {made_for}."
    stages = {
        "from text to 3D hands": model.text_to_hand_params is not None,
        "from text and hands to an image": model.unet is not None,
    }
    there = ", then ".join(name for name, present in stages.items() if present)
    missing = "".join(f" It has no stage {name}." for name, present in stages.items() if not present)
    return (
        f"A pipeline for {made_for}: {there}.{missing}\n\n"
        "With diffusers' own class, `import diffusers_handiffuser` has to come first; a repository with loader code "
        "(`pipeline.py`) takes `trust_remote_code=True` instead."
    )


def _body(body: Any, facts: Mapping[str, str]) -> str:
    if body is None:
        return "None is stored; `body_model=` has to be given to draw hands."
    config = body.config
    if config.licensed:
        return (
            "An SMPL-H body under its owners' licence (non-commercial, not to be passed on). It is **not** part of "
            f"this repository, which holds its SHA-256 only (`{config.sha256}`): pass your own copy as `body_model=`."
        )
    if config.body == "procedural":
        return (
            "The procedural body of `diffusers_handiffuser`, stored with the weights, Apache-2.0. "
            "No file of SMPL, SMPL-H or MANO is included or needed."
        )
    license = facts.get("body_license", "which its author may pass on; its licence was not given by the author")
    return f"A body of its own in the layout of SMPL-H, stored with the weights: {license}."


def _checked(facts: Mapping[str, str]) -> Mapping[str, str]:
    for key, value in facts.items():
        if key not in CARD_FACTS:
            raise ValueError(f"`card` may hold {', '.join(CARD_FACTS)}, got {key!r}.")
        if not isinstance(value, str) or not value.strip():
            raise TypeError(f"`card[{key!r}]` must be text, got {value!r}.")
    if not re.fullmatch(r"[\w.+-]+", facts.get("license", "unknown")):
        raise ValueError(f"`card['license']` must be an identifier such as apache-2.0, got {facts['license']!r}.")
    return facts


def _loaded_card(model: Any) -> str | None:
    """The card in the folder that all models of a pipeline, except a licensed body, were loaded from."""
    folders = set()
    for name, part in getattr(model, "components", {}).items():
        if not isinstance(part, torch.nn.Module):
            continue
        config: Any = getattr(part, "config", None)  # a MultiControlNetModel has none
        origin = Path(getattr(config, "_name_or_path", None) or "")
        if name == "body_model" and config.licensed:
            continue
        folders.add(origin.parent if origin.name == name else None)
    folder = folders.pop() if len(folders) == 1 else None
    if folder is None or not (folder / CARD_FILE).is_file() or not _is_ours(folder):
        return None
    return (folder / CARD_FILE).read_text(encoding="utf-8")


def _is_ours(folder: Path) -> bool:
    """Whether the folder holds a HanDiffuser pipeline: the card of a Stable Diffusion one is not kept."""
    index = folder / "model_index.json"
    return index.is_file() and "handiffuser" in json.dumps(json.loads(index.read_text(encoding="utf-8"))).lower()
