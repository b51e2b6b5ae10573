"""The hands of an image: found by a detector, or looked for where a box points, each fitted alone."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.geometry import hand_joints_in_pixels
from ..detection import DetectedHand, HandDetector, fit_hands
from ..detection.detector import box_size
from ..detection.finding import search
from ..detection.fit import check_hand
from ..hands import HandBodyModel, HandParams
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.skeleton import SIDES
from ..utils.messages import reason_of
from .squares import Box, Square

_AROUND_BOX = 1.6
"""Times its longer side: what a detector is shown of a box. Palms are found by what surrounds them, too."""
_VIEW_SIZES = (256, 1024)
"""Smallest and largest square, pixels, that a detector is shown."""
_SAME_PLACE = 0.5
"""Of a hand's size: the mean distance of its joints up to which a hand is the one that was wanted there."""


@dataclass(frozen=True)
class FoundHand:
    """A hand of an image.

    Args:
        detected ([`DetectedHand`]): in pixels of the image.
        fit ([`HandParams`] of batch shape `(1,)`): in the camera of the image; this hand alone is visible.
        confidence (`float`): of the fit, see [`FittedHands`].
    """

    detected: DetectedHand
    fit: HandParams
    confidence: float

    @property
    def side(self) -> str:
        """Of the fit, which the detector's may differ from."""
        return SIDES[int(self.fit.hand_visible[0].int().argmax())]


def find_hands_and_boxes(
    pixels: np.ndarray, detector: HandDetector, boxes: Sequence[Box], body_model: HandBodyModel
) -> list[FoundHand | Box]:
    """The hands that are found in an image, then those in boxes; a box itself where none is found.

    A box with the middle of a hand that was found already adds none.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8): RGB, upright.
        detector ([`HandDetector`]): is shown the image, and what is around the boxes.
        boxes (sequence of `Box`): see [`check_boxes`].
        body_model ([`HandBodyModel`]): the body that is fitted.
    """
    places: list[DetectedHand | Box] = [hand for hand in search(pixels, detector, "") if _is_valid(hand)]
    for box in boxes:
        if any(isinstance(hand, DetectedHand) and _points_at(box, hand) for hand in places):
            continue
        inside = [hand for hand in look_closer(pixels, detector, box, _AROUND_BOX) if _points_at(box, hand)]
        places.append(max(inside, key=lambda hand: hand.confidence or 0.0) if inside else box)
    hands = [place for place in places if isinstance(place, DetectedHand)]
    fits = iter(fit_each(hands, (pixels.shape[1], pixels.shape[0]), body_model))
    return [next(fits) if isinstance(place, DetectedHand) else place for place in places]


def look_closer(pixels: np.ndarray, detector: HandDetector, box: Box, factor: float) -> list[DetectedHand]:
    """The hands that a detector finds in the square around a box, enlarged if it is small; pixels of the image."""
    square = Square.around(box, factor, (pixels.shape[1], pixels.shape[0]))
    smallest, largest = _VIEW_SIZES
    size = min(max(square.side, smallest), largest)
    hands = []
    for hand in search(np.asarray(square.resized(pixels, size)), detector, ""):
        if not _is_valid(hand):
            continue
        landmarks = square.points_to_image(hand.landmarks, size)
        hands.append(DetectedHand(hand.side, landmarks, hand.confidence, hand.landmarks_3d))
    return hands


def hand_at(hands: Sequence[DetectedHand], joints: np.ndarray) -> DetectedHand | None:
    """Of several hands the one nearest to joints `(21, 2)`, if it lies where they do."""
    size = float(np.ptp(joints, axis=0).max())
    distances = [float(np.linalg.norm(hand.landmarks - joints, axis=-1).mean()) for hand in hands]
    nearest = min(range(len(hands)), key=distances.__getitem__, default=None)
    return None if nearest is None or distances[nearest] > _SAME_PLACE * size else hands[nearest]


def fit_each(hands: Sequence[DetectedHand], size: tuple[int, int], body_model: HandBodyModel) -> list[FoundHand]:
    """Hands of an image of this width and height, each fitted as that of a person of its own."""
    if not hands:
        return []
    fitted = fit_hands([[hand] for hand in hands], size, body_model=body_model)
    found = []
    for row in range(len(fitted)):
        one = fitted[[row]]
        hand = hands[int(one.image_index)]
        found.append(FoundHand(hand, one.hand_params, float(one.confidence.nan_to_num(0).amax())))
    return found


def joints_in_pixels(hand_params: HandParams, body_model: HandBodyModel, size: tuple[int, int]) -> np.ndarray:
    """The joints `(21, 2)` of the one visible hand `(1,)`, in pixels of an image of this width and height."""
    side = int(hand_params.hand_visible[0].int().argmax())
    joints: np.ndarray = hand_joints_in_pixels(hand_params, body_model, *size)[0, side].numpy()
    return joints


def box_of_mesh(hand_params: HandParams, body_model: HandBodyModel, size: tuple[int, int]) -> Box:
    """The box around the one visible hand `(1,)`, in pixels of an image of this width and height."""
    geometry = body_model(hand_params.to(body_model.device))
    skins = (geometry.left_vertices, geometry.right_vertices)
    skin = skins[int(hand_params.hand_visible[0].int().argmax())]
    points = square_to_pixels(project_weak_perspective(skin.cpu(), hand_params.camera.cpu()), size[1], size[0])[0]
    left, top, right, bottom = [*points.amin(0).tolist(), *points.amax(0).tolist()]
    return left, top, right, bottom


def joined(first: Box, second: Box) -> Box:
    """The smallest box around both."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def check_boxes(boxes: Any, size: tuple[int, int]) -> list[Box]:
    """The boxes as tuples of numbers.

    Args:
        boxes: four numbers each: left, top, right, bottom, pixels.
        size (`tuple[int, int]`): width and height of the image that they must lie in.

    Raises:
        TypeError, ValueError: it names the box.
    """
    if isinstance(boxes, str) or not isinstance(boxes, Iterable):
        raise TypeError(f"`boxes` must be a sequence of boxes (left, top, right, bottom), got {type(boxes).__name__}.")
    checked = []
    for box in boxes:
        try:
            left, top, right, bottom = (float(edge) for edge in box)
        except (TypeError, ValueError):
            raise ValueError(f"a box must be four numbers, (left, top, right, bottom), got {box!r}.") from None
        shown = f"({left:g}, {top:g}, {right:g}, {bottom:g})"
        if not all(map(math.isfinite, (left, top, right, bottom))) or not (left < right and top < bottom):
            raise ValueError(f"box {shown} must be (left, top, right, bottom), with left < right and top < bottom.")
        if left < 0 or top < 0 or right > size[0] or bottom > size[1]:
            raise ValueError(f"box {shown} must lie inside the image of {size[0]} x {size[1]} pixels, upright.")
        checked.append((left, top, right, bottom))
    return checked


def _points_at(box: Box, hand: DetectedHand) -> bool:
    left, top, right, bottom = hand.box
    x, y = (left + right) / 2, (top + bottom) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _is_valid(hand: DetectedHand) -> bool:
    """Whether it can be fitted; warns if not."""
    try:
        check_hand(hand)
    except (TypeError, ValueError) as error:
        warnings.warn(f"a hand is left out: {reason_of(error)}", RuntimeWarning, stacklevel=3)
        return False
    return box_size(hand) > 0
