"""Registration with diffusers' loader tables.

diffusers has no plug-in mechanism. Its loader looks names up in tables, so importing this package adds itself there
without replacing anything (`hub.custom_pipelines` wraps the one function of diffusers that has to be):

* `LOADABLE_CLASSES` is read by `_get_library_or_raise` (may a component come from this library?), by
  `_get_custom_components_and_folders` (the same question for a download) and by `_fetch_class_library_tuple` (what
  `save_pretrained` writes: the top-level name, which is therefore an interface);
* `DiffusionPipeline.from_pretrained` looks the pipeline's class up as an attribute of `diffusers`;
* `AutoPipelineForText2Image` has a mapping of its own.
"""

from types import ModuleType

import diffusers
from diffusers.modular_pipelines.modular_pipeline import MODULAR_PIPELINE_MAPPING
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES

from .pipelines import pipeline_loading
from .pipelines.pipeline_loading import COMPONENT_CLASSES, PACKAGE
from .utils.other_imports import is_ours


def register_library() -> None:
    """Lets diffusers load components from this package. Called on import, and if that happens again, once more."""
    for library in (PACKAGE, pipeline_loading.__name__):
        LOADABLE_CLASSES.setdefault(library, {"ModelMixin": ["save_pretrained", "from_pretrained"]})
    _add_to(diffusers, *COMPONENT_CLASSES.values())  # where `AutoModel` looks


def register_pipeline(
    pipeline_class: type, task_mapping: dict[str, type] | None = None, name: str = "handiffuser"
) -> None:
    """Lets `DiffusionPipeline.from_pretrained` and the `AutoPipeline` of one task find a pipeline of this package.

    Args:
        pipeline_class (`type`): the pipeline. A class of that name in diffusers itself would not be replaced, one of
            an earlier import of this package is.
        task_mapping (`dict`, *optional*): one of diffusers' `AUTO_*_PIPELINES_MAPPING`.
        name (`str`): the family under which the pipelines of different tasks find each other.
    """
    for module in (diffusers, diffusers.pipelines):
        _add_to(module, pipeline_class)
    if task_mapping is not None and is_ours(task_mapping.get(name, pipeline_class)):
        task_mapping[name] = pipeline_class


def register_modular_pipeline(pipeline_class: type, blocks_class: type, name: str = "handiffuser") -> None:
    """Lets `ModularPipeline.from_pretrained` and `blocks.init_pipeline` find the modular pipeline of a family."""
    _add_to(diffusers, pipeline_class, blocks_class)
    MODULAR_PIPELINE_MAPPING.setdefault(name, lambda config=None: pipeline_class.__name__)


def _add_to(module: ModuleType, *classes: type) -> None:
    """Makes classes attributes of a module of diffusers; one of its own of that name stays."""
    for cls in classes:
        if is_ours(getattr(module, cls.__name__, cls)):
            setattr(module, cls.__name__, cls)
