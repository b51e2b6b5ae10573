"""Old import paths, kept for one release."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved_names(module: str, new_modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds names in the modules that they moved to, with a `FutureWarning`.

    Args:
        module (`str`): the old module, its `__name__`.
        new_modules (mapping of `str` to `str`): for each name, the absolute path of the module that now has it.
    """

    def getattribute(name: str) -> Any:
        if name not in new_modules:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = new_modules[name]
        warnings.warn(f"`{module}.{name}` moved to `{new}.{name}`.", FutureWarning, stacklevel=2)
        return getattr(importlib.import_module(new), name)

    return getattribute
