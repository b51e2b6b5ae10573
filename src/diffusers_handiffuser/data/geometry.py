"""Where people and hands lie in an image, in pixels."""

import torch

from ..hands import HandBodyModel, HandParams
from ..hands.camera import project_weak_perspective, square_to_pixels


@torch.no_grad()
def hand_joints_in_pixels(hand_params: HandParams, body_model: HandBodyModel, width: int, height: int) -> torch.Tensor:
    """The 21 OpenPose joints of both hands (left, right), visible or not: (x, y), shape `(..., 2, 21, 2)`."""
    joints = body_model(hand_params.to(body_model.device)).joints_2d.cpu()
    return square_to_pixels(joints, height, width)


@torch.no_grad()
def body_joints_in_pixels(hand_params: HandParams, body_model: HandBodyModel, width: int, height: int) -> torch.Tensor:
    """The 52 joints of the body in the order of `JOINT_NAMES`: (x, y), shape `(..., 52, 2)`."""
    hand_params = hand_params.to(body_model.device)
    joints = project_weak_perspective(body_model.full_mesh(hand_params).joints, hand_params.camera).cpu()
    return square_to_pixels(joints, height, width)


def hand_sizes_in_pixels(joints: torch.Tensor) -> torch.Tensor:
    """The longer side of the box around each hand: joints `(..., 21, 2)` to `(...)`."""
    return (joints.amax(-2) - joints.amin(-2)).amax(-1)


def are_inside(joints: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Whether joints `(..., 2)` lie in the image: `(...)` bool."""
    limit = joints.new_tensor([width, height])
    return ((joints >= 0) & (joints <= limit)).all(-1)
