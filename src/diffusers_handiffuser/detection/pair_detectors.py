"""Detectors in the form that curation took before; they go in the next release."""

import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image

from .detector import DetectedHand, HandDetector, check_detections, detect_hands, detector_name

PairDetector = Callable[[Image.Image], Iterable[tuple[str, Any]]]
"""A PIL image (RGB) to pairs of a side, `"left"` or `"right"`, and 21 points `(21, 2)` in pixels, OpenPose order."""


class EitherDetector:
    """Runs a [`HandDetector`] or a `PairDetector`, whichever it is given.

    The hands that it returns tell which: `DetectedHand`s for an array, or pairs for a PIL image. Before the first
    hand, an error or an empty answer may come from the wrong kind of image, so the detector is tried with both.

    Args:
        detector (callable): of either form.
    """

    def __init__(self, detector: HandDetector | PairDetector):
        self.detector: Any = detector
        self._returns_pairs: bool | None = None

    def __call__(self, image: Image.Image) -> list[DetectedHand]:
        """As [`detect_hands`]; warns of pairs, once, with a `FutureWarning`."""
        if self._returns_pairs is None:
            return self._try_both(image)
        if self._returns_pairs:
            return self._to_detections(self.detector(image))
        return detect_hands(self.detector, image)

    def _try_both(self, image: Image.Image) -> list[DetectedHand]:
        hands: list[DetectedHand] = []
        failure: Exception | None = None
        try:
            hands = detect_hands(self.detector, image)
        except (TypeError, ValueError) as error:  # as of one that wants a PIL image
            failure = error
        if hands:
            self._returns_pairs = False
            return hands
        try:
            pairs = list(self.detector(image))
        except Exception:
            pairs = None
        if pairs and all(_is_pair(pair) for pair in pairs):
            self._returns_pairs = True
            warnings.warn(
                f"detector {detector_name(self.detector)} takes a PIL image and returns pairs, which the next release "
                "refuses: take an array (H, W, 3) uint8 (`PIL.Image.fromarray` makes an image of it) and return "
                "`diffusers_handiffuser.DetectedHand(side, landmarks)` for each hand.",
                FutureWarning,
                stacklevel=3,
            )
            return self._to_detections(pairs)
        if failure is not None and pairs != []:
            raise failure
        return []

    def _to_detections(self, pairs: Iterable[Any]) -> list[DetectedHand]:
        hands = [_as_hand(pair) if _is_pair(pair) else pair for pair in pairs]
        return check_detections(hands, detector_name(self.detector))


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str)


def _as_hand(pair: Any) -> SimpleNamespace:
    side, points = pair
    return SimpleNamespace(side=side, landmarks=torch.as_tensor(points).detach().float().cpu().numpy())
