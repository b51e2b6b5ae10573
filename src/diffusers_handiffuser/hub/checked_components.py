"""What a pipeline's index may name as its components, and what is checked of their folders before they are loaded."""

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

_NO_COMPONENTS = ("DiffusionPipeline", "OnnxRuntimeModel")
"""Of what diffusers takes from an index: the first would load all that is checked here without being checked, the
second reads files of its own."""
_OTHER_LIBRARY = "Timm"
"""Models of transformers that are built by another library, of files that their config names."""
_SEVERAL: dict[Any, type] = {MultiControlNetModel: ControlNetModel, MultiAdapter: T2IAdapter}
"""Models without weights of their own, and the class of those they load from folders side by side."""


def library_of(name: str) -> ModuleType | None:
    """The module that diffusers takes components from by this name, if it is its own, transformers, or in its own."""
    if name in ("diffusers", "transformers"):
        return diffusers if name == "diffusers" else transformers
    module = getattr(diffusers.pipelines, name, None)
    return module if isinstance(module, ModuleType) else None


def component_class(library: str, name: str) -> Any:
    """What an entry of an index names, as diffusers resolves it; `None` if there is no such thing."""
    if library == "transformers":
        name = _maybe_remap_transformers_class(name) or name
    return getattr(library_of(library), name, None)


def is_component_class(found: Any) -> bool:
    """Whether it is a class of models, schedulers, tokenizers or processors.

    Placeholders of libraries that are not installed count: they raise an error that says so.
    """
    if not isinstance(found, type):
        return False
    if found.__name__.startswith(_OTHER_LIBRARY):
        return False
    return issubclass(found, tuple(_component_bases())) or ".dummy_" in found.__module__


def check_component(folder: Path, name: str, component: Any, is_ours: bool = False) -> None:
    """Refuses a component that is not one model of safetensors and JSON in its folder, of a size that fits them.

    Args:
        folder (`Path`): of the pipeline.
        name (`str`): of the component.
        component (`type`, *optional*): its class, if that is known.
        is_ours (`bool`): whether the model will check its config and its size by itself.
    """
    beside = sorted(path.name for path in folder.glob(f"{name}_[0-9]*") if path.is_dir())
    # Of a component without a folder, diffusers reads the files of the pipeline's own.
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
    """All configs in a folder: of several, transformers reads the one that is named for its release."""
    return "\n".join(f"{path.name} {path.read_text(encoding='utf-8')}" for path in sorted(place.glob("config*.json")))


def _component_bases() -> Iterator[type]:
    """What diffusers asks components to be, but for what none of ours can be."""
    for library in (diffusers, transformers):
        for name in LOADABLE_CLASSES[library.__name__]:
            base = getattr(library, name, None)
            if isinstance(base, type) and name not in _NO_COMPONENTS:
                yield base
