"""A lock: one thread at a time builds or loads models of this package.

diffusers and transformers build a model on torch's meta device before they load its weights, and change the state of
the whole process to do so: accelerate replaces `torch.nn.Module.register_parameter`, transformers sets torch's default
dtype. A model that another thread builds or loads meanwhile stays without weights, and overlapping contexts restore
the wrong state. The lock serialises this package's loads; other code does not take it, and `check_loaded` refuses
models that were left without weights.
"""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_lock = threading.RLock()


def one_at_a_time(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorates a function that builds or loads models: other threads wait, nested calls do not."""

    @functools.wraps(function)
    def wrapper(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _lock:
            return function(*args, **kwargs)

    return wrapper
