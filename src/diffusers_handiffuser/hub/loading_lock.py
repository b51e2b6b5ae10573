"""One thread at a time builds or loads models of this package.

diffusers and transformers build a model on torch's meta device before they load its weights, and tell that to the
whole process: accelerate replaces `torch.nn.Module.register_parameter`, transformers sets torch's default dtype. What
another thread builds or loads meanwhile is left without weights, and contexts that overlap leave torch as none of them
found it. The lock keeps this package's loads apart; what other code loads does not ask for it, and `check_loaded`
refuses what that has left without weights.
"""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_lock = threading.RLock()


def one_at_a_time(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorates what builds or loads models: other threads wait, and one such function may call another."""

    @functools.wraps(function)
    def wrapper(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _lock:
            return function(*args, **kwargs)

    return wrapper
