"""What a type checker is told of diffusers, whose own hints do not say it.

`MixinBase` is for mixins that stand before one of diffusers' classes in the bases of a class, and call and override
what they find behind them: to a type checker what all of those classes have in common, when the program runs nothing.
The decorators are diffusers' own, and leave a function its type.
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
