"""Repairs the hands of images: finds them, judges them, draws the bad ones anew, and keeps what got better."""

from .judgement import HandJudge, HandJudgement
from .painters import painter_for
from .painting import HandCrop, HandPainter, PaintingError

__all__ = ["HandCrop", "HandJudge", "HandJudgement", "HandPainter", "PaintingError", "painter_for"]
