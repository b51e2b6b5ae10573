"""Curation's detectors of the last release, which take a PIL image and return pairs, beside those of the one form."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.detection.detector import DetectedHand
from diffusers_handiffuser.detection.pair_detectors import EitherDetector

POINTS = np.arange(42.0).reshape(21, 2)
EMPTY, FULL = (Image.new("RGB", (7, 5), color) for color in ("black", "white"))


class Reader:
    """Finds a hand in images that are not black, and keeps the types of the images that it gets."""

    def __init__(self, hand, read=np.asarray):
        self.hand, self.read, self.seen = hand, read, []

    def __call__(self, image):
        self.seen.append(type(image))
        return [self.hand] if np.any(self.read(image)) else []


def as_array(image):
    """How code for arrays reads them."""
    return image[..., ::-1].astype(np.float32)


def as_pil(image):
    """How code for PIL images reads them."""
    return np.asarray(image.convert("L"))


def as_either(image):
    """As libraries read it that take arrays for BGR: both kinds of image, but not alike. These find no hand in it."""
    return np.asarray(image) if isinstance(image, Image.Image) else np.zeros(3)


def quietly(detect, *images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [detect(image) for image in images]


class TestOneForm:
    @pytest.mark.parametrize("read", [np.asarray, as_array])
    def test_detectors_of_arrays_never_warn(self, read):
        hand = DetectedHand("left", POINTS)
        detector = Reader(hand, read)
        assert quietly(EitherDetector(detector), EMPTY, FULL, EMPTY, FULL) == [[], [hand], [], [hand]]
        # Both kinds of image are tried until a hand shows which one the detector takes.
        assert detector.seen == [np.ndarray, Image.Image, np.ndarray, np.ndarray, np.ndarray]

    def test_its_errors_are_its_own(self):
        def broken(image):
            if isinstance(image, np.ndarray):
                raise ChildProcessError("the process ended")
            return []

        with pytest.raises(ChildProcessError, match="the process ended"):
            EitherDetector(broken)(FULL)

    def test_one_that_takes_pil_images_and_returns_detections_is_of_neither_form(self):
        with pytest.raises(TypeError, match="detector test_pair_detectors:Reader failed on its image, an RGB array"):
            EitherDetector(Reader(DetectedHand("left", POINTS), as_pil))(FULL)

    @pytest.mark.parametrize("answer", [None, [POINTS], ["left"]])
    def test_what_is_neither_is_refused(self, answer):
        with pytest.raises(TypeError, match="detector .* must return a list of `DetectedHand`s"):
            EitherDetector(lambda image: answer)(FULL)


class TestPairs:
    @pytest.mark.parametrize("read", [np.asarray, as_pil, as_either])
    @pytest.mark.parametrize("points", [POINTS, POINTS.tolist(), torch.tensor(POINTS, requires_grad=True)])
    def test_work_with_a_warning(self, read, points):
        detector = Reader(("right", points), read)
        detect = EitherDetector(detector)
        assert quietly(detect, EMPTY) == [[]]
        with pytest.warns(FutureWarning, match=r":Reader takes .* return `.*DetectedHand\(side, landmarks\)"):
            (hand,) = detect(FULL)
        assert hand.side == "right" and hand.confidence is None and np.array_equal(hand.landmarks, POINTS)
        # Once known, it gets the image that it was written for, and nobody is warned twice.
        detector.seen.clear()
        ((again,), nothing) = quietly(detect, FULL, EMPTY)
        assert np.array_equal(again.landmarks, POINTS) and nothing == []
        assert detector.seen == [Image.Image] * 2

    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            (("Left", POINTS), "`side` must be one of .*, got 'Left'"),
            (("left", POINTS[1:]), r"`landmarks` must have shape \(21, 2\), got \(20, 2\)"),
            (("left", POINTS * np.nan), "`landmarks` must be finite"),
        ],
    )
    def test_are_checked_as_all_hands(self, pair, message):
        with pytest.warns(FutureWarning), pytest.raises(ValueError, match=f"detector .*:Reader .*{message}"):
            EitherDetector(Reader(pair))(FULL)

    def test_later_answers_must_be_hands_too(self):
        detector = Reader(("left", POINTS))
        detect = EitherDetector(detector)
        with pytest.warns(FutureWarning):
            detect(FULL)
        detector.hand = POINTS
        with pytest.raises(TypeError, match="detector .*:Reader must return a list of `DetectedHand`s"):
            detect(FULL)
