"""LoRA into the U-Net and the text encoder of a pipeline: all of a file or nothing."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.hooks.group_offloading import _maybe_remove_and_reapply_group_offloading
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.loaders.lora_base import _fetch_state_dict
from diffusers.utils import USE_PEFT_BACKEND, logging
from diffusers.utils.peft_utils import scale_lora_layers
from diffusers.utils.torch_utils import is_compiled_module
from torch import nn

from ..hub.loading import HUB_ARGUMENTS, one_line_error
from ..models.adapter_state import adapters_restored_on_error
from ..models.lora_weights import ModelLora, read_lora, refuse_other_adapters

logger = logging.get_logger(__name__)

Weights = str | os.PathLike | dict[str, torch.Tensor]


class LoraLoadingMixin(StableDiffusionLoraLoaderMixin):
    """Loads LoRA as diffusers does, but for this.

    Every layer has its own rank and alpha. The text encoder's layers are found with `text_model.` before their names
    and without. A file that is not understood, or that holds other adapters than LoRA, is one line of error. Whatever
    is raised, the models are left as they were.
    """

    def load_lora_weights(  # type: ignore[override]  # diffusers' base class takes keyword arguments alone
        self,
        pretrained_model_name_or_path_or_dict: Weights,
        adapter_name: str | None = None,
        hotswap: bool = False,
        *,
        low_cpu_mem_usage: bool = True,
        **kwargs: Any,
    ) -> None:
        """Adds a LoRA to the U-Net and the text encoder, and makes it the active one.

        Args:
            pretrained_model_name_or_path_or_dict (`str`, `os.PathLike` or `dict`): a folder, a file, a Hub id, or
                weights by name.
            adapter_name (`str`, *optional*): must be new; else `default_{i}`.
            hotswap (`bool`): write into the U-Net's adapter of that name, as in diffusers.
            low_cpu_mem_usage (`bool`): make the new layers without numbers of their own first.
            kwargs: `weight_name`, `subfolder` and where files come from, as in diffusers.

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: it holds no LoRA of this model, or another kind of adapters, or the name is in use.
        """
        _require_peft()
        models = {name: getattr(self, name, None) for name in self._lora_loadable_modules}
        with one_line_error("a LoRA", _place(pretrained_model_name_or_path_or_dict, kwargs.get("weight_name"))):
            state_dict, network_alphas, metadata = self.lora_state_dict(
                pretrained_model_name_or_path_or_dict, **{**kwargs, "return_lora_metadata": True}
            )
            found = {
                name: _read(name, model, state_dict, network_alphas, metadata, hotswap)
                for name, model in models.items()
            }
            loras = {name: lora for name, lora in found.items() if lora is not None}
            others = [key for key in state_dict if not key.startswith(tuple(f"{name}." for name in loras))]
            if not loras:
                wanted = " or ".join(repr(f"{name}.") for name in models)
                raise ValueError(f"no key begins with {wanted}; the first is {next(iter(others), None)!r}")
        if others:
            logger.warning(f"{len(others)} weights of this LoRA belong to no part of this pipeline, as {others[0]!r}.")
        changed = [_uncompiled(models[name]) for name in loras]
        with _offloading_lifted(self), adapters_restored_on_error(*changed, copy_weights=hotswap):
            for model, lora in zip(changed, loras.values(), strict=True):
                _add(model, lora, adapter_name, low_cpu_mem_usage, hotswap)

    @classmethod
    def lora_state_dict(  # type: ignore[override]
        cls, pretrained_model_name_or_path_or_dict: Weights, **kwargs: Any
    ) -> tuple:
        """As in diffusers, which would leave what belongs to other kinds of adapters out of what it returns."""
        with_metadata = kwargs.pop("return_lora_metadata", False)
        use_safetensors = kwargs.pop("use_safetensors", None)
        where = {name: kwargs.pop(name, None) for name in (*HUB_ARGUMENTS, "weight_name")}
        state_dict, metadata = _fetch_state_dict(
            pretrained_model_name_or_path_or_dict=pretrained_model_name_or_path_or_dict,
            use_safetensors=True if use_safetensors is None else use_safetensors,
            allow_pickle=use_safetensors is None,
            user_agent={"file_type": "attn_procs_weights", "framework": "pytorch"},
            **{**where, "force_download": bool(where["force_download"])},
        )
        refuse_other_adapters(state_dict)
        # A copy, as its entries are taken out while they are renamed.
        renamed, network_alphas = super().lora_state_dict(dict(state_dict), **kwargs)
        return (renamed, network_alphas, metadata) if with_metadata else (renamed, network_alphas)

    @classmethod
    def load_lora_into_unet(
        cls, state_dict: dict, network_alphas: dict | None, unet: nn.Module, *args: Any, **kwargs: Any
    ) -> None:
        """As in diffusers: adds what of `lora_state_dict(...)` belongs to the U-Net."""
        cls._load_lora_into("unet", unet, state_dict, network_alphas, *args, **kwargs)

    @classmethod
    def load_lora_into_text_encoder(
        cls,
        state_dict: dict,
        network_alphas: dict | None,
        text_encoder: nn.Module,
        prefix: str | None = None,
        lora_scale: float = 1.0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """As in diffusers: adds what of `lora_state_dict(...)` belongs to the text encoder."""
        if prefix not in (None, "text_encoder"):
            raise ValueError(f"`prefix` must be 'text_encoder', got {prefix!r}.")
        if cls._load_lora_into("text_encoder", text_encoder, state_dict, network_alphas, *args, **kwargs):
            scale_lora_layers(text_encoder, lora_scale)

    @classmethod
    def _load_lora_into(
        cls,
        component: str,
        model: nn.Module,
        state_dict: dict,
        network_alphas: dict | None,
        adapter_name: str | None = None,
        _pipeline: Any = None,
        low_cpu_mem_usage: bool = False,
        hotswap: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether there was anything for the model, which is then in it."""
        _require_peft()
        lora = _read(component, model, state_dict, network_alphas, metadata, hotswap)
        if lora is None:
            logger.warning(f"No LoRA keys associated to {type(model).__name__}: none begins with '{component}.'.")
            return False
        with _offloading_lifted(_pipeline), adapters_restored_on_error(_uncompiled(model), copy_weights=hotswap):
            _add(_uncompiled(model), lora, adapter_name, low_cpu_mem_usage, hotswap)
        return True


def _require_peft() -> None:
    if not USE_PEFT_BACKEND:
        raise ValueError("LoRA needs peft: pip install peft")


def _place(weights: Weights, weight_name: str | None) -> str:
    if isinstance(weights, dict):
        return "a dict"
    return os.path.join(weights, weight_name) if weight_name else os.fspath(weights)


def _read(
    component: str,
    model: nn.Module | None,
    state_dict: Mapping[str, torch.Tensor],
    network_alphas: Mapping[str, float] | None,
    metadata: Mapping[str, Any] | None,
    hotswap: bool,
) -> ModelLora | None:
    """The LoRA of one component, if the file has one for it and the pipeline can take it."""
    if not any(key.startswith(f"{component}.") for key in state_dict):
        return None
    if model is None:
        raise ValueError(f"it changes `{component}`, but this pipeline has None in its place")
    if component == "text_encoder":
        if hotswap:
            raise ValueError("`hotswap=True` is possible in the U-Net alone, but it changes `text_encoder`, too")
        if is_compiled_module(model):
            raise ValueError(
                "`text_encoder` is inside what `torch.compile(...)` returned, where no layers can be exchanged; "
                "compile it in place: `pipe.text_encoder.compile()`"
            )
    return read_lora(component, _uncompiled(model), state_dict, network_alphas, metadata)


def _uncompiled(model: Any) -> Any:
    return model._orig_mod if is_compiled_module(model) else model


def _add(model: Any, lora: ModelLora, adapter_name: str | None, low_cpu_mem_usage: bool, hotswap: bool) -> None:
    # Some releases of PEFT exchange tensors when they swap, so that the old weights end up where the new ones were.
    weights = {name: value.clone() for name, value in lora.weights.items()} if hotswap else lora.weights
    model.load_lora_adapter(
        weights,
        prefix=None,
        metadata=lora.config,
        adapter_name=adapter_name,
        low_cpu_mem_usage=low_cpu_mem_usage,
        hotswap=hotswap,
    )
    if hotswap:  # for which PEFT looks up ranks and alphas under other names than those of the layers
        for layer, scaling in lora.scaling.items():
            scalings = model.get_submodule(layer).scaling
            if isinstance(scalings[adapter_name], torch.Tensor):
                scalings[adapter_name].fill_(scaling)
            else:
                scalings[adapter_name] = scaling


@contextlib.contextmanager
def _offloading_lifted(pipeline: Any) -> Iterator[None]:
    """Without the hooks of offloading, which know nothing of layers that come; they are there again afterwards."""
    if pipeline is None:
        yield
        return
    by_model, sequential, by_group = pipeline._optionally_disable_offloading(pipeline)
    try:
        yield
    finally:
        if by_model:
            pipeline.enable_model_cpu_offload()
        elif sequential:
            pipeline.enable_sequential_cpu_offload()
        elif by_group:
            for component in pipeline.components.values():
                if isinstance(component, nn.Module):
                    _maybe_remove_and_reapply_group_offloading(component)
