"""Old import paths and names, kept for one release."""

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable)


def renamed_argument(old: str, new: str) -> Callable[[_Function], _Function]:
    """A decorator for functions that also take an argument by its old name, with a `FutureWarning`.

    Args:
        old (`str`): the old name of the argument.
        new (`str`): its name in the function's signature.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs and new not in kwargs:
                warnings.warn(f"`{old}` is deprecated: use `{new}`.", FutureWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def moved_names(module: str, new_modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds names in the modules that they moved to, with a `FutureWarning`.

    Args:
        module (`str`): the old module, its `__name__`.
        new_modules (mapping of `str` to `str`): for each name, the absolute path of the module that now has it.
    """
    return _found_elsewhere(module, {name: (new, name) for name, new in new_modules.items()}, "moved to")


def renamed_names(module: str, new_names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds names under the names that they now have there, with a `FutureWarning`.

    Args:
        module (`str`): the module, its `__name__`.
        new_names (mapping of `str` to `str`): the new name for each old one.
    """
    return _found_elsewhere(module, {name: (module, new) for name, new in new_names.items()}, "is now")


def _found_elsewhere(module: str, places: Mapping[str, tuple[str, str]], verb: str) -> Callable[[str], Any]:
    """`__getattr__` of a module whose old names stand for others, each a module and a name in it."""

    def getattribute(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, new = places[name]
        warnings.warn(f"`{module}.{name}` {verb} `{place}.{new}`.", FutureWarning, stacklevel=2)
        return getattr(importlib.import_module(place), new)

    return getattribute


def moved_module(module: str, *new_modules: str) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds every name in the modules that it moved to, with a `FutureWarning`.

    Args:
        module (`str`): the old module, its `__name__`.
        new_modules (`str`): absolute paths; a name is taken from the first module that has it.
    """

    def getattribute(name: str) -> Any:
        if not name.startswith("__"):  # which the import system asks for
            for new in new_modules:
                found = importlib.import_module(new)
                if hasattr(found, name):
                    warnings.warn(f"`{module}.{name}` moved to `{new}.{name}`.", FutureWarning, stacklevel=2)
                    return getattr(found, name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return getattribute
