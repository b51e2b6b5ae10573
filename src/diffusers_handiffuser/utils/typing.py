"""Type hints that diffusers lacks.

`MixinBase` is the base of mixins that precede one of diffusers' classes in a class's bases and call or override its
methods: to a type checker, what all of those classes have in common; at run time, `object`. The decorators are
diffusers' own, and keep a function's type.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from diffusers.configuration_utils import ConfigMixin as MixinBase

    _Function = TypeVar("_Function", bound=Callable)

    def register_to_config(init: _Function) -> _Function: ...

    def replace_example_docstring(example_docstring: str) -> Callable[[_Function], _Function]: ...

else:
    from diffusers.configuration_utils import register_to_config
    from diffusers.utils import replace_example_docstring

    MixinBase = object

__all__ = ["MixinBase", "register_to_config", "replace_example_docstring"]
