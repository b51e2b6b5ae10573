"""Reads LoRA files of all common tools as weights and options for a model.

Whatever names a file uses, a LoRA is the same thing: for some layers two matrices A and B and a number alpha, which
change the layer's weight to W + alpha / rank * B A. diffusers keeps one alpha per model where kohya's files hold one
per layer, and looks for a text encoder's layers under only one of their two names in CLIP. Here every layer has its
own rank and alpha, under its name in the model, and anything unknown is an error.
"""

import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils import logging
from torch import nn

logger = logging.get_logger(__name__)

_PARTS = {
    "lora_A.weight": "lora_A.weight",
    "lora_B.weight": "lora_B.weight",
    "lora_B.bias": "lora_B.bias",
    "lora_embedding_A": "lora_embedding_A",
    "lora_embedding_B": "lora_embedding_B",
    "lora_magnitude_vector": "lora_magnitude_vector",
    "lora_magnitude_vector.weight": "lora_magnitude_vector",
    "lora.down.weight": "lora_A.weight",
    "lora.up.weight": "lora_B.weight",
    "lora_linear_layer.down.weight": "lora_A.weight",
    "lora_linear_layer.up.weight": "lora_B.weight",
}
"""Suffixes of a layer's name in diffusers' and PEFT's files, and PEFT's name for each."""
_JOINED_NAMES = {
    "unet": {"to_out": "to_out.0"},
    "text_encoder": {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"},
}
"""Layers with other names in the oldest files, which write `to_q_lora.down` for `to_q.lora.down`."""
_OTHER_KINDS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_mid": "LoCon with a core tensor",
    "dora_scale": "DoRA under the names of LyCORIS",
}
_UNPREFIXED = "base_model.model."

_IMPLIED_BY_WEIGHTS = ("r", "rank_pattern", "target_modules", "use_dora", "lora_bias")
_USED_OPTIONS = ("use_rslora", "lora_dropout")
_WITHOUT_EFFECT = (
    *("auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out", "inference_mode"),
    *("init_lora_weights", "layers_pattern", "layers_to_transform", "peft_version", "revision", "runtime_config"),
    *("task_type", "lora_alpha", "alpha_pattern"),
)
"""Options of `peft.LoraConfig` in a file's metadata: implied by the weights, used, and without effect on a loaded
LoRA. A file in which any other option is not at its default is refused."""
_KEEP_THE_BASE = (True, False, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the weights of the model itself unchanged."""
_PIECE = r"(?:[\w|()]|\\?\.(?!\*)|\\d\+?|\[\d-\d\])*"
_PATTERN = re.compile(rf"(?!(?:[^|]*\|){{5}})\^?{_PIECE}(?:\.\*{_PIECE}){{0,2}}\$?")
"""Patterns that match in little time, whatever the text."""


@dataclass
class ModelLora:
    """A LoRA for one model.

    Args:
        weights (`dict[str, torch.Tensor]`): under PEFT's names, counted from the model's root.
        config (`dict`): arguments of `peft.LoraConfig`.
        scaling (`dict[str, float]`): by layer, what B A is multiplied by.
    """

    weights: dict[str, torch.Tensor]
    config: dict[str, Any]
    scaling: dict[str, float]


def refuse_other_adapters(names: Iterable[str]) -> None:
    """Refuses, by the names of its weights, a file that is not a LoRA or does not name the models it is for."""
    for name in names:
        for mark, kind in _OTHER_KINDS.items():
            if mark in name:
                raise ValueError(f"{name!r} belongs to {kind}, which cannot be loaded; wanted LoRA")
        if name.startswith(_UNPREFIXED):
            raise ValueError(
                f"{name!r} does not say whether it belongs to the U-Net or the text encoder; wanted 'unet.' or "
                f"'text_encoder.' in the place of {_UNPREFIXED!r}"
            )


def read_lora(
    component: str,
    model: nn.Module,
    state_dict: Mapping[str, torch.Tensor],
    network_alphas: Mapping[str, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ModelLora | None:
    """The part of a LoRA that belongs to one component of a pipeline.

    Layers that the model does not have are left out with a warning; if it has none of them, that is an error.

    Args:
        component (`str`): `"unet"` or `"text_encoder"`; its keys begin with it and a dot.
        model (`torch.nn.Module`): that component.
        state_dict (`Mapping[str, torch.Tensor]`): under names of diffusers, old or new, or PEFT.
        network_alphas (`Mapping[str, float]`, *optional*): as diffusers' `lora_state_dict` returns it; a layer without
            one has its rank as alpha.
        metadata (`Mapping`, *optional*): options of `peft.LoraConfig` with the same prefix; their alphas take
            precedence.

    Returns:
        `ModelLora`, or `None` if no key belongs to the component.

    Raises:
        ValueError: a key, a shape or an option is not understood, or the model has none of the layers.
    """
    modules = dict(model.named_modules())
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in _of(component, state_dict).items():
        layer, part = _layer_and_part(component, key, modules)
        if part is None:
            raise ValueError(f"'{component}.{key}' is not a weight of a LoRA; wanted one of {', '.join(_PARTS)}")
        if part in found.setdefault(layer, {}):
            raise ValueError(f"'{component}.{key}' is there under a second name, too")
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise ValueError(f"'{component}.{key}' must be a tensor of real numbers")
        if not torch.isfinite(value.float()).all():
            raise ValueError(f"'{component}.{key}' has numbers that are not finite")
        found[layer][part] = value
    if not found:
        return None

    layers = {layer: parts for layer, parts in found.items() if layer in modules and not _is_inside_adapter(layer)}
    if not layers:
        raise ValueError(f"it changes {next(iter(found))!r}, but `{component}` has no such layer, nor any other of it")
    if unused := [layer for layer in found if layer not in layers]:
        logger.warning(
            f"`{component}` does not have {len(unused)} of the {len(found)} layers that this LoRA changes, which are "
            f"left out; the first is {unused[0]!r}."
        )
    ranks = {layer: _rank(f"{component}.{layer}", modules[layer], parts) for layer, parts in layers.items()}
    with_magnitude = [layer for layer, parts in layers.items() if "lora_magnitude_vector" in parts]
    if with_magnitude and len(with_magnitude) < len(layers):
        raise ValueError(f"'{component}.{with_magnitude[0]}' has a `lora_magnitude_vector`, but others have none")

    alphas = {
        _layer_and_part(component, key.removesuffix(".alpha"), modules)[0]: alpha
        for key, alpha in _of(component, network_alphas or {}).items()
    }
    options = {}
    if of_component := _of(component, metadata or {}):
        options = _used_options(component, of_component)
        alphas = _alphas_of_metadata(component, of_component, layers)
    alphas = {layer: alphas.get(layer, rank) for layer, rank in ranks.items()}
    for layer, alpha in alphas.items():
        if not _is_number(alpha):
            raise ValueError(f"'{component}.{layer}' must have a finite number as its alpha, got {alpha!r}")

    rank, rank_pattern = _most_common(ranks)
    alpha, alpha_pattern = _most_common(alphas)
    config = {
        "r": rank,
        "rank_pattern": rank_pattern,
        "lora_alpha": alpha,
        "alpha_pattern": alpha_pattern,
        "target_modules": sorted(layers),
        "use_dora": bool(with_magnitude),
        "lora_bias": any("lora_B.bias" in parts for parts in layers.values()),
        **options,
    }
    return ModelLora(
        weights={f"{layer}.{part}": value for layer, parts in layers.items() for part, value in parts.items()},
        config=config,
        scaling={
            layer: alphas[layer] / (math.sqrt(rank) if options.get("use_rslora") else rank)
            for layer, rank in ranks.items()
        },
    )


def _of(component: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{component}."
    return {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}


def _layer_and_part(component: str, key: str, modules: Mapping[str, nn.Module]) -> tuple[str, str | None]:
    """The layer of a key, by its name in the model, and the part of its LoRA, if it is one."""
    part = None
    for ending, name in _PARTS.items():
        layer = key.removesuffix(ending)
        if layer != key and layer.endswith((".", "_")):
            is_joined, key, part = layer.endswith("_"), layer[:-1], name
            if is_joined:
                parent, _, last = key.rpartition(".")
                key = f"{parent}.{_JOINED_NAMES[component].get(last, last)}"
            break
    key = key.replace(".processor.", ".")
    prefixed = f"text_model.{key}"  # a prefix that transformers' CLIP dropped in 5.6 and ours has
    return (prefixed if key not in modules and prefixed in modules else key), part


def _is_inside_adapter(layer: str) -> bool:
    return any(name == "base_layer" or name.startswith("lora_") for name in layer.split("."))


def _rank(name: str, module: Any, parts: Mapping[str, torch.Tensor]) -> int:
    """The rank of A and B, whose shapes must fit the layer."""
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    first, second = "lora_A.weight", "lora_B.weight"
    if isinstance(base, nn.Embedding):
        first, second = "lora_embedding_A", "lora_embedding_B"
        inner, outer = [base.num_embeddings], base.embedding_dim
    elif hasattr(base, "in_features"):  # quantized weights have other shapes
        inner, outer = [base.in_features], base.out_features
    elif isinstance(base, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        inner, outer = [*base.weight.shape[1:]], base.out_channels
    else:
        raise ValueError(f"{name!r} is a {type(base).__name__}; wanted a linear layer, a convolution or an embedding")
    for part in (first, second):
        if part not in parts:
            raise ValueError(f"{name!r} has no `{part}`")
    rank = parts[first].shape[0] if parts[first].ndim else 0
    wanted = {first: (rank, *inner), second: (outer, rank, *[1] * (len(inner) - 1))}
    for part, shape in wanted.items():
        if not rank or tuple(parts[part].shape) != shape:
            got = tuple(parts[part].shape)
            raise ValueError(f"'{name}.{part}' must have shape {shape} for this model, got {got}")
    return rank


def _used_options(component: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    from peft import LoraConfig

    defaults = LoraConfig().to_dict()
    known = (*_IMPLIED_BY_WEIGHTS, *_USED_OPTIONS, *_WITHOUT_EFFECT)
    for name, value in metadata.items():
        if name not in known and value and value != defaults.get(name):
            raise ValueError(f"its metadata has `{component}.{name}` {value!r}, which cannot be used here")
    if (how := metadata.get("init_lora_weights", True)) not in _KEEP_THE_BASE:
        raise ValueError(
            f"its metadata has `{component}.init_lora_weights` {how!r}, which changes the weights of the model itself"
        )
    options = {name: metadata[name] for name in _USED_OPTIONS if name in metadata}
    if not isinstance(options.get("use_rslora", False), bool) or not _is_number(options.get("lora_dropout", 0)):
        raise ValueError(f"its metadata has {options}; wanted a bool and a number")
    return options


def _alphas_of_metadata(component: str, metadata: Mapping[str, Any], layers: Iterable[str]) -> dict[str, Any]:
    """Alphas as PEFT finds them: by the first pattern that matches the end of a layer's name."""
    from peft import LoraConfig

    general, patterns = metadata.get("lora_alpha", LoraConfig().lora_alpha), metadata.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping) or not all(_PATTERN.fullmatch(pattern) for pattern in patterns):
        raise ValueError(f"its metadata has `{component}.alpha_pattern` {patterns!r}; wanted names of layers")
    try:
        expressions = [(re.compile(rf"(?:.*\.)?({pattern})$"), alpha) for pattern, alpha in patterns.items()]
    except re.error as error:
        raise ValueError(f"its metadata has `{component}.alpha_pattern` {patterns!r}: {error}") from None
    return {layer: next((alpha for found, alpha in expressions if found.match(layer)), general) for layer in layers}


def _most_common(values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The most common value, and a pattern for each layer that has another one."""
    most_common = Counter(values.values()).most_common(1)[0][0]
    return most_common, {f"^{re.escape(name)}": value for name, value in values.items() if value != most_common}


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
