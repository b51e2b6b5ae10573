"""Single hands of the body model come back from their own joints."""

import copy

import numpy as np
import pytest
import torch
from known_hands import angles, studio_hands, visible_hands

from diffusers_handiffuser.detection.fitting import HandFit
from diffusers_handiffuser.hands import HandBodyModel

MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def known(body):
    """Joints `(2, 21, 3)` in metres, sides `(2,)` and wrist rotations `(2, 3, 3)` of a scene with two hands."""
    hands, geometry, _ = studio_hands(body, ("two_hands",))
    places = tuple(torch.tensor(visible_hands(hands)).T)
    return geometry.joints_3d[places], places[1], geometry.rotations[places][:, 0]


@pytest.fixture(scope="module")
def fitted(known, body):
    joints, sides, _ = known
    return HandFit(body, steps=8)(joints, sides)


def test_rotations_and_joints_come_back(known, fitted):
    _, sides, wanted = known
    rotations, poses, distances, _ = fitted
    assert sides.tolist() == [0, 1] and poses.shape == (2, 45)
    assert distances.max() < 0.001 and angles(rotations, wanted).max() < 1


def test_a_mirrored_hand_has_the_mirrored_pose(known, fitted, body):
    joints, sides, _ = known
    rotations, poses, distances, _ = HandFit(body, steps=8)(joints * MIRROR, 1 - sides)
    signs = torch.tensor([1.0, -1.0, -1.0]).repeat(15)
    assert (poses - fitted[1] * signs).abs().max() < 0.01
    assert angles(rotations, MIRROR[:, None] * fitted[0] * MIRROR).max() < 0.1
    assert torch.allclose(distances, fitted[2], atol=1e-5)


def test_unit_and_place_of_2d_points_do_not_matter(known, body):
    joints, sides, _ = known
    fit, points = HandFit(body, steps=2), joints[:1, :, :2]
    rotations, poses, distances, _ = fit(points, sides[:1])
    for scale, shift in ((1000, 0), (1, 10)):
        again = fit(scale * points + shift, sides[:1])
        assert angles(again[0], rotations).max() < 0.5 and (again[1] - poses).abs().max() < 0.01
        assert torch.allclose(again[2], scale * distances, rtol=0.01)


def test_a_file_without_hand_means_fits_as_well(known, body, tmp_path):
    """As files that are not merged with MANO: 2D points need the prior, which is our own body's."""
    with np.load(body.to_smplx(tmp_path / "whole.npz")) as arrays:
        np.savez(tmp_path / "bare.npz", **{name: arrays[name] for name in arrays if not name.startswith("hands_")})
    bare = HandBodyModel.from_smplh(tmp_path / "bare.npz")
    assert not bare.hand_means.any() and torch.equal(bare.mean_hand_poses(), body.hand_means)
    joints, sides, _ = known
    points = joints[..., :2]
    fits = (HandFit(model, steps=8)(points, sides) for model in (bare, body))
    for found, expected in zip(*fits, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_hand_means_of_a_file_are_kept(body):
    other = copy.deepcopy(body)
    other.hand_means[1] = 0.1
    other.hand_means[0] = 0.0
    assert torch.equal(other.mean_hand_poses()[1], other.hand_means[1])
    assert torch.equal(other.mean_hand_poses()[0], body.hand_means[0])
    assert body.hand_means.any(-1).all()
