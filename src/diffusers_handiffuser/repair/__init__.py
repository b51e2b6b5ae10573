"""Repairs the hands of images: finds them, judges them, draws the bad ones anew, and keeps what got better."""

from .judgement import HandJudge, HandJudgement
from .painting import HandCrop, HandPainter

__all__ = ["HandCrop", "HandJudge", "HandJudgement", "HandPainter"]
