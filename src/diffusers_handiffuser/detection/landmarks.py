"""Fits SMPL-H's hand to 21 landmarks, in the image or in 3D, and places it on a person.

Landmarks are in OpenPose's order, which is MediaPipe's as well: the wrist, then thumb, index, middle, ring and pinky,
four each from the palm outwards. 21 points do not determine a hand; `fitting` describes the prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..hands import HandBodyModel
from ..hands.body_model import procedural_body
from ..hands.skeleton import SIDES
from .detector import DetectedHand
from .fitting import HandFit
from .mediapipe_hands import mediapipe_hands as mediapipe_hands
from .placing import PlacedHands, place_hands

_BATCH = 64


class LandmarkHand(DetectedHand):
    """The old name of [`DetectedHand`], with other names of its fields.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        pixels (`torch.Tensor` of shape `(21, 2)`): (x, y) in the image; an array or a list will do.
        metres (`torch.Tensor` of shape `(21, 3)`, *optional*): in a frame with x right, y down, z away from the
            camera; the origin does not matter.
    """

    def __init__(self, side: str, pixels: Any, metres: Any = None):
        super().__init__(side, pixels, landmarks_3d=metres)


@dataclass
class FittedHands(PlacedHands):
    """People whose hands were fitted to landmarks.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): the people.
        error_pixels (`torch.Tensor` of shape `(B, 2)`): mean distance of each hand's 21 joints, [left, right], from
            the landmarks; NaN where no hand is visible.
        error_metres (`torch.Tensor` of shape `(B, 2)`): mean distance of the aligned 3D joints from the 3D landmarks;
            NaN where there are none.
    """

    error_metres: torch.Tensor


def fit_landmarks(
    people: Sequence[DetectedHand | Sequence[DetectedHand]],
    image_sizes: Sequence[tuple[int, int]] | tuple[int, int],
    body_model: HandBodyModel | None = None,
    steps: int = 30,
) -> FittedHands:
    """Fits hands to landmarks and places them on people.

    Args:
        people (sequence): for each person one hand, or a list of one or two hands of different sides.
        image_sizes (sequence of `(width, height)`): of the images, or one for all.
        body_model ([`HandBodyModel`], *optional*): the body whose hands are fitted; by default the procedural one.
        steps (`int`): of Levenberg-Marquardt.

    Returns:
        [`FittedHands`]: drop those with a large error, say more than a tenth of the hand's size in the image. The
        body is assumed, see `placing`.

    Raises:
        ValueError: if a person has no hand or two of one side, or points are misshapen, not finite or all the same.
    """
    body_model = procedural_body() if body_model is None else body_model
    groups = [[hands] if isinstance(hands, DetectedHand) else list(hands) for hands in people]
    places = [(i, SIDES.index(hand.side)) for i, hands in enumerate(groups) for hand in hands]
    if not places or len(set(places)) < len(places) or any(not hands for hands in groups):
        raise ValueError("`people` must hold one hand, or two of different sides, for each of at least one person.")
    flat = [hand for hands in groups for hand in hands]
    pixels = torch.stack([_points(hand.landmarks, 2, "landmarks") for hand in flat])
    metres = {
        i: _points(hand.landmarks_3d, 3, "landmarks_3d")
        for i, hand in enumerate(flat)
        if hand.landmarks_3d is not None
    }

    fit = HandFit(body_model, steps)
    sides = torch.tensor([side for _, side in places])
    rotations, poses = torch.eye(3).repeat(len(flat), 1, 1), torch.zeros(len(flat), 45)
    errors = torch.full((len(flat),), torch.nan)
    for deep in (False, True):
        kind = [place for place in range(len(flat)) if (place in metres) == deep]
        for start in range(0, len(kind), _BATCH):
            chosen = kind[start : start + _BATCH]
            targets = torch.stack([metres[place] for place in chosen]) if deep else pixels[chosen]
            fitted = fit(targets, sides[chosen])
            rotations[chosen], poses[chosen] = fitted.rotations, fitted.poses
            if deep:
                errors[chosen] = fitted.distances

    number, index = len(groups), tuple(torch.tensor(places).T)
    all_rotations, all_poses = torch.eye(3).repeat(number, 2, 1, 1), torch.zeros(number, 2, 45)
    joints, visible = torch.zeros(number, 2, 21, 2), torch.zeros(number, 2, dtype=torch.bool)
    error_metres = torch.full((number, 2), torch.nan)
    all_rotations[index], all_poses[index], joints[index], visible[index] = rotations, poses, pixels, True
    error_metres[index] = errors
    sizes = torch.as_tensor(image_sizes, dtype=torch.float32).expand(number, 2)
    placed = place_hands(all_rotations, all_poses, joints, visible, sizes, body_model)
    return FittedHands(placed.hand_params, placed.error_pixels, error_metres)


def _points(value: Any, axes: int, name: str) -> torch.Tensor:
    points = torch.as_tensor(value, dtype=torch.float32).detach().cpu()
    if points.shape != (21, axes):
        raise ValueError(f"`{name}` of a hand must have shape (21, {axes}), got {tuple(points.shape)}.")
    if not torch.isfinite(points).all() or not (points.amax(0) - points.amin(0)).amax() > 0:
        raise ValueError(f"`{name}` of a hand must be finite and not all the same.")
    return points
