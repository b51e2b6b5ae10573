"""A pipeline serves one thread at a time; pipelines of several threads may share all but `scheduler`.

A call keeps its state in the pipeline and in `scheduler` (timesteps, step index). A second call at the same time would
overwrite it, which ends in an error from within the scheduler, or in a wrong image. Stage 1 steps with a copy of
`text_to_hand_scheduler`, and tokenizers are used in turns.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

_Pipeline = TypeVar("_Pipeline")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

SHARED_STATE_LOCK = threading.RLock()
"""Held where state of a component that pipelines share is set and read: steps of `text_to_hand_scheduler`, truncation
and padding of tokenizers."""

_lock = threading.Lock()
_thread_of: dict[int, int] = {}
"""The thread that uses an object, by the object's `id`; an attribute would go along into copies of the object."""


def one_thread_at_a_time(
    method: Callable[Concatenate[_Pipeline, _Arguments], _Result],
) -> Callable[Concatenate[_Pipeline, _Arguments], _Result]:
    """Decorates a call of a pipeline: while it lasts, such calls from other threads raise a `RuntimeError`.

    So do calls of other pipelines that share its `scheduler`. Callbacks may call the pipeline.
    """

    @functools.wraps(method)
    def wrapper(self: _Pipeline, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _used_by_this_thread(self):
            return method(self, *args, **kwargs)

    return wrapper


@contextlib.contextmanager
def _used_by_this_thread(pipeline: Any) -> Iterator[None]:
    thread, taken = threading.get_ident(), []
    parts = {f"This {type(pipeline).__name__}": pipeline}
    if (scheduler := getattr(pipeline, "scheduler", None)) is not None:
        parts["The `scheduler` of this pipeline"] = scheduler
    try:
        with _lock:
            for what, part in parts.items():
                if _thread_of.get(id(part), thread) != thread:
                    raise RuntimeError(
                        f"{what} is in use by a call in another thread; give every thread a pipeline with a "
                        "scheduler of its own, which may share all else: docs/features.md, section Threads."
                    )
            for part in parts.values():
                if id(part) not in _thread_of:
                    _thread_of[id(part)] = thread
                    taken.append(part)
        yield
    finally:
        for part in taken:
            _thread_of.pop(id(part), None)
