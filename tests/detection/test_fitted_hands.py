"""What is drawn of fitted people: their hands, as their bodies are assumed."""

import json
import struct

import numpy as np
import pytest
import torch
from known_hands import HEIGHT, WIDTH, studio_hands, visible_hands
from PIL import Image

from diffusers_handiffuser import DetectedHand, fit_hands
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.rendering.mesh_export import glb_bytes


@pytest.fixture(scope="module")
def fitted(body):
    """Two people in the first image, one in the last of three."""
    hands, geometry, pixels = studio_hands(body, ("two_hands", "close_up"))
    found = [
        DetectedHand(SIDES[side], pixels[row, side], 0.9, geometry.joints_3d[row, side])
        for row, side in visible_hands(hands)
    ]
    far = DetectedHand(found[0].side, found[0].landmarks + 30, 0.9, found[0].landmarks_3d)
    return fit_hands([[*found[:2], far], [], found[2:]], (WIDTH, HEIGHT))


def test_rows(fitted):
    assert fitted.image_index.tolist() == [0, 0, 2] and len(fitted) == 3
    chosen = fitted[fitted.image_index == 2]
    assert len(chosen) == 1 and torch.equal(chosen.error_pixels.isnan(), fitted[2].error_pixels.isnan())
    assert torch.equal(chosen.hand_params.camera, fitted.hand_params[2:].camera)
    for index in (np.int64(2), torch.tensor(2), -1, np.array([False, False, True]), [2]):
        assert fitted[index].image_index.tolist() == [2]
    for index in (fitted.confidence > 0.5, None, (0, 1)):
        with pytest.raises(IndexError):
            fitted[index]
    assert fitted[[2, 0]].error_pixels.tolist()[1][0] == fitted.error_pixels[0, 0]


@pytest.mark.parametrize("kind", ["openpose", "depth", "normal", "mask"])
def test_conditions_show_the_hands_alone(fitted, body, kind):
    images = fitted.to_condition(kind, style="scaled")
    assert [image.size for image in images] == [(WIDTH, HEIGHT)] * 3
    with_arms = fitted.hand_params.to_condition(kind, (WIDTH, HEIGHT), style="scaled")
    same = [np.array_equal(one, other) for one, other in zip(images, with_arms, strict=True)]
    assert all(same) == (kind != "openpose")
    joints = square_to_pixels(body(fitted.hand_params).joints_2d, HEIGHT, WIDTH)
    for row, image in enumerate(images):
        drawn = np.asarray(image.convert("RGB")).astype(int)
        where = np.argwhere((drawn != drawn[0, 0]).any(-1))[:, ::-1].copy()
        hands = joints[row][fitted.hand_params.hand_visible[row]].reshape(-1, 2)
        distance = torch.cdist(torch.tensor(where).float(), hands).amin(1)
        assert len(where) > 100 and distance.max() < 40, kind


def test_conditions_of_another_size(fitted):
    assert [image.size for image in fitted.to_condition("mask", 64)] == [(64, 64)] * 3


def test_people_of_a_photograph_share_a_condition(fitted):
    together = fitted.to_condition("openpose", people=True)
    assert len(together) == 2, "one for each photograph with people"
    alone = [np.asarray(image).any(-1) for image in fitted.to_condition("openpose")]
    assert np.array_equal(np.asarray(together[0]).any(-1), alone[0] | alone[1])
    assert np.array_equal(np.asarray(together[1]).any(-1), alone[2]) and (alone[0] != alone[1]).any()


def test_overlay(fitted):
    photographs = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "green", "blue")]
    drawn = fitted.overlay(photographs)
    changed = [np.mean(np.asarray(one) != np.asarray(other)) for one, other in zip(drawn, photographs, strict=True)]
    assert changed[0] > 0.01 and changed[2] > 0.01 and changed[1] == 0
    assert np.array_equal(drawn[0].getpixel((0, HEIGHT - 1)), (255, 0, 0))
    with pytest.raises(ValueError, match="`images` must hold image 2, got 1 images"):
        fitted.overlay(photographs[0])


def test_glb(fitted, tmp_path):
    content = fitted[:2].to_glb(tmp_path / "hands.glb")
    assert (tmp_path / "hands.glb").read_bytes() == content
    length = struct.unpack("<I", content[12:16])[0]
    scene = json.loads(content[20 : 20 + length])
    corners = {node["name"]: scene["accessors"][3 * k]["min"] for k, node in enumerate(scene["nodes"])}
    assert len(corners) == 3
    # The two left hands are where they are in the image, 30 pixels apart on both axes.
    first, second = (np.array(corners[f"person_{person}_left_hand"]) for person in (0, 1))
    shift = (second - first)[:2] * float(fitted.hand_params.camera[0, 0]) * HEIGHT / 2
    assert np.abs(shift) == pytest.approx([30, 30], abs=4) and shift[0] * shift[1] < 0
    with pytest.raises(ValueError, match="`to_glb` writes the people of one image"):
        fitted.to_glb()
    assert fitted[:0].to_glb() == glb_bytes([])


def test_overlays_of_large_photographs_are_smaller(fitted):
    (drawn,) = fitted[2:][:0].overlay(Image.new("RGB", (400, 300)), max_side=100)
    assert drawn.size == (100, 75)


def test_overlays_are_upright(fitted):
    """A phone's photograph is drawn on as it was fitted."""
    lying = Image.new("RGB", (60, 80))
    lying.getexif()[0x0112] = 6
    lying.info["exif"] = lying.getexif().tobytes()
    (drawn,) = fitted[:0].overlay(lying)
    assert drawn.size == (80, 60)


def test_overlays_on_photographs_of_any_kind(fitted, tmp_path):
    image = Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 150))
    image.save(tmp_path / "photo.png")
    (wanted,) = fitted[:1].overlay(image)
    for photo in (np.asarray(image), tmp_path / "photo.png", str(tmp_path / "photo.png")):
        assert np.array_equal(fitted[:1].overlay(photo)[0], wanted)
    half = image.resize(((WIDTH + 1) // 2, (HEIGHT + 1) // 2))
    assert fitted[:1].overlay(half)[0].size == half.size
    with pytest.raises(ValueError, match="image 0 of 50 x 400 pixels has another aspect than"):
        fitted[:1].overlay(Image.new("RGB", (50, 400)))
    with pytest.raises(TypeError, match="image 0 must be a path, a PIL image or an array, got int"):
        fitted[:1].overlay(5)


def test_reprs_are_short():
    hand = DetectedHand("left", np.arange(42.0).reshape(21, 2), 0.98765)
    assert repr(hand) == "DetectedHand(left, confidence=0.988, box=(0.0, 1.0, 40.0, 41.0))"
    assert repr(fit_hands([], (64, 64))) == "FittedHands(people=0, hands=0, images=0)"


@pytest.mark.parametrize("wrong", [{"kind": "opnpose"}, {"style": "dw"}, {"parts": ("arms",)}, {"people": "no"}])
def test_conditions_of_nobody_are_checked_as_well(wrong):
    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(wrong))}`"):
        fit_hands([], (64, 64)).to_condition(**{"kind": "openpose", **wrong})
