"""Measures how well models do, with intervals: so far, stage 1 on the studio's captions."""

from .hands_from_text import GestureRule, evaluate_text_to_hands, score_hands
from .intervals import Estimate, bootstrap_mean

__all__ = ["Estimate", "GestureRule", "bootstrap_mean", "evaluate_text_to_hands", "score_hands"]
