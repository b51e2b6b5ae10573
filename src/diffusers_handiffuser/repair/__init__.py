"""Repairs the hands of images: finds them, judges them, draws the bad ones anew, and keeps what got better."""

from .judgement import HandJudge, HandJudgement
from .judging import default_judge
from .painting import HandCrop, HandPainter

__all__ = ["HandCrop", "HandJudge", "HandJudgement", "HandPainter", "default_judge"]
