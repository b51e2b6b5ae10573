import numpy as np
import pytest
import torch
from data_samples import make_hands
from PIL import Image

from diffusers_handiffuser.data import crop_row, mirror_row, swap_sides
from diffusers_handiffuser.data.cropping import CropRefused, crop_camera, square_around
from diffusers_handiffuser.data.geometry import are_inside, body_joints_in_pixels, hand_joints_in_pixels
from diffusers_handiffuser.hands import HandParams

SIZES = [(96, 96), (160, 90), (90, 160)]


def small_hands(number: int) -> HandParams:
    """A person who fits into images with room to spare, both hands visible."""
    hands = make_hands(number)
    return hands.replace(camera=torch.tensor([0.55, 0.1, 0.3]), hand_visible=torch.tensor([True, True]))


class TestSquares:
    def test_lie_inside_and_hold_what_they_must(self):
        random = np.random.default_rng(0)
        for _ in range(300):
            width, height = random.integers(20, 200, 2).tolist()
            needed = random.uniform(0, 1, (5, 2)) * [width, height] * random.uniform(0.1, 1)
            wanted = random.uniform(0, 1, (4, 2)) * [width, height]
            try:
                left, top, right, bottom = square_around(needed, wanted, width, height, random.uniform(0, 0.5))
            except CropRefused:
                span = (np.ceil(needed.max(0)) - np.floor(needed.min(0))).max()
                assert span > min(width, height)
                continue
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            assert right - left == bottom - top
            assert (needed >= [left, top]).all() and (needed <= [right, bottom]).all()

    def test_margin_and_least_side(self):
        points = np.array([[100.0, 100.0], [140.0, 120.0]])
        assert square_around(points, points[:0], 400, 300, margin=0.25) == (90, 80, 150, 140)
        assert square_around(points, points[:0], 400, 300, margin=0.0, min_side=100) == (70, 60, 170, 160)
        assert square_around(points, points[:0], 400, 300, margin=9.0) == (0, 0, 300, 300)

    def test_wanted_points_give_way(self):
        needed, wanted = np.array([[10.0, 10.0], [30.0, 30.0]]), np.array([[390.0, 290.0]])
        left, top, right, bottom = square_around(needed, wanted, 400, 300)
        assert (left, top, right, bottom) == (10, 0, 310, 300)

    def test_hands_too_far_apart_are_refused(self):
        points = np.array([[10.0, 50.0], [190.0, 50.0]])
        with pytest.raises(CropRefused, match="the hands span 180 pixels, but the shorter side .* has 100"):
            square_around(points, points[:0], 200, 100)


class TestCamera:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_joints_stay_on_their_pixels(self, body, width, height):
        hands = HandParams.cat([small_hands(number).reshape(1) for number in range(4)])
        box = (13, 7, 74, 68)
        before = hand_joints_in_pixels(hands, body, width, height)
        after = hand_joints_in_pixels(crop_camera(hands, box, width, height), body, 61, 61)
        assert (after - (before - torch.tensor([13.0, 7.0]))).abs().max() < 1e-3

    def test_only_squares(self, hands):
        with pytest.raises(ValueError, match="`box` must be a square"):
            crop_camera(hands, (0, 0, 10, 20), 100, 100)


class TestRows:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    @pytest.mark.parametrize("around", ["hands", "person"])
    def test_pixels_and_joints_move_together(self, body, width, height, around):
        width, height = 4 * width, 4 * height
        hands = small_hands(1).replace(hand_visible=torch.tensor([False, True]))
        tip = hand_joints_in_pixels(hands, body, width, height)[1, 8]
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        spot = 255 * np.exp(-((x - float(tip[0])) ** 2 + (y - float(tip[1])) ** 2) / 3)
        image = Image.fromarray(spot.astype(np.uint8)).convert("RGB")
        crop, cropped, box = crop_row(image, hands, body, around, size=400)
        # The middle of the white spot is where the cropped parameters have the fingertip, to a tenth of a pixel.
        weight = np.asarray(crop.convert("L"), float)
        ways = np.arange(400) + 0.5
        middle = torch.tensor([(weight.sum(0) * ways).sum(), (weight.sum(1) * ways).sum()]) / weight.sum()
        found = hand_joints_in_pixels(cropped, body, 400, 400)[1, 8]
        pixels = (box[2] - box[0]) / 400
        assert (found - middle).abs().max() * pixels < 0.1
        assert (found * pixels + torch.tensor(box[:2]) - tip).abs().max() < 0.01
        assert crop.size == (400, 400) and box[2] - box[0] == box[3] - box[1]

    def test_around_hands_is_closer_than_around_the_person(self, body):
        hands = small_hands(2).replace(hand_visible=torch.tensor([True, False]))
        image = Image.new("RGB", (160, 120))
        close, _, _ = crop_row(image, hands, body, "hands")
        wide, cropped, loose = crop_row(image, hands, body, "person")
        assert close.width < wide.width == loose[2] - loose[0]
        person = body_joints_in_pixels(hands, body, 160, 120)
        seen = are_inside(person, 160, 120)
        kept = are_inside(body_joints_in_pixels(cropped, body, *wide.size), *wide.size)
        assert kept.sum() >= seen.sum() - 2 and kept.sum() > len(person) // 2

    def test_refusals(self, body):
        image, hands = Image.new("RGB", (100, 100)), small_hands(0)
        with pytest.raises(CropRefused, match="no visible hand lies in the image"):
            crop_row(image, hands.replace(camera=torch.tensor([0.5, 9.0, 0.0])), body)
        with pytest.raises(CropRefused, match="no visible hand"):
            crop_row(image, hands.replace(hand_visible=torch.zeros(2, dtype=torch.bool)), body)
        with pytest.raises(ValueError, match=r"`around` must be one of \('person', 'hands'\), got 'face'"):
            crop_row(image, hands, body, "face")
        with pytest.raises(ValueError, match=r"of one person, got batch shape \(1,\)"):
            crop_row(image, hands.reshape(1), body)


class TestMirror:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_image_hands_and_caption(self, body, width, height):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
        hands = small_hands(3).replace(hand_visible=torch.tensor([True, False]))
        mirrored, other, text = mirror_row(image, hands, "a left hand")
        assert np.array_equal(np.asarray(mirrored), np.asarray(image)[:, ::-1])
        assert text == "a right hand" and other.hand_visible.tolist() == [False, True]
        before = hand_joints_in_pixels(hands, body, width, height)
        after = hand_joints_in_pixels(other, body, width, height).flip(0)
        expected = torch.stack([width - before[..., 0], before[..., 1]], -1)
        assert (after - expected).abs().max() < 0.1

    def test_twice_is_nothing(self):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
        hands = small_hands(3)
        again, same, text = mirror_row(*mirror_row(image, hands, "his Left hand"))
        assert np.array_equal(np.asarray(again), np.asarray(image)) and text == "his Left hand"
        for name in HandParams.FIELDS:
            assert torch.equal(getattr(same, name), getattr(hands, name)), name

    def test_swapping_sides(self):
        assert swap_sides("A Left hand, its RIGHT neighbour") == "A Right hand, its LEFT neighbour"
        assert swap_sides("bright, upright, leftover") == "bright, upright, leftover"
        assert swap_sides("left, right and rightmost") == "right, left and leftmost"
        assert swap_sides(swap_sides("the left of two right hands")) == "the left of two right hands"
