"""`fit_hands`: sides, people, places and what is left out, on hands of the studio that are known."""

import json
import time

import numpy as np
import pytest
import torch
from known_hands import HEIGHT, WIDTH, angles, studio_hands, visible_hands
from PIL import Image

from diffusers_handiffuser import DetectedHand, find_hands, fit_hands
from diffusers_handiffuser.data.geometry import hand_sizes_in_pixels
from diffusers_handiffuser.detection.detector import box_size
from diffusers_handiffuser.evaluation import extended_fingers
from diffusers_handiffuser.hands.skeleton import SIDES

SIZE = (WIDTH, HEIGHT)
KINDS = ("close_up", "two_hands", "close_up", "person")


@pytest.fixture(scope="module")
def known(body):
    return studio_hands(body, KINDS)


@pytest.fixture(scope="module")
def detected(known):
    """The hands of each scene, as a detector with 3D landmarks would return them."""
    hands, geometry, pixels = known
    images = [[] for _ in range(len(hands))]
    for place in visible_hands(hands):
        metres = geometry.joints_3d[place] - geometry.joints_3d[place].mean(0)
        images[place[0]].append(DetectedHand(SIDES[place[1]], pixels[place].numpy(), 0.9, metres.numpy()))
    return images


@pytest.fixture(scope="module")
def fitted(detected):
    return fit_hands(detected, SIZE)


def flipped(hand):
    return DetectedHand(SIDES[1 - SIDES.index(hand.side)], hand.landmarks, hand.confidence, hand.landmarks_3d)


def moved(hand, offset):
    return DetectedHand(hand.side, hand.landmarks + offset, hand.confidence, hand.landmarks_3d)


def flat(hand):
    return DetectedHand(hand.side, hand.landmarks, hand.confidence)


class TestTheFit:
    def test_is_one_row_for_each_person(self, fitted, known, detected):
        assert fitted.image_index.tolist() == [0, 1, 2, 3] and len(fitted) == 4
        assert torch.equal(fitted.hand_params.hand_visible, known[0].hand_visible)
        assert fitted.image_sizes.tolist() == [list(SIZE)] * 4
        for name in ("error_pixels", "error_metres", "confidence"):
            assert torch.equal(getattr(fitted, name).isnan(), ~known[0].hand_visible), name

    def test_is_near_the_truth(self, fitted, known, body):
        hands, geometry, pixels = known
        found = body(fitted.hand_params)
        for place in visible_hands(hands):
            assert angles(found.rotations[place], geometry.rotations[place])[0] < 4
            assert fitted.error_metres[place] < 0.003
            assert fitted.error_pixels[place] < 0.02 * hand_sizes_in_pixels(pixels[place])

    def test_depth_is_near_the_truth_from_2d_points_alone(self, known, detected, body):
        hands, geometry, _ = known
        alone = fit_hands([[flat(hand) for hand in group] for group in detected], SIZE)
        scale = (alone.hand_params.camera[:, 0] / hands.camera[:, 0])[:, None, None, None]
        about = [
            joints - joints.mean(2, keepdim=True)
            for joints in (body(alone.hand_params).joints_3d * scale, geometry.joints_3d)
        ]
        errors = (about[0] - about[1]).norm(dim=-1).mean(-1)[hands.hand_visible]
        assert errors.mean() < 0.005

    def test_does_not_depend_on_the_batch(self, fitted, detected):
        alone = fit_hands(detected[2], SIZE)
        assert torch.allclose(alone.hand_params.right_hand_pose, fitted[2:3].hand_params.right_hand_pose, atol=1e-3)
        assert torch.allclose(alone.hand_params.camera, fitted[2:3].hand_params.camera, atol=1e-3)

    def test_sizes_may_differ(self, detected):
        fitted = fit_hands(detected[:2], [SIZE, (2 * WIDTH, HEIGHT)])
        assert fitted.image_sizes.tolist() == [[WIDTH, HEIGHT], [2 * WIDTH, HEIGHT]]
        assert (fitted.error_pixels.nan_to_num() < 2).all()


class TestSides:
    def test_3d_landmarks_name_the_side_whatever_the_detector_says(self, fitted, detected):
        again = fit_hands([[flipped(hand) for hand in hands] for hands in detected], SIZE)
        assert torch.equal(again.hand_params.hand_visible, fitted.hand_params.hand_visible)
        assert torch.allclose(again.error_metres, fitted.error_metres, atol=1e-4, equal_nan=True)

    def test_can_be_trusted(self, detected):
        (hand,) = detected[0]
        right, wrong = (fit_hands([one], SIZE, trust_sides=True) for one in (hand, flipped(hand)))
        assert right.hand_params.hand_visible.tolist() == [[side == hand.side for side in SIDES]]
        assert wrong.hand_params.hand_visible.tolist() == [[side != hand.side for side in SIDES]]
        assert np.nanmin(wrong.error_metres) > 2 * np.nanmin(right.error_metres)

    def test_the_detectors_hold_in_2d(self, detected):
        (hand,) = detected[0]
        for one in (flat(hand), flat(flipped(hand))):
            fitted = fit_hands([one], SIZE)
            assert fitted.hand_params.hand_visible.tolist() == [[side == one.side for side in SIDES]]
            assert fitted.error_metres.isnan().all()


class TestPeople:
    def test_two_right_hands_are_two_people(self, detected):
        hand = next(hand for hands in detected for hand in hands if hand.side == "right")
        fitted = fit_hands([hand, moved(hand, 40)], SIZE)
        assert fitted.hand_params.hand_visible.tolist() == [[False, True]] * 2
        assert fitted.image_index.tolist() == [0, 0]
        assert (fitted.error_pixels[:, 1] < 2).all()

    def test_hands_that_arms_do_not_reach_are_two_people(self, detected):
        left, right = detected[1]
        assert len(fit_hands([left, right], SIZE)) == 1
        assert len(fit_hands([moved(left, (0, 5000)), right], SIZE)) == 2

    @pytest.mark.parametrize("offset", [(0, 0), (60, 0), (-150, 60), (200, -120)])
    def test_both_hands_lie_on_their_landmarks(self, detected, offset):
        left, right = detected[1]
        fitted = fit_hands([moved(left, offset), right], SIZE)
        size = hand_sizes_in_pixels(torch.tensor(left.landmarks))
        assert len(fitted) == 1 and fitted.error_pixels.max() < 0.05 * size


class TestWhatIsLeftOut:
    def test_one_bad_hand_does_not_fail_the_batch(self, detected, fitted):
        class NotFinite:
            side, landmarks = "left", np.full((21, 2), np.nan)

        bad = [
            NotFinite(),
            DetectedHand("left", np.ones((21, 2))),
            DetectedHand("left", detected[0][0].landmarks, 0.5, np.zeros((21, 3))),
            DetectedHand("right", detected[0][0].landmarks * 1e30),
            DetectedHand("left", detected[0][0].landmarks, 0.5, 1000 * detected[0][0].landmarks_3d),  # millimetres
        ]
        for one in bad:
            with pytest.warns(RuntimeWarning, match="^image 1, hand 2 is left out: ") as caught:
                again = fit_hands([detected[0], [*detected[1], one], *detected[2:]], SIZE)
            assert len(caught) == 1 and len(again) == 4
            assert torch.allclose(again.error_metres, fitted.error_metres, atol=1e-4, equal_nan=True)

    def test_points_that_are_no_hand_have_a_low_confidence(self, detected, fitted):
        shuffled = torch.randperm(21, generator=torch.Generator().manual_seed(0)).numpy()
        hand = detected[0][0]
        noise = DetectedHand(hand.side, hand.landmarks[shuffled], 0.9, hand.landmarks_3d[shuffled])
        again = fit_hands([[noise], *detected[1:]], SIZE)
        assert np.nanmax(again[:1].confidence) < 0.2 < np.nanmin(fitted.confidence)

    def test_no_hands(self, detected):
        for images in ([], [[], []]):
            fitted = fit_hands(images, SIZE)
            assert len(fitted) == 0 and fitted.confidence.shape == (0, 2) and fitted.to_condition("mask") == []
        assert fit_hands([[], detected[0], []], SIZE).image_index.tolist() == [1]


class TestConfidence:
    def test_falls_without_depth(self, detected, fitted):
        flat_hands = fit_hands([[flat(hand) for hand in hands] for hands in detected], SIZE)
        visible = fitted.hand_params.hand_visible
        assert (flat_hands.confidence[visible] < fitted.confidence[visible]).all()

    def test_falls_where_sides_are_alike(self, detected, fitted):
        """A hand pressed flat has no side in 3D either."""
        hand = detected[0][0]
        pressed = DetectedHand(hand.side, hand.landmarks, 0.9, hand.landmarks_3d * [1, 1, 0.02])
        assert np.nanmax(fit_hands([pressed], SIZE).confidence) < np.nanmin(fitted[:1].confidence)


class TestPhotographs:
    """With a detector that knows where the hands are."""

    def test_of_a_list_and_alone(self, detected):
        answers = {number: hands for number, hands in enumerate(detected)}

        def detector(image):
            return answers.get(int(image[0, 0, 0]), [])

        images = [np.full((HEIGHT, WIDTH, 3), number, np.uint8) for number in (3, 9, 0)]
        fitted = fit_hands(images, detector=detector)
        assert fitted.image_index.tolist() == [0, 2] and fitted.image_sizes.tolist() == [list(SIZE)] * 2
        alone = fit_hands(Image.fromarray(images[0]), detector=detector)
        assert torch.allclose(alone.hand_params.camera, fitted[:1].hand_params.camera, atol=1e-3)

    def test_a_bad_hand_names_its_image(self, detected):
        bad = DetectedHand("left", np.ones((21, 2)))
        images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2
        with pytest.warns(RuntimeWarning, match="image 1, hand 0 is left out: its `landmarks` are in one place"):
            fitted = fit_hands(images, detector=lambda image: [bad, *detected[0]])
        assert len(fitted) == 2


class TestRefusals:
    def test_arguments(self, detected):
        with pytest.raises(ValueError, match="`images` is empty: give at least one photograph"):
            fit_hands([])
        with pytest.raises(ValueError, match="`image_sizes`, .* must be given with detected hands"):
            fit_hands(detected[0])
        with pytest.raises(ValueError, match=r"`image_sizes` must be \(width, height\), or one for each of 4 images"):
            fit_hands(detected, [SIZE] * 3)
        with pytest.raises(ValueError, match="photographs have their own"):
            fit_hands(np.zeros((4, 4, 3), np.uint8), SIZE, detector=lambda image: [])
        with pytest.raises(TypeError, match="but image 1 is int"):
            fit_hands([detected[0], 5], SIZE)
        for images in (None, detected[0][0], 5):
            with pytest.raises(TypeError, match="`images` must be photographs .* got (NoneType|DetectedHand|int)"):
                fit_hands(images, SIZE)
        for steps in (0, -1, 1.5, None):
            with pytest.raises(ValueError, match=f"`steps` must be a whole number of at least 1, got {steps}"):
                fit_hands(detected[0], SIZE, steps=steps)

    @pytest.mark.parametrize("sizes", ["a", {"a": 1}, ("6", "5"), (0, 5), (np.inf, 5), (np.nan, 5), (640.5, 480)])
    def test_sizes(self, detected, sizes):
        with pytest.raises(ValueError, match=r"`image_sizes` must be \(width, height\), .* whole pixels, got"):
            fit_hands(detected[0], sizes)

    @pytest.mark.parametrize("image", [None, np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), torch.zeros(4, 4, 3)])
    def test_photographs_of_a_list_are_named(self, image):
        good = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        with pytest.raises((TypeError, ValueError), match="^image 1 must "):
            fit_hands([good, image], detector=lambda image: [])


class TestTime:
    def test_both_sides_in_batches_and_alone(self, detected):
        """Twenty times and ten times what they take on a free core, with room for a busy machine."""
        hands = [hand for group in detected for hand in group]
        batch = [[hands[k % len(hands)]] for k in range(32)]
        fit_hands(batch[:1], SIZE)
        start = time.perf_counter()
        fit_hands(batch, SIZE)
        assert (time.perf_counter() - start) / 32 < 0.16
        start = time.perf_counter()
        fit_hands(batch[:1], SIZE)
        assert time.perf_counter() - start < 1.0


@pytest.fixture(scope="module")
def expected(photos):
    """By file: the side of its hand and the extended fingers, or None where they cannot be told."""
    return json.loads((photos / "expected.json").read_text())


@pytest.fixture(scope="module")
def found(photos, expected):
    """The hands in each photograph."""
    return [find_hands(photos / name) for name in expected]


@pytest.fixture(scope="module")
def from_photographs(photos, expected, found):
    fitted = fit_hands([photos / name for name in expected])
    assert fitted.image_index.tolist() == list(range(len(found)))
    return fitted


def of_hands(fitted, values):
    """Of people with one hand each: values `(B, 2, ...)` to `(B, ...)`."""
    assert fitted.hand_params.hand_visible.sum(-1).eq(1).all()
    return values[fitted.hand_params.hand_visible]


class TestRealPhotographs:
    """What the page "Hands from a photograph" says of them."""

    def test_every_hand_is_on_its_side_and_its_fingers_as_labelled(self, from_photographs, expected, body):
        fitted = from_photographs
        joints = body(fitted.hand_params).joints_3d
        for row, (name, truth) in enumerate(expected.items()):
            (side,) = fitted.hand_params.hand_visible[row].nonzero()[:, 0].tolist()
            assert truth["side"] in (SIDES[side], None), name
            if truth["fingers"] is not None:
                assert extended_fingers(joints[row, side]).int().tolist() == truth["fingers"], name
                assert fitted.error_metres[row, side] < 0.006 and fitted.confidence[row, side] > 0.4, name

    def test_sides_do_not_depend_on_the_detectors(self, from_photographs, found):
        again = fit_hands([[flipped(hand) for hand in hands] for hands in found], from_photographs.image_sizes)
        assert torch.equal(again.hand_params.hand_visible, from_photographs.hand_params.hand_visible)

    def test_confidence(self, from_photographs, expected):
        confidence = of_hands(from_photographs, from_photographs.confidence)
        known = torch.tensor([truth["side"] is not None for truth in expected.values()])
        assert int(known.sum()) == 13 and confidence[known].min() > 0.5
        assert confidence[known].mean() == pytest.approx(0.75, abs=0.02)
        low = confidence[~known].sort().values
        assert low[:2].tolist() == pytest.approx([0.02, 0.15], abs=0.02) and low[2] > 0.5

    def test_errors(self, from_photographs, found):
        sizes = torch.tensor([box_size(hand) for (hand,) in found])
        share = (of_hands(from_photographs, from_photographs.error_pixels) / sizes).numpy()
        metres = of_hands(from_photographs, from_photographs.error_metres).numpy()
        for values, wanted in ((100 * share, (1.0, 1.7, 3.6)), (1000 * metres, (4.0, 4.5, 7.4))):
            assert (values.min(), np.median(values), values.max()) == pytest.approx(wanted, abs=0.1)

    def test_2d_points_alone(self, from_photographs, found, body):
        alone = fit_hands([[flat(hand) for hand in hands] for hands in found], from_photographs.image_sizes)
        sizes = torch.tensor([box_size(hand) for (hand,) in found])
        assert np.median(100 * of_hands(alone, alone.error_pixels) / sizes) == pytest.approx(0.4, abs=0.1)
        turns = [of_hands(fit, body(fit.hand_params).rotations[:, :, 0]) for fit in (alone, from_photographs)]
        turned = angles(*turns).numpy()
        assert np.median(turned) == pytest.approx(13, abs=1) and (turned > 30).sum() == 2
