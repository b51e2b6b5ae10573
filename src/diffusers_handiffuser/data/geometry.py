"""Where people and hands lie in an image, in pixels."""

from collections.abc import Sequence

import torch

from ..hands import HandBodyModel, HandGeometry, HandParams, ImageCrop, map_camera, map_points
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


def visible_in_squares(hand_params: HandParams, geometry: HandGeometry, squares: Sequence[ImageCrop]) -> torch.Tensor:
    """The visible hands of whose skin something lies in a crop of their image: `(B, 2)` bool.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): in the cameras of the images.
        geometry ([`HandGeometry`]): of the hands.
        squares (sequence of [`ImageCrop`]): of each image, such as `ImageCrop.centred_square`.
    """
    skins = (geometry.left_vertices, geometry.right_vertices)
    points = (map_points(project_weak_perspective(skin, hand_params.camera), squares) for skin in skins)
    return hand_params.hand_visible & torch.stack([(skin.abs() <= 1).all(-1).any(-1) for skin in points], -1)


@torch.no_grad()
def hands_in_square(
    hand_params: HandParams, sizes: Sequence[tuple[int, int]], body_model: HandBodyModel
) -> HandParams:
    """Hands as the centred squares of their images show them: in the square's camera, visible if it shows some skin.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): in the cameras of the images.
        sizes (sequence of `tuple[int, int]`): width and height of each image.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
    """
    squares = [ImageCrop.centred_square(*size) for size in sizes]
    on_device = hand_params.to(body_model.device)
    visible = visible_in_squares(on_device, body_model(on_device), squares).to(hand_params.device)
    return hand_params.replace(camera=map_camera(hand_params.camera, squares), hand_visible=visible)
