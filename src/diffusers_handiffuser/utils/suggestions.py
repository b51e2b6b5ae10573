"""The name that was probably meant, for messages about one that there is not."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable)


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one begins, whose words it has, or that is spelled like it; `None` without any."""
    known = list(known)
    words = _words(name)
    for other in known:
        if name and other.startswith(name):
            return other
    for other in known:
        if words and words <= _words(other):
            return other
    by_lower = {other.lower(): other for other in reversed(known)}
    close = difflib.get_close_matches(name.lower(), by_lower, 1)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], quote: str = "`") -> str:
    """The end of a message about an unknown name: a question with the nearest known one, or a full stop."""
    nearest = nearest_name(name, known)
    return "." if nearest is None else f"; did you mean {quote}{nearest}{quote}?"


def suggests_keywords(function: _Function) -> _Function:
    """A decorator for functions of many keywords: the `TypeError` of an unknown one suggests the nearest."""
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "cls") and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__} has no argument `{name}`{did_you_mean(name, known)}")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))
