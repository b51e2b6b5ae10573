"""Joints by forward kinematics."""

import torch

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.kinematics import HandJoints
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import OPENPOSE_FROM_MANO


def test_hand_joints_are_those_of_the_body_model():
    generator = torch.Generator().manual_seed(0)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "betas")
    values = {name: 0.4 * torch.randn(3, HandParams.FIELDS[name], generator=generator) for name in names}
    hands = HandParams.zeros(3).replace(**values)
    body_model = HandBodyModel.procedural()
    joints = HandJoints(body_model)(rotvec_to_rotmat(hands.full_pose), hands.betas)[:, :, list(OPENPOSE_FROM_MANO)]
    assert (joints - body_model(hands).joints_3d).norm(dim=-1).max() < 1e-3
