"""Detections, and the one way in which detectors are called and checked."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.detection.detector import DetectedHand, detect_hands

POINTS = np.arange(42.0).reshape(21, 2)
METRES = np.arange(63.0).reshape(21, 3)
IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def returning(*hands):
    return lambda image: list(hands)


class TestDetection:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"side": "Left"}, r"`side` must be one of \('left', 'right'\), got 'Left'"),
            ({"landmarks": POINTS[:20]}, r"`landmarks` must have shape \(21, 2\), got \(20, 2\)"),
            ({"landmarks": METRES}, r"`landmarks` must have shape \(21, 2\), got \(21, 3\)"),
            ({"landmarks": np.where(POINTS == 8, np.nan, POINTS)}, "`landmarks` must be finite, but 1 of 21"),
            ({"landmarks_3d": POINTS}, r"`landmarks_3d` must have shape \(21, 3\), got \(21, 2\)"),
            ({"landmarks_3d": np.full((21, 3), np.inf)}, "`landmarks_3d` must be finite, but 21 of 21"),
            ({"confidence": 1.5}, "`confidence` must be between 0 and 1, got 1.5"),
            ({"confidence": -0.1}, "`confidence` must be between 0 and 1, got -0.1"),
            ({"confidence": float("nan")}, "`confidence` must be between 0 and 1, got nan"),
        ],
    )
    def test_what_is_no_hand_is_refused(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            DetectedHand(**{"side": "left", "landmarks": POINTS, **wrong})

    def test_box(self):
        assert DetectedHand("left", POINTS[::-1]).box == (0, 1, 40, 41)


class TestTheImage:
    @pytest.mark.parametrize("image", [IMAGE, Image.fromarray(IMAGE), IMAGE[:, ::-1][:, ::-1]])
    def test_every_detector_gets_the_same_array(self, image):
        seen = []
        detect_hands(lambda image: seen.append(image) or [], image)
        assert type(seen[0]) is np.ndarray and seen[0].dtype == np.uint8 and np.array_equal(seen[0], IMAGE)
        assert seen[0].flags.c_contiguous and seen[0].flags.writeable

    def test_a_detector_may_draw_on_it(self):
        image = IMAGE.copy()

        def draws(pixels):
            pixels[:] = 0
            return []

        assert detect_hands(draws, image) == [] and np.array_equal(image, IMAGE)

    @pytest.mark.parametrize("image", [IMAGE / 255, IMAGE[..., :1], IMAGE[0], Image.fromarray(IMAGE).convert("RGBA")])
    def test_other_images_are_refused(self, image):
        with pytest.raises(ValueError, match=r"`image` must be uint8 of shape \(H, W, 3\), got"):
            detect_hands(returning(), image)


class TestTheAnswer:
    def test_detections_are_returned_as_they_are(self):
        hands = [DetectedHand("right", POINTS, 0.5, METRES), DetectedHand("left", POINTS + 1)]
        found = detect_hands(returning(*hands), IMAGE)
        assert len(found) == 2 and found[0] is hands[0] and found[1] is hands[1]
        assert detect_hands(lambda image: iter(hands), IMAGE) == hands
        assert detect_hands(returning(), IMAGE) == []

    def test_objects_with_the_same_attributes_become_detections(self):
        hand = SimpleNamespace(side="left", landmarks=torch.tensor(POINTS), confidence=0.25)
        (found,) = detect_hands(returning(hand), IMAGE)
        assert isinstance(found, DetectedHand) and found.landmarks_3d is None
        assert (found.side, found.confidence) == ("left", 0.25) and np.array_equal(found.landmarks, POINTS)

    @pytest.mark.parametrize(
        ("answer", "error", "message"),
        [
            (None, TypeError, r"must return a list of `DetectedHand`s \(.*\), got None \(NoneType\)"),
            ([("left", POINTS)], TypeError, r"one of its hands is \('left', array\(.*\(tuple\)"),
            ({"left": POINTS}, TypeError, r"one of its hands is 'left' \(str\)"),
            (POINTS, TypeError, r"one of its hands is array\(\[0., 1.\]\) \(ndarray\)"),
            ([SimpleNamespace(side="up", landmarks=POINTS)], ValueError, "`side` must be one of .*, got 'up'"),
            ([SimpleNamespace(side="left", landmarks="x")], ValueError, r"`landmarks` must have shape .*, got \(\)"),
            (
                [SimpleNamespace(side="left", landmarks=POINTS, confidence="high")],
                TypeError,
                "returned a hand that is not valid",
            ),
        ],
    )
    def test_other_answers_are_refused(self, answer, error, message):
        def my_detector(image):
            return answer

        with pytest.raises(error, match=f"detector test_detector:.*my_detector .*{message}"):
            detect_hands(my_detector, IMAGE)

    def test_hands_changed_after_their_check_are_checked_again(self):
        points = POINTS.copy()
        hand = DetectedHand("left", points)
        points[3] = np.nan
        with pytest.raises(ValueError, match="`landmarks` must be finite, but 1 of 21"):
            detect_hands(returning(hand), IMAGE)


class TestErrorsOfDetectors:
    @pytest.mark.parametrize("read", [lambda image: image.convert("L"), lambda image: [*image.size]])
    def test_one_written_for_pil_images(self, read):
        with pytest.raises(TypeError, match=r"detector test_detector:.* an RGB array of shape \(5, 7, 3\), uint8: "):
            detect_hands(read, IMAGE)

    def test_a_generator(self):
        def generator(image):
            yield from image.size

        with pytest.raises(TypeError, match=r"detector .*generator failed on its image"):
            detect_hands(generator, IMAGE)

    def test_a_hand_that_it_makes_wrong(self):
        with pytest.raises(ValueError, match=r"detector test_detector:.*: `side` must be one of .*, got 'Left'"):
            detect_hands(lambda image: [DetectedHand("Left", POINTS)], IMAGE)

    def test_other_errors_keep_their_class(self):
        def broken(image):
            raise ChildProcessError("the process ended")

        with pytest.raises(ChildProcessError, match="^the process ended$"):
            detect_hands(broken, IMAGE)

    def test_an_object_is_named_by_its_class(self):
        class Mine:
            def __call__(self, image):
                return 5

        with pytest.raises(TypeError, match=r"detector test_detector:.*Mine must return .*, got 5 \(int\)"):
            detect_hands(Mine(), IMAGE)
