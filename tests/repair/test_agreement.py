import numpy as np
import pytest
import torch
from repair_room import detected, make_room

from diffusers_handiffuser.detection import DetectedHand
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair.agreement import agreement
from diffusers_handiffuser.repair.found_hands import fit_each, hand_at
from diffusers_handiffuser.repair.squares import Square

BODY = procedural_body()


@pytest.fixture(scope="module")
def seen():
    """A room, its hand as found, and the square around it."""
    room = make_room()
    (hand,) = fit_each(detected(room.hands, room.image.size), room.image.size, BODY)
    return room, hand, Square.around(hand.detected.box, 1.8, room.image.size)


def test_a_good_hand_agrees_with_its_fit(seen):
    room, hand, square = seen
    found = agreement(np.asarray(room.image), square, hand, hand.fit, BODY)
    assert found.joints == 1.0 and found.outline > 0.9 and found.value == found.joints * found.outline


def test_a_finger_too_many_lowers_the_outline_alone(seen):
    room, hand, square = seen
    spoilt = make_room().blemish("left", "right")
    good = agreement(np.asarray(room.image), square, hand, hand.fit, BODY)
    bad = agreement(np.asarray(spoilt.image), square, hand, hand.fit, BODY)
    assert bad.joints == good.joints and bad.outline < good.outline - 0.01


def test_noise_of_a_detector_counts_as_none_and_another_pose_does_not(seen):
    room, hand, square = seen
    size = np.ptp(hand.detected.landmarks, axis=0).max()

    def moved(share):
        landmarks = hand.detected.landmarks + share * size
        return fit_each([DetectedHand(hand.side, landmarks, 0.9, hand.detected.landmarks_3d)], room.image.size, BODY)[
            0
        ]

    values = [
        agreement(np.asarray(room.image), square, moved(share), hand.fit, BODY).joints for share in (0.02, 0.2, 1)
    ]
    assert values[0] == 1.0 > values[1] > values[2] == 0.0
    fist = hand.fit.replace(right_hand_pose=hand.fit.right_hand_pose + torch.tensor([0.0, 0.0, 0.9]).repeat(15))
    assert agreement(np.asarray(room.image), square, hand, fist, BODY).joints < 0.95


def test_a_hand_of_the_other_side_agrees_with_nothing(seen):
    room, hand, square = seen
    other = hand.fit.replace(hand_visible=hand.fit.hand_visible.flip(-1))
    assert agreement(np.asarray(room.image), square, hand, other, BODY).value == 0.0


def test_the_nearest_hand_is_the_one_unless_it_is_elsewhere(seen):
    _, hand, _ = seen
    joints = hand.detected.landmarks
    away = DetectedHand("left", joints + 0.9 * np.ptp(joints, axis=0).max(), 0.9)
    assert hand_at([away, hand.detected], joints) is hand.detected
    assert hand_at([away], joints) is None and hand_at([], joints) is None
