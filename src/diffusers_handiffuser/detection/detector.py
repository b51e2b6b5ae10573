"""The interface of hand detectors, and the check of what they return."""

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..hands.skeleton import SIDES
from ..utils.messages import one_line, reason_of


@dataclass(frozen=True, eq=False)
class Detection:
    """A detected hand.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        landmarks (`np.ndarray` of shape `(21, 2)`): (x, y) in pixels, OpenPose order.
        confidence (`float`, *optional*): that there is a hand, in [0, 1]; not how certain its side is. None if the
            detector reports none.
        landmarks_3d (`np.ndarray` of shape `(21, 3)`, *optional*): metres; origin and axes do not matter.

    Raises:
        ValueError: if a value is not as above, or a landmark is not finite.
    """

    side: str
    landmarks: np.ndarray
    confidence: float | None = None
    landmarks_3d: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"`side` must be one of {SIDES}, got {self.side!r}.")
        _check_points(self.landmarks, "landmarks", 2)
        if self.landmarks_3d is not None:
            _check_points(self.landmarks_3d, "landmarks_3d", 3)
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"`confidence` must be between 0 and 1, got {self.confidence}.")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, pixels."""
        low, high = np.min(self.landmarks, 0), np.max(self.landmarks, 0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class HandDetector(Protocol):
    """Finds the hands in an image: `(H, W, 3)` uint8, RGB.

    Evaluation and curation take any callable of this form. They call it by [`detect_hands`].
    """

    def __call__(self, image: np.ndarray, /) -> Sequence[Detection]: ...


def detect_hands(detector: HandDetector, image: np.ndarray | Image.Image) -> list[Detection]:
    """Runs a detector on one image and checks what it returns.

    Args:
        detector ([`HandDetector`]): gets a copy of the image, which it may draw on.
        image (`np.ndarray` of shape `(H, W, 3)`, uint8, or `PIL.Image.Image`): RGB.

    Returns:
        `list[Detection]`: the hands, in the detector's order.

    Raises:
        TypeError, ValueError: if the image is of another form; if the detector returns anything else than
            [`Detection`]s (objects with the same attributes will do) or raises one of these or an `AttributeError`
            itself. The message names the detector.
    """
    pixels = np.array(image)
    check_image(pixels)
    name = detector_name(detector)
    try:
        found: Any = detector(pixels)
        found = list(found) if isinstance(found, Iterable) else found
    except (AttributeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            f"detector {name} failed on its image, an RGB array of shape {pixels.shape}, uint8: {reason_of(error)}"
        ) from error
    return check_detections(found, name)


def check_image(image: np.ndarray) -> None:
    """Raises a `TypeError` or `ValueError` unless the image is of the form that a [`HandDetector`] gets."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"`image` must be an array, got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image` must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}.")


def check_detections(found: Any, name: str) -> list[Detection]:
    """The hands that a detector returned, as [`Detection`]s.

    Args:
        found: what the detector returned.
        name (`str`): the detector's, for messages.

    Raises:
        TypeError, ValueError: if that is anything else, or a hand is not valid.
    """
    wanted = f"detector {name} must return a list of `Detection`s (side, landmarks, confidence, landmarks_3d)"
    if not isinstance(found, Iterable):
        raise TypeError(f"{wanted}, got {_short(found)}")
    hands = []
    for hand in found:
        if not (hasattr(hand, "side") and hasattr(hand, "landmarks")):
            raise TypeError(f"{wanted}, but one of its hands is {_short(hand)}")
        confidence, landmarks_3d = getattr(hand, "confidence", None), getattr(hand, "landmarks_3d", None)
        try:
            checked = Detection(hand.side, hand.landmarks, confidence, landmarks_3d)
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"detector {name} returned a hand that is not valid: {reason_of(error)}") from error
        hands.append(hand if isinstance(hand, Detection) else checked)
    return hands


def detector_name(detector: Any) -> str:
    """The detector as `MODULE:FUNCTION`; the class of one that is no function."""
    named = detector if hasattr(detector, "__qualname__") else type(detector)
    return f"{named.__module__}:{named.__qualname__}"


def _check_points(points: Any, name: str, axes: int) -> None:
    shape = np.shape(points)
    if shape != (21, axes):
        raise ValueError(f"`{name}` must have shape (21, {axes}), got {tuple(shape)}.")
    finite = np.isfinite(np.asarray(points)).all(-1)
    if not finite.all():
        raise ValueError(f"`{name}` must be finite, but {int((~finite).sum())} of 21 points are not.")


def _short(value: Any) -> str:
    return f"{one_line(reprlib.repr(value))} ({type(value).__name__})"
