"""SMPL-H's hand fitted to landmarks of hands that are known."""

from types import SimpleNamespace

import pytest
import torch
from known_hands import HEIGHT, WIDTH, angles, studio_hands, visible_hands

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels, hand_sizes_in_pixels
from diffusers_handiffuser.data.importers import LandmarkHand, fit_landmarks, mediapipe_hands
from diffusers_handiffuser.hands.skeleton import SIDES

KINDS = ("close_up", "two_hands", "close_up")


@pytest.fixture(scope="module")
def known(body):
    return studio_hands(body, KINDS)


def people_of(known, deep):
    hands, geometry, pixels = known
    people = [[] for _ in range(len(hands))]
    for i, side in visible_hands(hands):
        # As MediaPipe's world landmarks: about the middle of the hand.
        metres = geometry.joints_3d[i, side] - geometry.joints_3d[i, side].mean(0) if deep else None
        people[i].append(LandmarkHand(SIDES[side], pixels[i, side].numpy(), metres))
    return people


def centred(joints):
    return joints - joints.mean(-2, keepdim=True)


class TestFits:
    def test_to_3d_landmarks(self, known, body):
        hands, geometry, pixels = known
        fitted = fit_landmarks(people_of(known, deep=True), (WIDTH, HEIGHT))
        found = body(fitted.hand_params)
        assert torch.equal(fitted.hand_params.hand_visible, hands.hand_visible)
        for place in visible_hands(hands):
            joints, truth = centred(found.joints_3d[place]), centred(geometry.joints_3d[place])
            assert (joints - truth).norm(dim=-1).mean() < 0.003
            turned = angles(found.rotations[place], geometry.rotations[place])
            assert turned[0] < 4 and turned[1:].mean() < 10
            assert fitted.error_metres[place] < 0.003
            assert fitted.error_pixels[place] < 0.02 * hand_sizes_in_pixels(pixels[place])
        assert torch.isnan(fitted.error_metres[~hands.hand_visible]).all()

    def test_to_2d_landmarks(self, known, body):
        hands, geometry, pixels = known
        fitted = fit_landmarks(people_of(known, deep=False), [(WIDTH, HEIGHT)] * len(hands), steps=15)
        found = body(fitted.hand_params)
        drawn = hand_joints_in_pixels(fitted.hand_params, body, WIDTH, HEIGHT)
        for place in visible_hands(hands):
            error = (drawn[place] - pixels[place]).norm(dim=-1).mean()
            assert fitted.error_pixels[place] == pytest.approx(float(error), abs=1e-3)
            assert error < 0.02 * hand_sizes_in_pixels(pixels[place])
            # Depth is a guess, but one that looks like a hand.
            joints, truth = centred(found.joints_3d[place]), centred(geometry.joints_3d[place])
            assert (joints - truth).norm(dim=-1).mean() < 0.02
        assert torch.isnan(fitted.error_metres).all()

    def test_points_that_are_no_hand_have_a_large_error(self, known):
        hands, geometry, pixels = known
        shuffled = torch.randperm(21, generator=torch.Generator().manual_seed(0))
        i, side = visible_hands(hands)[0]
        metres = geometry.joints_3d[i, side][shuffled]
        hand = LandmarkHand(SIDES[side], pixels[i, side][shuffled], metres)
        fitted = fit_landmarks([hand], (WIDTH, HEIGHT), steps=5)
        assert fitted.error_metres[0, side] > 0.01
        assert fitted.error_pixels[0, side] > 0.1 * hand_sizes_in_pixels(pixels[i, side])


def test_mediapipe_results(known):
    hands, geometry, pixels = known
    i, side = visible_hands(hands)[0]
    points = [SimpleNamespace(x=float(x) / WIDTH, y=float(y) / HEIGHT, z=0.0) for x, y in pixels[i, side]]
    world = [SimpleNamespace(x=float(x), y=float(y), z=float(z)) for x, y, z in geometry.joints_3d[i, side]]
    label = [SimpleNamespace(category_name=SIDES[side].capitalize())]
    result = SimpleNamespace(hand_landmarks=[points], hand_world_landmarks=[world], handedness=[label])
    (hand,) = mediapipe_hands(result, WIDTH, HEIGHT)
    assert hand.side == SIDES[side]
    with pytest.warns(FutureWarning, match="`pixels` of a hand is now `landmarks`"):
        assert torch.allclose(torch.tensor(hand.pixels).float(), pixels[i, side], atol=1e-3)
    with pytest.warns(FutureWarning, match="`metres` of a hand is now `landmarks_3d`"):
        assert torch.allclose(torch.tensor(hand.metres).float(), geometry.joints_3d[i, side], atol=1e-6)
    (hand,) = mediapipe_hands(result, WIDTH, HEIGHT, mirrored=True)
    assert hand.side == SIDES[1 - side]


class TestRefusals:
    def test_people_and_points(self):
        points = torch.rand(21, 2)
        hand = LandmarkHand("left", points)
        for people in ([], [[]], [[hand, hand]]):
            with pytest.raises(ValueError, match="`people` must hold one hand, or two of different sides"):
                fit_landmarks(people, (64, 64))
        with pytest.raises(ValueError, match="`side` must be one of .*, got 'up'"):
            LandmarkHand("up", points)
        with pytest.raises(ValueError, match=r"`landmarks` must have shape \(21, 2\), got \(20, 2\)"):
            LandmarkHand("left", points[1:])
        with pytest.raises(ValueError, match="`landmarks_3d` must be finite"):
            LandmarkHand("left", points, torch.full((21, 3), torch.nan))
        with pytest.raises(ValueError, match="`landmarks_3d` of a hand must be finite and not all the same"):
            fit_landmarks([LandmarkHand("left", points, torch.ones(21, 3))], (64, 64))
