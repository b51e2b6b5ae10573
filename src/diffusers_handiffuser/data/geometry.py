"""Where people and hands lie in an image, in pixels."""

from collections.abc import Sequence

import torch

from ..hands import HandBodyModel, HandParams, ImageCrop, map_camera
from ..hands.camera import project_weak_perspective, square_to_pixels, visible_in_square


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


@torch.no_grad()
def hands_in_square(
    hand_params: HandParams, sizes: Sequence[tuple[int, int]], body_model: HandBodyModel
) -> HandParams:
    """Hands as the centred squares of their images show them.

    They are in the square's camera, and those that the square leaves out count as not visible. A square image leaves
    nothing out: a visible hand outside it is an error of its row, which `check_dataset` reports, and stays.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): in the cameras of the images.
        sizes (sequence of `tuple[int, int]`): width and height of each image.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
    """
    crops = [ImageCrop.centred_square(*size) for size in sizes]
    hands = hand_params.replace(camera=map_camera(hand_params.camera, crops))
    cropped = torch.tensor([crop.size != crop.image_size for crop in crops], dtype=torch.bool)
    if not cropped.any():
        return hands
    joints = body_model(hands[cropped].to(body_model.device)).joints_2d.to(hands.device)
    visible = hands.hand_visible.clone()
    visible[cropped] = visible_in_square(joints, visible[cropped])
    return hands.replace(hand_visible=visible)
