"""The old names of detected hands and of their fit go on working, with warnings that name the new ones."""

import pytest
import torch
from known_hands import HEIGHT, WIDTH, studio_hands, visible_hands

from diffusers_handiffuser import DetectedHand, FittedHands, fit_hands
from diffusers_handiffuser.data.importers import LandmarkHand, fit_landmarks
from diffusers_handiffuser.hands.skeleton import SIDES


@pytest.fixture(scope="module")
def known(body):
    return studio_hands(body, ("close_up", "two_hands"))


def old_hands(known, deep):
    hands, geometry, pixels = known
    people = [[] for _ in range(len(hands))]
    with pytest.warns(FutureWarning, match=r"`LandmarkHand` is now `diffusers_handiffuser.DetectedHand`"):
        for place in visible_hands(hands):
            metres = geometry.joints_3d[place] if deep else None
            people[place[0]].append(LandmarkHand(SIDES[place[1]], pixels[place], metres))
    return people


@pytest.mark.parametrize("deep", [True, False])
def test_old_calls_give_what_new_ones_do(known, deep):
    people = old_hands(known, deep)
    with pytest.warns(FutureWarning, match=r"is now `.*fit_hands\(people, ..., trust_sides=True\)`"):
        old = fit_landmarks([people[0][0], people[1]], (WIDTH, HEIGHT))
    new = fit_hands(people, (WIDTH, HEIGHT), trust_sides=True)
    assert isinstance(old, FittedHands)
    for name in ("error_pixels", "error_metres", "confidence", "image_index", "image_sizes"):
        assert torch.equal(getattr(old, name).nan_to_num(), getattr(new, name).nan_to_num()), name
    assert torch.equal(old.hand_params.full_pose, new.hand_params.full_pose)


def test_old_names_of_fields(known):
    (hand, *_), _ = old_hands(known, deep=True)
    with pytest.warns(FutureWarning, match="`pixels` of a hand is now `landmarks`"):
        assert hand.pixels is hand.landmarks
    with pytest.warns(FutureWarning, match="`metres` of a hand is now `landmarks_3d`"):
        assert hand.metres is hand.landmarks_3d


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_refusals():
    hand = DetectedHand("left", torch.rand(21, 2))
    for people in ([], [[]], [[hand, hand]]):
        with pytest.raises(ValueError, match="`people` must hold one hand, or two of different sides"):
            fit_landmarks(people, (64, 64))
    for sizes in ("a", (0, 4), [(4, 4)] * 3):
        with pytest.raises(ValueError, match=r"`image_sizes` must be \(width, height\)"):
            fit_landmarks([hand], sizes)
    with pytest.raises(ValueError, match="`landmarks_3d` are in one place"):
        fit_landmarks([LandmarkHand("left", torch.rand(21, 2), torch.ones(21, 3))], (64, 64))
