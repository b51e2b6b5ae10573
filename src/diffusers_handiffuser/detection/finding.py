"""Finds hands in photographs: a detector, and retries where it finds none."""

import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..utils.images import open_image, upright_rgb
from ..utils.messages import printable, reason_of
from .detector import (
    DetectedHand,
    HandDetector,
    box_size,
    check_detections,
    check_image,
    detector_name,
    run_detector,
)
from .loading import load_detector
from .mediapipe_hands import TASK_VARIABLE, MediaPipeDetector

_MAX_HANDS = 8
_PADDINGS = (0.0, 0.25, 0.5)
"""Of the longer side, on every side. Detectors of palms miss those that fill the image or touch its edge."""
_WIDEST = 4
"""The longer side counts as at most so many of the shorter one: the margins of a narrow strip would be most of it."""
_TILES = (2, 3, 5)
"""Per side: hands may be too small for the detector's resolution."""
_LARGE = 0.25
"""Of the longer side. Where a hand is as large, MediaPipe sees the others as well."""
_OVERLAP = 0.3
_SMALLEST_TILE = 128
_GREY = 128
_SAME = 0.25
"""Of a hand's size: the mean distance up to which two are one hand."""
_SAME_CUT_OFF = 0.6

Photograph = str | os.PathLike | Image.Image | np.ndarray
"""A file, an image of any mode, or an array `(H, W, 3)`, uint8, RGB."""
AnyDetector = HandDetector | str | os.PathLike | None
"""A detector, its name as in the commands' `--detector`, or MediaPipe."""


def find_hands(image: Photograph, detector: AnyDetector = None) -> list[DetectedHand]:
    """Finds the hands in a photograph.

    Where the detector finds none, it is tried again on the image with a grey margin of a quarter and of a half of its
    longer side, then on overlapping tiles: 4, 9 and 25. One with the attribute `misses_small_hands`, such as
    MediaPipe, is also tried again where all hands that it found are small, as in images of many people. A hand that
    is found twice is returned once. Hands that the detector returns but that are not valid are left out, with a
    warning.

    Args:
        image (`str`, `Path`, `PIL.Image.Image` or `np.ndarray`): a file, an image of any mode, whose EXIF orientation
            is applied, or an array `(H, W, 3)`, uint8, RGB.
        detector ([`HandDetector`], `str` or `Path`, *optional*): a detector, `"mediapipe"`, a `.task` file, or
            `"MODULE:FUNCTION"`. By default MediaPipe, of the extra `detect` or with the file that
            `HANDIFFUSER_HAND_LANDMARKER` names.

    Returns:
        `list` of [`DetectedHand`]: landmarks are pixels of the upright image.

    Raises:
        ImportError: if MediaPipe is not installed; the message says how to go on.
        OSError, ValueError: if the image cannot be read.
        TypeError, ValueError: as [`detect_hands`].

    Examples:
        ```py
        >>> from diffusers_handiffuser import find_hands

        >>> hands = find_hands("photograph.jpg")
        >>> hands[0].side, hands[0].landmarks  # (21, 2), pixels
        ```
    """
    return search(read_photograph(image), open_detector(detector), "")


def search(pixels: np.ndarray, detector: HandDetector, where: str) -> list[DetectedHand]:
    """As [`find_hands`], of an array; `where` begins the warnings: `"image 3: "`."""
    misses_small = getattr(detector, "misses_small_hands", False)
    whole: list[DetectedHand] = []
    cut_off: list[DetectedHand] = []
    for attempt in _attempts(pixels):
        for view, corner in attempt:
            for hand in _detect(detector, view, corner, where):
                (cut_off if _is_cut_off(hand, view, corner, pixels) else whole).append(hand)
        found = [*whole, *cut_off]
        if found and not (misses_small and max(map(box_size, found)) < _LARGE * max(pixels.shape[:2])):
            break
    return _without_doubles(_without_doubles([], whole, _SAME), cut_off, _SAME_CUT_OFF)


def read_photograph(image: Photograph, name: str = "") -> np.ndarray:
    """An upright array `(H, W, 3)`, uint8, RGB.

    Args:
        image: see `Photograph`.
        name (`str`): of an image that is not a file, for errors.

    Raises:
        TypeError, ValueError, OSError: if it is no image; the message names it.
    """
    if isinstance(image, np.ndarray):
        check_image(image, name or "`image`")
        if not image.size:
            raise ValueError(f"{name or '`image`'} must have pixels, got shape {image.shape}.")
        return image
    if isinstance(image, Image.Image):
        try:
            return np.asarray(upright_rgb(image))
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot read {name or 'the image'}: {reason_of(error)}") from error
    if not isinstance(image, str | os.PathLike):
        raise TypeError(f"{name or '`image`'} must be a path, a PIL image or an array, got {type(image).__name__}.")
    path = Path(image)
    if path.is_dir():
        raise FileNotFoundError(f"{printable(str(path))!r} is a folder, not an image file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no image file {printable(os.fspath(image))!r}")
    try:
        return np.asarray(open_image(path))
    except Exception as error:  # Pillow's decoders fail in many ways on damaged images
        raise ValueError(f"cannot read image {printable(str(path))}: {reason_of(error)}") from error


def open_detector(detector: AnyDetector, option: str = "`detector`") -> HandDetector:
    """The detector itself; MediaPipe is loaded once. `option` names it in errors."""
    if detector is None or (isinstance(detector, str) and detector == "mediapipe"):
        return _mediapipe(os.environ.get(TASK_VARIABLE) or None)
    if isinstance(detector, str | os.PathLike):
        return load_detector(os.fspath(detector), max_hands=_MAX_HANDS, option=option)
    if not callable(detector):
        raise TypeError(f"{option} must be a callable or the name of one, got {type(detector).__name__}.")
    return detector


@functools.cache
def _mediapipe(task: str | None) -> MediaPipeDetector:
    """`task` is what the environment variable says, which `MediaPipeDetector` reads itself."""
    return MediaPipeDetector(max_hands=_MAX_HANDS)


def _attempts(pixels: np.ndarray) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """One after the other: lists of views of the image, with the pixel `(x, y)` of their upper left corners."""
    height, width = pixels.shape[:2]
    for share in _PADDINGS:
        margin = round(share * min(max(height, width), _WIDEST * min(height, width)))
        view = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), constant_values=_GREY)
        yield [(view, np.array([-margin, -margin]))]
    for number in _TILES:
        side = round(max(height, width) / number * (1 + _OVERLAP))
        if side >= _SMALLEST_TILE:
            corners = [(x, y) for y in _starts(height, side, number) for x in _starts(width, side, number)]
            yield [(pixels[y : y + side, x : x + side], np.array([x, y])) for x, y in corners]


def _starts(length: int, side: int, number: int) -> list[int]:
    """First pixels of tiles that cover a length evenly."""
    return sorted({round(k * max(0, length - side) / (number - 1)) for k in range(number)})


def _detect(detector: HandDetector, view: np.ndarray, corner: np.ndarray, where: str) -> list[DetectedHand]:
    name, hands = detector_name(detector), []
    found = run_detector(detector, view)
    if not isinstance(found, Sequence):
        return check_detections(found, name)  # which says what is wrong
    for number, hand in enumerate(found):
        try:
            (checked,) = check_detections([hand], name)
        except ValueError as error:
            warnings.warn(f"{where}hand {number} is left out: {reason_of(error)}", RuntimeWarning, stacklevel=4)
        else:
            moved = checked.landmarks + corner
            hands.append(DetectedHand(checked.side, moved, checked.confidence, checked.landmarks_3d))
    return hands


def _is_cut_off(hand: DetectedHand, view: np.ndarray, corner: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether a hand crosses an edge of its view inside of the image: another tile may show all of it."""
    low, high = corner, corner + view.shape[1::-1]
    inside = (low > 0, high < np.array(pixels.shape[1::-1]))
    left_top, right_bottom = hand.landmarks.min(0), hand.landmarks.max(0)
    return bool((inside[0] & (left_top < low)).any() or (inside[1] & (right_bottom > high)).any())


def _without_doubles(
    known: Sequence[DetectedHand], hands: Sequence[DetectedHand], distance: float
) -> list[DetectedHand]:
    """The known hands and those in other places; of several in one place the one of the highest confidence."""
    kept = list(known)
    for hand in sorted(hands, key=lambda hand: -1 if hand.confidence is None else -hand.confidence):
        if not any(_distance(hand, other) < distance for other in kept):
            kept.append(hand)
    return [*known, *(hand for hand in hands if any(hand is other for other in kept))]


def _distance(hand: DetectedHand, other: DetectedHand) -> float:
    """Mean distance of the landmarks, in sizes of the other hand."""
    distance: Any = np.linalg.norm(hand.landmarks - other.landmarks, axis=-1).mean()
    return float(distance / max(box_size(other), 1e-9))
