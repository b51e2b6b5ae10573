"""Measures how well models do, every number with an interval.

`evaluate` (or `handiffuser evaluate`) takes any pipeline and any data set in the package's format. `hands_from_text`
and `pictures_from_text` are short commands of their own, for the studio's captions alone.
"""

import importlib
from typing import Any

_MODULES = {
    "Cases": ".metrics.cases",
    "ClipScorer": ".metrics.clip_score",
    "Detection": "diffusers_handiffuser.detection.detector",
    "Estimate": ".metrics.estimates",
    "Evaluation": ".report",
    "FeatureNetwork": ".judges.features",
    "GestureRule": ".metrics.gestures",
    "HandDetector": "diffusers_handiffuser.detection.detector",
    "MediaPipeDetector": "diffusers_handiffuser.detection.mediapipe_hands",
    "StudioFeatureNetwork": ".judges.studio_judge",
    "bootstrap_mean": ".metrics.estimates",
    "evaluate": ".evaluator",
    "evaluate_own_pictures": ".metrics.colors",
    "evaluate_text_to_hands": ".metrics.gestures",
    "evaluate_text_to_pictures": ".metrics.colors",
    "extended_fingers": ".metrics.detection",
    "frechet_distance": ".metrics.distances",
    "frechet_estimate": ".metrics.distances",
    "hand_boxes": ".judges.crops",
    "hand_crops": ".judges.crops",
    "judge_hands": ".judges.studio_judge",
    "judge_pictures": ".judges.studio_judge",
    "kernel_distance": ".metrics.distances",
    "kernel_estimate": ".metrics.distances",
    "limit_violations": ".metrics.hand_checks",
    "load_detector": "diffusers_handiffuser.detection.loading",
    "load_features": ".judges.features",
    "match_detections": ".metrics.detection",
    "read_rows": ".rows",
    "score_detections": ".metrics.detection",
    "score_hands": ".metrics.gestures",
    "score_pictures": ".metrics.colors",
    "side_consistency": ".metrics.hand_checks",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Modules that are commands as well (`python -m`) must not be imported by their package first."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
