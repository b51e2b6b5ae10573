"""Repairs the hands of images: finds them, judges them, draws the bad ones anew, and keeps what got better."""

from .judgement import HandJudge, HandJudgement
from .judging import default_judge
from .output import RepairedHand, RepairOutput
from .painters import painter_for
from .painting import HandCrop, HandPainter, PaintingError
from .preview import draw_repair
from .repairing import repair_hands

__all__ = [
    "HandCrop",
    "HandJudge",
    "HandJudgement",
    "HandPainter",
    "PaintingError",
    "RepairOutput",
    "RepairedHand",
    "default_judge",
    "draw_repair",
    "painter_for",
    "repair_hands",
]
