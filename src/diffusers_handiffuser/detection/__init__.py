"""Hands in images: detectors, retries, and a body fitted to what they find."""

from .detector import DetectedHand, HandDetector
from .finding import find_hands
from .fit import fit_hands
from .fitted_hands import FittedHands

__all__ = ["DetectedHand", "FittedHands", "HandDetector", "find_hands", "fit_hands"]
