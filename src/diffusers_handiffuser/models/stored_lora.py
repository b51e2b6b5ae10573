"""Saving and loading of models together with their LoRA adapters."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..utils.typing import MixinBase

_TYPES = {
    **{"lora_alpha": float, "lora_dropout": float, "bias": str},
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias"), bool),
}
_OPTIONS = ("r", *_TYPES)
"""Options of `peft.LoraConfig` that are stored. Others name modules that peft imports, or are patterns that can take
forever to match; the adapted layers are stored by name instead."""
_LAYER_NAME = re.compile(r"[A-Za-z0-9_.]+")
_MAX_RANK = 2**14


class StoredLoraMixin(MixinBase):
    """Saves a model together with its adapters. Mix in before `ModelMixin`.

    Adapters change the names of the weights they wrap, so diffusers cannot reload models that it saved with adapters.
    Here the saved config describes the adapters, and a model built from it has the same layers from the start, so that
    every way of loading finds its weights. `__init__` passes the config's entry `lora_adapters` to `restore_adapters`
    at its end.
    """

    def to_json_string(self) -> str:
        """The config as `save_pretrained` writes it, with the model's current adapters."""
        config = json.loads(super().to_json_string())
        config.pop("lora_adapters", None)
        if adapters := _describe_adapters(self):
            config["lora_adapters"] = adapters
        return json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n"

    def restore_adapters(self, lora_adapters: Mapping[str, Mapping[str, Any]] | None) -> None:
        """Adds the adapters that a saved config describes; their weights are loaded with all others."""
        if not lora_adapters:
            return
        for name, entry in lora_adapters.items():
            self.add_adapter(_read_config(name, entry["config"]), name)
            for layer_name, scaling in entry["scaling"].items():
                if not _is_number(scaling):
                    raise ValueError(f"`lora_adapters`: {name!r} has the scale {scaling} in {layer_name!r}.")
                self.get_submodule(layer_name).scaling[name] = scaling
        active = [name for name, entry in lora_adapters.items() if entry["active"]]
        if active:
            self.set_adapter(active)
        else:
            self.disable_adapters()

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        refuse_fused_adapters(type(self).__name__, self)
        super()._save(folder, repo_id, *args, **kwargs)


def refuse_fused_adapters(name: str, model: torch.nn.Module) -> None:
    """Refuses a model with fused adapters: after loading, they would be applied twice."""
    if any(getattr(module, "merged", False) for module in model.modules()):
        raise ValueError(
            f"`{name}` holds LoRA adapters that are fused into its weights; unload them before saving "
            "(`unload_lora_weights()` of the pipeline), which keeps the fused weights, or take them out again by "
            "`unfuse_lora()`."
        )


def _describe_adapters(model: Any) -> dict[str, dict[str, Any]]:
    """By name, each adapter's config, scale in each layer, and whether it is active."""
    configs = getattr(model, "peft_config", None)
    if not configs:
        return {}
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "active_adapters")}
    layers = {name: module for name, module in layers.items() if hasattr(module, "scaling")}
    return {
        name: {
            "config": _describe_config(name, config, layers),
            "scaling": {layer: module.scaling[name] for layer, module in layers.items() if name in module.scaling},
            "active": any(name in m.active_adapters and not m.disable_adapters for m in layers.values()),
        }
        for name, config in configs.items()
    }


def _describe_config(name: str, config: Any, layers: Mapping[str, Any]) -> dict[str, Any]:
    """The stored options, with layers, ranks and alphas by name instead of by pattern."""
    if config.peft_type != "LORA":
        raise ValueError(f"the adapter {name!r} is of the type {config.peft_type}; only LoRA can be stored.")
    adapted = {layer: module for layer, module in layers.items() if name in module.scaling}
    stored = {key: getattr(config, key) for key in _OPTIONS if hasattr(config, key)}
    return {
        **stored,
        "target_modules": sorted(adapted),
        "rank_pattern": {layer: m.r[name] for layer, m in adapted.items() if m.r[name] != config.r},
        "alpha_pattern": {
            layer: m.lora_alpha[name] for layer, m in adapted.items() if m.lora_alpha[name] != config.lora_alpha
        },
    }


def _read_config(name: str, config: Mapping[str, Any]) -> Any:
    """A `LoraConfig` of the known options of a stored one; all others are ignored."""
    from peft import LoraConfig

    options = {key: config[key] for key in _OPTIONS if key in config and hasattr(LoraConfig, key)}
    targets = config["target_modules"]
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    _check_layer_names(name, [*([targets] if isinstance(targets, str) else targets), *ranks, *alphas])
    for rank in (options.get("r"), *ranks.values()):
        if type(rank) is not int or not 0 < rank <= _MAX_RANK:
            raise ValueError(f"`lora_adapters`: {name!r} must have ranks from 1 to {_MAX_RANK}, got {rank!r}.")
    for key, wanted in _TYPES.items():
        value = options.get(key, wanted())
        if not (_is_number(value) if wanted is float else type(value) is wanted):
            raise ValueError(f"`lora_adapters`: {name!r} has {key!r} {value!r}; wanted {wanted.__name__}.")
    for alpha in alphas.values():
        if not _is_number(alpha):
            raise ValueError(f"`lora_adapters`: {name!r} has the alpha {alpha!r}; wanted float.")
    return LoraConfig(
        **options, target_modules=targets, rank_pattern=ranks, alpha_pattern=alphas, init_lora_weights=False
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_layer_names(name: str, layers: Iterable[Any]) -> None:
    for layer in layers:
        if not isinstance(layer, str) or not _LAYER_NAME.fullmatch(layer):
            raise ValueError(f"`lora_adapters`: {name!r} must name its layers, got {layer!r}.")
