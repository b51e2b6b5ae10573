"""What a fit says of a hand."""

import dataclasses

import pytest
import torch
from studio_hands import SIZE, detected, pair

from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.repair.fit_signs import SIGNS, fit_signs
from diffusers_handiffuser.repair.upright_views import fitted_hand
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes


def signs_of(hand, hand_params):
    fitted = fitted_hand(hand_params, procedural_body(), SIZE, SIZE)
    return dict(zip(SIGNS, fit_signs(hand, hand_params, fitted).tolist(), strict=True))


@pytest.fixture(scope="module")
def known():
    _, _, hand, hand_params = pair("blurred", 3)
    return hand, hand_params


def test_landmarks_elsewhere_raise_the_errors(known):
    hand, params = known
    near = signs_of(hand, params)
    moved = hand.landmarks.copy()
    moved[8] += 40
    bent = hand.landmarks_3d.copy()
    bent[8] += 0.05
    far = signs_of(dataclasses.replace(hand, landmarks=moved, landmarks_3d=bent), params)
    assert far["pixel_error"] > near["pixel_error"] and far["metre_error"] > near["metre_error"]
    assert far["too_long"] > near["too_long"]


def test_missing_numbers_are_neutral(known):
    hand, params = known
    signs = signs_of(dataclasses.replace(hand, landmarks_3d=None, confidence=None), params)
    assert signs["metre_error"] == 0 and signs["detector_score"] == 0.5


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_finger_bent_backwards(side):
    """The index finger's middle joint, by half a radian more than is possible; a left hand mirrors a right one."""
    scene = sample_scene(1, "test", 0, "two_hands")
    params = pose_scenes([scene], procedural_body())
    hand, fitted = detected(params, side)
    name = f"{side}_hand_pose"
    pose = torch.zeros(1, 45)
    pose[0, 5] = -0.85 if side == "right" else 0.85
    straight, bent = (signs_of(hand, fitted.replace(**{name: value})) for value in (torch.zeros(1, 45), pose))
    assert straight["beyond_limits"] == 0 and straight["bent_backwards"] == 0
    assert bent["beyond_limits"] == pytest.approx(0.5, abs=0.01) and bent["bent_backwards"] == pytest.approx(0.85)


def test_another_side_than_detected(known):
    hand, params = known
    assert signs_of(hand, params)["other_side"] == 0
    other = "left" if hand.side == "right" else "right"
    assert signs_of(dataclasses.replace(hand, side=other), params)["other_side"] == 1


def test_two_hands_are_refused(known):
    with pytest.raises(ValueError, match="one visible hand"):
        signs_of(known[0], HandParams.zeros(1))
