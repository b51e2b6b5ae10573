"""The studio: procedural gestures, captions, scenes and rendered images with exact hand parameters.

Everything is computed from the licence-free body, without photographs or licensed models.
"""

from .captions import describe
from .defects import DEFECTS, Defect, sample_defect
from .draw import Studio
from .gestures import GESTURES, Gesture, finger_gesture, gesture_by_name
from .language.sentences import Sentence, handless_caption, handless_sentence, natural_caption, natural_sentence
from .make import make_dataset
from .pairs import DefectPairs, draw_pairs
from .scenes import SKIN_TONES, Scene, is_held_out, sample_scene, scene_split

__all__ = [
    "DEFECTS",
    "GESTURES",
    "SKIN_TONES",
    "Defect",
    "DefectPairs",
    "Gesture",
    "Scene",
    "Sentence",
    "Studio",
    "describe",
    "draw_pairs",
    "finger_gesture",
    "gesture_by_name",
    "handless_caption",
    "handless_sentence",
    "is_held_out",
    "make_dataset",
    "natural_caption",
    "natural_sentence",
    "sample_defect",
    "sample_scene",
    "scene_split",
]
