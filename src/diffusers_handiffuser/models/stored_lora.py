"""LoRA adapters that stay with the model that they are in when it is saved and loaded."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from ..diffusers_types import MixinBase


class StoredLoraMixin(MixinBase):
    """Saves a model together with the adapters in it. Mix in before `ModelMixin`.

    Adapters change the names of the weights they stand beside, so that diffusers writes models with adapters which it
    cannot read again. Here the saved config describes the adapters, and a model that is made of it has the same layers
    from the start: every way of loading finds its weights. `__init__` takes the config's entry `lora_adapters` and
    hands it to `put_adapters_back` at its end.
    """

    def to_json_string(self) -> str:
        """The config as `save_pretrained` writes it, with the adapters that are in the model now."""
        config = json.loads(super().to_json_string())
        config.pop("lora_adapters", None)
        if adapters := _describe_adapters(self):
            config["lora_adapters"] = adapters
        return json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n"

    def put_adapters_back(self, lora_adapters: Mapping[str, Mapping[str, Any]] | None) -> None:
        """Adds the adapters that a saved config describes; the weights come with all others."""
        if not lora_adapters:
            return
        from peft import PeftConfig

        for name, entry in lora_adapters.items():
            self.add_adapter(PeftConfig.from_peft_type(**{**entry["config"], "init_lora_weights": False}), name)
            for layer_name, scaling in entry["scaling"].items():
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
    """Fused weights beside the adapters they came from: loaded again, the adapters would count twice."""
    if any(getattr(module, "merged", False) for module in model.modules()):
        raise ValueError(
            f"`{name}` holds LoRA adapters that are fused into its weights; unload them before saving "
            "(`unload_lora_weights()` of the pipeline), which keeps the fused weights, or take them out again by "
            "`unfuse_lora()`."
        )


def _describe_adapters(model: Any) -> dict[str, dict[str, Any]]:
    """Config, scale in each layer and activity of each adapter, by name."""
    configs = getattr(model, "peft_config", None)
    if not configs:
        return {}
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "active_adapters")}
    layers = {name: module for name, module in layers.items() if hasattr(module, "scaling")}
    return {
        name: {
            "config": {**config.to_dict(), "init_lora_weights": False},
            "scaling": {layer: module.scaling[name] for layer, module in layers.items() if name in module.scaling},
            "active": any(name in m.active_adapters and not m.disable_adapters for m in layers.values()),
        }
        for name, config in configs.items()
    }
