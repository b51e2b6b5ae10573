"""Measures how well models do, every number with an interval.

`evaluate` (or `handiffuser evaluate`) takes any pipeline and any data set in the package's format. `hands_from_text`
and `pictures_from_text` are short commands of their own, for the studio's captions alone.
"""

import importlib
from typing import Any

_MODULES = {
    "Cases": "cases",
    "ClipScorer": "clip_score",
    "Detection": "detectors",
    "Estimate": "intervals",
    "Evaluation": "report",
    "FeatureNetwork": "features",
    "GestureRule": "hands_from_text",
    "HandDetector": "detectors",
    "MediaPipeDetector": "detectors",
    "StudioFeatureNetwork": "feature_network",
    "bootstrap_mean": "intervals",
    "evaluate": "evaluator",
    "evaluate_own_pictures": "pictures_from_text",
    "evaluate_text_to_hands": "hands_from_text",
    "evaluate_text_to_pictures": "pictures_from_text",
    "extended_fingers": "detection",
    "frechet_distance": "distances",
    "frechet_estimate": "distances",
    "hand_boxes": "crops",
    "hand_crops": "crops",
    "judge_hands": "feature_network",
    "judge_pictures": "feature_network",
    "kernel_distance": "distances",
    "kernel_estimate": "distances",
    "limit_violations": "hand_checks",
    "load_detector": "detectors",
    "load_features": "features",
    "match_detections": "detection",
    "read_rows": "rows",
    "score_detections": "detection",
    "score_hands": "hands_from_text",
    "score_pictures": "pictures_from_text",
    "side_consistency": "hand_checks",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Modules that are commands as well (`python -m`) must not be imported by their package first."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
