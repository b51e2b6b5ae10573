"""Evaluation of images and hands; every metric comes with a confidence interval.

`evaluate`, or the command `handiffuser evaluate`, scores any pipeline on any data set in the package's format.
`python -m diffusers_handiffuser.evaluation.train_features` trains the bundled feature network.
"""

import importlib
from typing import Any

_MODULES = {
    "Cases": ".metrics.estimates",
    "ClipScorer": ".metrics.clip_score",
    "Detection": "diffusers_handiffuser.detection.detector",
    "Estimate": ".metrics.estimates",
    "Evaluation": ".report",
    "FeatureNetwork": ".judges.features",
    "GestureRule": ".metrics.gestures",
    "HandDetector": "diffusers_handiffuser.detection.detector",
    "HandFacts": ".metrics.hand_facts",
    "MediaPipeDetector": "diffusers_handiffuser.detection.mediapipe_hands",
    "Sentence": ".sentences",
    "SentenceEvaluation": ".sentences",
    "StudioFeatureNetwork": ".judges.studio_judge",
    "TextFacts": ".metrics.hand_facts",
    "bootstrap_mean": ".metrics.estimates",
    "evaluate": ".evaluator",
    "evaluate_hands": ".hand_scores",
    "evaluate_own_pictures": ".deprecated",
    "evaluate_sentences": ".sentences",
    "evaluate_text_to_hands": ".deprecated",
    "evaluate_text_to_pictures": ".deprecated",
    "extended_fingers": ".metrics.detection",
    "five_grams_shared": ".sentences",
    "frechet_distance": ".metrics.distances",
    "frechet_estimate": ".metrics.distances",
    "hand_boxes": ".judges.crops",
    "hand_crops": ".judges.crops",
    "judge_hands": ".judges.studio_judge",
    "judge_images": ".judges.studio_judge",
    "judge_pictures": ".deprecated",
    "kernel_distance": ".metrics.distances",
    "kernel_estimate": ".metrics.distances",
    "limit_violations": ".metrics.hand_checks",
    "load_detector": "diffusers_handiffuser.detection.loading",
    "load_features": ".judges.features",
    "match_detections": ".metrics.detection",
    "read_caption": ".metrics.hand_facts",
    "read_rows": ".rows",
    "read_sentences": ".sentences",
    "score_detections": ".metrics.detection",
    "score_hands": ".metrics.gestures",
    "score_images": ".metrics.colors",
    "score_pictures": ".deprecated",
    "score_texts": ".metrics.text_agreement",
    "side_consistency": ".metrics.hand_checks",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Imports names on first use: `python -m` would run a module twice that its package has imported."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
