"""Single hands, posed as a body poses them."""

import numpy as np
import pytest
import torch
from known_hands import studio_hands, visible_hands

from diffusers_handiffuser.detection.hand_kinematics import HandKinematics
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec

SIDES = torch.tensor([0, 1, 1])
ROTVECS = torch.randn(3, 16, 3, generator=torch.Generator().manual_seed(0)) * 0.7
ROTVECS[2, 3:5] = 0


@pytest.fixture(scope="module")
def pose_dependent(body, tmp_path_factory):
    """The same body with fingertips whose shape depends on the pose, as in official files."""
    path = body.to_smplx(tmp_path_factory.mktemp("body") / "body.npz")
    arrays = dict(np.load(path))
    tips = [*body.config.left_fingertips, *body.config.right_fingertips]
    directions = np.zeros((len(arrays["v_template"]), 3, 459))
    directions[tips] = np.random.default_rng(0).normal(0, 2e-3, (10, 3, 459))
    np.savez(path, **{**arrays, "posedirs": directions})
    return HandBodyModel.from_smplh(path, licensed=False)


def test_joints_are_those_of_the_studios_hands(body):
    hands, geometry, _ = studio_hands(body, ("close_up", "two_hands"))
    places = tuple(torch.tensor(visible_hands(hands)).T)
    wanted = geometry.joints_3d[places]
    found = HandKinematics(body).joints(rotmat_to_rotvec(geometry.rotations[places]), places[1])
    assert torch.allclose(found, wanted - wanted[:, :1], atol=1e-6)


@pytest.mark.parametrize("name", ["body", "pose_dependent"])
def test_joints_of_any_pose(name, request):
    model = request.getfixturevalue(name)
    pose = torch.zeros(3, 52, 3)
    pose[:, 0] = ROTVECS[:, 0]
    for row, side in enumerate(SIDES.tolist()):  # the pose of the other hand changes an official body's whole skin
        pose[row, 22 + 15 * side : 37 + 15 * side] = ROTVECS[row, 1:]
    params = HandParams.from_full_pose(pose, torch.zeros(3, 10), HandParams.zeros(3).camera, torch.ones(3, 2).bool())
    joints = model(params).joints_3d[torch.arange(3), SIDES]
    found = HandKinematics(model).joints(ROTVECS, SIDES)
    assert (found - (joints - joints[:, :1])).abs().max() < 1e-6


def test_pose_dependent_shape_moves_the_fingertips(body, pose_dependent):
    plain, shaped = (HandKinematics(model).joints(ROTVECS, SIDES) for model in (body, pose_dependent))
    moved = (plain - shaped).norm(dim=-1).amax(0)
    tips = [4, 8, 12, 16, 20]
    assert moved[tips].min() > 0.005 and moved[[k for k in range(21) if k not in tips]].max() < 1e-6


def test_derivatives(body):
    hands = HandKinematics(body)
    joints, jacobian = hands.joints_and_jacobian(ROTVECS, SIDES)
    assert torch.equal(joints, hands.joints(ROTVECS, SIDES)) and jacobian.shape == (3, 21, 3, 48)
    for row in range(3):
        side = SIDES[row : row + 1]
        wanted = torch.autograd.functional.jacobian(
            lambda flat, side=side: hands.joints(flat.view(1, 16, 3), side)[0], ROTVECS[row].flatten()
        )
        assert torch.allclose(jacobian[row], wanted, atol=1e-6)
