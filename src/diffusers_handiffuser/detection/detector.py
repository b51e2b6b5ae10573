"""What a hand detector is: a function from an image to the hands in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..hands.skeleton import SIDES


@dataclass(frozen=True, eq=False)
class Detection:
    """A hand that was found.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        landmarks (`np.ndarray` of shape `(21, 2)`): (x, y) in pixels, OpenPose order.
        confidence (`float`, *optional*): that there is a hand, in [0, 1]; not how sure its side is. None where the
            detector does not tell.
        landmarks_3d (`np.ndarray` of shape `(21, 3)`, *optional*): metres; origin and axes do not matter.
    """

    side: str
    landmarks: np.ndarray
    confidence: float | None = None
    landmarks_3d: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"`side` must be one of {SIDES}, got {self.side!r}.")
        if np.shape(self.landmarks) != (21, 2) or not np.isfinite(self.landmarks).all():
            raise ValueError(f"`landmarks` must be finite, of shape (21, 2), got {np.shape(self.landmarks)}.")
        if self.landmarks_3d is not None and np.shape(self.landmarks_3d) != (21, 3):
            raise ValueError(f"`landmarks_3d` must have shape (21, 3), got {np.shape(self.landmarks_3d)}.")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"`confidence` must be between 0 and 1, got {self.confidence}.")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, pixels."""
        low, high = np.min(self.landmarks, 0), np.max(self.landmarks, 0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


class HandDetector(Protocol):
    """Finds the hands in an image: `(H, W, 3)` uint8, RGB."""

    def __call__(self, image: np.ndarray, /) -> Sequence[Detection]: ...
