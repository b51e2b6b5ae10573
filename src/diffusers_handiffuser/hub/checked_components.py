"""Checks of a pipeline's components before they are loaded: the classes its index names, and their folders."""

import functools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import transformers
from diffusers import ConfigMixin, ControlNetModel, ModelMixin, MultiAdapter, MultiControlNetModel, T2IAdapter
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES, _maybe_remap_transformers_class
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from .checked_configs import check_config
from .checked_files import check_files, check_files_of_processors, check_files_of_transformers, read_json
from .checked_sizes import check_size

_REFUSED_BASES = ("DiffusionPipeline", "OnnxRuntimeModel")
"""Bases that diffusers accepts in an index and we do not: the first would load components unchecked, the second reads
files of its own."""
_OTHER_LIBRARY = "Timm"
"""Prefix of transformers' models that another library builds, from files that their config names."""
_SEVERAL: dict[Any, type] = {MultiControlNetModel: ControlNetModel, MultiAdapter: T2IAdapter}
"""Containers without weights of their own, and the class of the models they load from numbered folders."""


def library_of(name: str) -> ModuleType | None:
    """The library of an index by name: diffusers, transformers or a module of `diffusers.pipelines`; else `None`."""
    if name in ("diffusers", "transformers"):
        return diffusers if name == "diffusers" else transformers
    module = getattr(diffusers.pipelines, name, None)
    return module if isinstance(module, ModuleType) else None


def component_class(library: str, name: str) -> Any:
    """The object that an entry of an index names, resolved as diffusers does; `None` if it does not exist."""
    if library == "transformers":
        name = _maybe_remap_transformers_class(name) or name
    return getattr(library_of(library), name, None)


def is_component_class(found: Any) -> bool:
    """Whether `found` is a class of models, schedulers, tokenizers or processors.

    Placeholders for libraries that are not installed count: using one raises an error that names the library.
    """
    if not isinstance(found, type):
        return False
    if found.__name__.startswith(_OTHER_LIBRARY):
        return False
    return issubclass(found, tuple(_component_bases())) or ".dummy_" in found.__module__


def check_component(folder: Path, name: str, component: Any, is_ours: bool = False) -> None:
    """Refuses a component folder that holds anything but safetensors and JSON, or a config too large for its weights.

    Args:
        folder (`Path`): the pipeline's folder.
        name (`str`): the component's name.
        component (`type`, *optional*): its class, if known.
        is_ours (`bool`): whether the model checks its config and its size by itself.
    """
    beside = sorted(path.name for path in folder.glob(f"{name}_[0-9]*") if path.is_dir())
    # diffusers reads a component that has no folder from the pipeline's own.
    for subfolder in (name, *beside) if (folder / name).is_dir() else ("",):
        check_files(folder, subfolder)
        if not isinstance(component, type) or is_ours:
            continue
        place, one = folder / subfolder, _SEVERAL.get(component, component)
        is_transformers = issubclass(one, PreTrainedModel)
        config = place / getattr(one, "config_name", "config.json")
        if is_transformers:
            check_files_of_transformers(place)
        elif issubclass(one, PreTrainedTokenizerBase | ProcessorMixin):
            check_files_of_processors(place, of_several=issubclass(one, ProcessorMixin))
        if config.is_file() and (is_transformers or issubclass(one, ConfigMixin)):
            check_config(read_json(config))
            if is_transformers or issubclass(one, ModelMixin):
                check_size(name, functools.partial(_build, one, place), place, one, _config_texts(place))


def _build(model_class: Any, place: Path) -> Any:
    if issubclass(model_class, PreTrainedModel):
        return model_class(model_class.config_class.from_pretrained(place, local_files_only=True))
    return model_class.from_config(model_class.load_config(place))


def _config_texts(place: Path) -> str:
    """The text of all configs in a folder: transformers picks the one named for its release."""
    return "\n".join(f"{path.name} {path.read_text(encoding='utf-8')}" for path in sorted(place.glob("config*.json")))


def _component_bases() -> Iterator[type]:
    """Base classes that diffusers accepts for components, without `_REFUSED_BASES`."""
    for library in (diffusers, transformers):
        for name in LOADABLE_CLASSES[library.__name__]:
            base = getattr(library, name, None)
            if isinstance(base, type) and name not in _REFUSED_BASES:
                yield base
