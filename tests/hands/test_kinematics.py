"""Joints by forward kinematics."""

import torch

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.kinematics import HandJoints, by_depth, pose_body
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import NUM_JOINTS, OPENPOSE_FROM_MANO, PARENTS


def test_hand_joints_are_those_of_the_body_model():
    generator = torch.Generator().manual_seed(0)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "betas")
    values = {name: 0.4 * torch.randn(3, HandParams.FIELDS[name], generator=generator) for name in names}
    hands = HandParams.zeros(3).replace(**values)
    body_model = HandBodyModel.procedural()
    joints = HandJoints(body_model)(rotvec_to_rotmat(hands.full_pose), hands.betas)[:, :, list(OPENPOSE_FROM_MANO)]
    assert (joints - body_model(hands).joints_3d).norm(dim=-1).max() < 1e-3


def test_every_joint_of_the_body_follows_its_parent():
    generator = torch.Generator().manual_seed(0)
    rest = torch.randn(2, NUM_JOINTS, 3, generator=generator)
    local = rotvec_to_rotmat(torch.randn(2, NUM_JOINTS, 3, generator=generator))
    rotations, joints = pose_body(rest, local)
    assert torch.equal(rotations[:, 0], local[:, 0]) and not joints[:, 0].any()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        bone = (rest[:, joint] - rest[:, parent])[..., None]
        assert torch.allclose(rotations[:, joint], rotations[:, parent] @ local[:, joint], atol=1e-6)
        assert torch.allclose(joints[:, joint], joints[:, parent] + (rotations[:, parent] @ bone)[..., 0], atol=1e-5)


def test_joints_by_depth_come_with_their_ancestors():
    assert by_depth([4, 2], parents=(-1, 0, 0, 1, 1)) == ([0, 1, 2, 4], [1, 2, 1])
    joints, sizes = by_depth(range(NUM_JOINTS))
    assert sorted(joints) == list(range(NUM_JOINTS)) and sum(sizes) == NUM_JOINTS
    assert all(joints.index(PARENTS[joint]) < joints.index(joint) for joint in joints[1:])
