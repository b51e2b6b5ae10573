"""Checks of a config before a model is built from it: its numbers, its texts and, for our models, its types."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..utils.messages import is_whole_text, one_line
from .checked_sizes import sizes_are_checked

_MAX_LAYERS, _MAX_STEPS, _MAX_SIZE = 1000, 2**20, 2**24
_LIMITS = {"num_layers": _MAX_LAYERS, "num_hidden_layers": _MAX_LAYERS, "num_train_timesteps": _MAX_STEPS}


def check_config(config: Any) -> None:
    """Refuses a config that is not a JSON object, or holds broken text or implausibly large integers at any depth.

    Schedulers and some models allocate lists and tables of a length that the config gives. JSON can spell half a
    surrogate pair, which cannot be printed or written.
    """
    if not isinstance(config, dict):
        raise ValueError("its config does not hold a JSON object")
    for key, value in entries(config):
        for text in (key, value):
            if isinstance(text, str) and not is_whole_text(text):
                raise ValueError(f"its config has {text!a}, which is not whole text: half of a surrogate pair")
        if _is_whole(value) and abs(value) > (limit := _LIMITS.get(key, _MAX_SIZE)) and sizes_are_checked():
            raise ValueError(
                f"its config has `{key}` {value}, more than {limit}; `check_sizes=False` accepts it anyway"
            )


def check_types(config: Mapping[str, Any], model_class: type) -> None:
    """Refuses values whose type is not the declared one: `"8"` and `true` are not numbers."""
    for key, wanted in typing.get_type_hints(model_class.__init__).items():  # type: ignore[misc]
        if key in config and not _is_of_type(config[key], wanted):
            name = wanted.__name__ if isinstance(wanted, type) else str(wanted)
            raise ValueError(f"its config has `{key}` {one_line(repr(config[key]))}; wanted {name}")


def entries(content: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of nested JSON; the items of a list come under its key."""
    pending = list(content.items())
    while pending:
        key, value = pending.pop()
        yield key, value
        if isinstance(value, Mapping):
            pending += value.items()
        elif isinstance(value, (list, tuple)):
            pending += ((key, part) for part in value)


def _is_whole(value: Any) -> bool:
    """Whether it is an integer or a float without a fraction: some schedulers make tables of 1e10 steps."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _is_of_type(value: Any, wanted: Any) -> bool:
    """Whether a JSON value matches a type hint."""
    origin, arguments = typing.get_origin(wanted) or wanted, typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of_type(value, one) for one in arguments)
    if origin is types.NoneType:
        return value is None
    if origin in (int, bool, str):
        return type(value) is origin
    if origin is float:
        return type(value) in (int, float)
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_is_of_type(part, arguments[0]) for part in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    return True
