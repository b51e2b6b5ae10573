"""The interface of hand detectors, and the check of what they return."""

import reprlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ..hands.skeleton import SIDES
from ..utils.messages import one_line, reason_of


@dataclass(frozen=True, eq=False)
class DetectedHand:
    """A detected hand.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        landmarks (`np.ndarray` of shape `(21, 2)`): (x, y) in pixels of the image that the detector was given, not
            mirrored; OpenPose order, which is MediaPipe's.
        confidence (`float`, *optional*): that there is a hand, in [0, 1]; not how certain its side is. None if the
            detector reports none.
        landmarks_3d (`np.ndarray` of shape `(21, 3)`, *optional*): metres, in the axes of the camera frame of
            `HandParams`: x to the right of the image, y down, z away from the camera. The origin does not matter.
            Mirrored axes would make a left hand of a right one.

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
        object.__setattr__(self, "landmarks", _checked_points(self.landmarks, "landmarks", 2))
        if self.landmarks_3d is not None:
            object.__setattr__(self, "landmarks_3d", _checked_points(self.landmarks_3d, "landmarks_3d", 3))
        if self.confidence is not None:
            object.__setattr__(self, "confidence", _checked_confidence(self.confidence))

    def __repr__(self) -> str:
        score = None if self.confidence is None else round(float(self.confidence), 3)
        box = tuple(round(edge, 1) for edge in self.box)
        points = "" if self.landmarks_3d is None else ", with landmarks_3d"
        return f"DetectedHand({self.side}, confidence={score}, box={box}{points})"

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, pixels."""
        low, high = np.min(self.landmarks, 0), np.max(self.landmarks, 0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def pixels(self) -> np.ndarray:
        """The old name of `landmarks`."""
        warnings.warn("`pixels` of a hand is now `landmarks`.", FutureWarning, stacklevel=2)
        return self.landmarks

    @property
    def metres(self) -> np.ndarray | None:
        """The old name of `landmarks_3d`."""
        warnings.warn("`metres` of a hand is now `landmarks_3d`.", FutureWarning, stacklevel=2)
        return self.landmarks_3d


Detection = DetectedHand
"""The name in `evaluation`."""


class HandDetector(Protocol):
    """Finds the hands in an image: `(H, W, 3)` uint8, RGB.

    It returns a [`DetectedHand`] for each. Fitting, evaluation and curation take any callable of this form.
    """

    def __call__(self, image: np.ndarray, /) -> Sequence[DetectedHand]: ...


def detect_hands(detector: HandDetector, image: np.ndarray | Image.Image) -> list[DetectedHand]:
    """Runs a detector on one image and checks what it returns.

    Args:
        detector ([`HandDetector`]): gets a copy of the image, which it may draw on.
        image (`np.ndarray` of shape `(H, W, 3)`, uint8, or `PIL.Image.Image`): RGB.

    Returns:
        `list[DetectedHand]`: the hands, in the detector's order.

    Raises:
        TypeError, ValueError: if the image is of another form; if the detector returns anything else than
            [`DetectedHand`]s (objects with the same attributes will do) or raises one of these or an `AttributeError`
            itself. The message names the detector.
    """
    return check_detections(run_detector(detector, image), detector_name(detector))


def run_detector(detector: HandDetector, image: np.ndarray | Image.Image) -> Any:
    """What a detector returns for one image, not checked: a list, if it can be iterated over."""
    pixels = np.array(image)
    check_image(pixels)
    try:
        found: Any = detector(pixels)
        return list(found) if isinstance(found, Iterable) else found
    except (AttributeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        name, shape = detector_name(detector), pixels.shape
        raise kind(
            f"detector {name} failed on its image, an RGB array of shape {shape}, uint8: {reason_of(error)}"
        ) from error


def check_image(image: np.ndarray, name: str = "`image`") -> None:
    """Raises a `TypeError` or `ValueError` unless the image is of the form that a [`HandDetector`] gets."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name} must be an array, got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"{name} must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}.")


def check_detections(found: Any, name: str) -> list[DetectedHand]:
    """The hands that a detector returned, as [`DetectedHand`]s.

    Args:
        found: what the detector returned.
        name (`str`): the detector's, for messages.

    Raises:
        TypeError, ValueError: if that is anything else, or a hand is not valid.
    """
    wanted = f"detector {name} must return a list of `DetectedHand`s (side, landmarks, confidence, landmarks_3d)"
    if not isinstance(found, Iterable):
        raise TypeError(f"{wanted}, got {_short(found)}")
    hands = []
    for hand in found:
        if not is_hand(hand):
            raise TypeError(f"{wanted}, but one of its hands is {_short(hand)}")
        try:
            checked = validate_hand(hand)
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"detector {name} returned a hand that is not valid: {reason_of(error)}") from error
        hands.append(hand if isinstance(hand, DetectedHand) else checked)
    return hands


def is_hand(item: Any) -> bool:
    """Whether it has the attributes that every [`DetectedHand`] has."""
    return hasattr(item, "side") and hasattr(item, "landmarks")


def validate_hand(hand: Any) -> DetectedHand:
    """A new [`DetectedHand`] of the same attributes; raises a `ValueError` if they are not valid."""
    return DetectedHand(
        hand.side, hand.landmarks, getattr(hand, "confidence", None), getattr(hand, "landmarks_3d", None)
    )


def box_size(hand: DetectedHand) -> float:
    """The longer side of a hand's box, pixels."""
    left, top, right, bottom = hand.box
    return max(right - left, bottom - top)


def detector_name(detector: Any) -> str:
    """The detector as `MODULE:FUNCTION`; the class of one that is no function."""
    named = detector if hasattr(detector, "__qualname__") else type(detector)
    return f"{named.__module__}:{named.__qualname__}"


def _checked_points(points: Any, name: str, axes: int) -> np.ndarray:
    """The points as an array, which shares the memory of one that is given."""
    if isinstance(points, torch.Tensor):
        points = points.detach().cpu()
        points = (points.float() if points.dtype == torch.bfloat16 else points).numpy()  # numpy has no bfloat16
    try:
        points = np.asarray(points)
    except ValueError:  # lists of different lengths
        raise ValueError(f"`{name}` must have shape (21, {axes}), got a ragged list.") from None
    if points.shape != (21, axes):
        raise ValueError(f"`{name}` must have shape (21, {axes}), got {points.shape}.")
    if points.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must be real numbers, got {points.dtype}.")
    finite = np.isfinite(points).all(-1)
    if not finite.all():
        raise ValueError(f"`{name}` must be finite, but {int((~finite).sum())} of 21 points are not.")
    return points


def _checked_confidence(confidence: Any) -> float:
    try:
        value = torch.nan if isinstance(confidence, str) else float(confidence)
    except (TypeError, ValueError):
        value = torch.nan
    if not 0 <= value <= 1:
        raise ValueError(f"`confidence` must be between 0 and 1, got {_short(confidence)}.")
    return value


def _short(value: Any) -> str:
    return f"{one_line(reprlib.repr(value))} ({type(value).__name__})"
