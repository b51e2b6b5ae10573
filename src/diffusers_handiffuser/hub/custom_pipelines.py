"""Lets files for `custom_pipeline=` import this package's pipelines, as they may import those of diffusers.

diffusers takes the pipeline class in such a file, defined or imported, ignores its own classes, and refuses a file
with several: one that derives a class from ours would be refused.
"""

import ast
from pathlib import Path
from types import ModuleType

from diffusers import DiffusionPipeline
from diffusers.utils import dynamic_modules_utils

from ..utils.other_imports import is_ours


def prefer_defined_pipelines() -> None:
    """Makes diffusers take the class that a file defines if the file also imports pipelines of this package.

    Called on import; calling it again changes nothing.
    """
    find_any = dynamic_modules_utils.find_pipeline_class
    if is_ours(find_any):
        return

    def find_pipeline_class(loaded_module: ModuleType) -> type[DiffusionPipeline] | None:
        if any(map(_is_our_pipeline, vars(loaded_module).values())):
            defined = find_any(_without_imports(loaded_module))
            if defined is not None:
                return defined
        return find_any(loaded_module)

    dynamic_modules_utils.find_pipeline_class = find_pipeline_class


def _is_our_pipeline(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, DiffusionPipeline) and is_ours(value)


def _without_imports(module: ModuleType) -> ModuleType:
    """A module with only the classes that the file of `module` defines.

    The source decides: diffusers runs files of the same name in one module, where older classes remain.
    """
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    names = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    defined = ModuleType(module.__name__)
    vars(defined).update({name: value for name, value in vars(module).items() if name in names})
    return defined
