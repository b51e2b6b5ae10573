"""Measures how well models do, with intervals: both stages on the studio's captions."""

import importlib
from typing import Any

_MODULES = {
    "Estimate": "intervals",
    "GestureRule": "hands_from_text",
    "bootstrap_mean": "intervals",
    "evaluate_own_pictures": "pictures_from_text",
    "evaluate_text_to_hands": "hands_from_text",
    "evaluate_text_to_pictures": "pictures_from_text",
    "score_hands": "hands_from_text",
    "score_pictures": "pictures_from_text",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Modules that are commands as well (`python -m`) must not be imported by their package first."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
