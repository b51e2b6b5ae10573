"""What a fit to landmarks says of a hand: how well it lies on them, and how far its joints are from their limits."""

import numpy as np
import torch

from ..detection import DetectedHand
from ..hands import HandParams
from ..hands.joint_limits import POSSIBLE, joint_limits, kinds_of_joints
from ..hands.skeleton import OPENPOSE_HAND_EDGES, SIDES
from .upright_views import FittedHand

SIGNS = (
    "pixel_error",
    "metre_error",
    "beyond_limits",
    "bent_backwards",
    "too_long",
    "detector_score",
    "hand_size",
    "other_side",
)
"""In this order: log of the mean distance of the joints from the landmarks per hundredth of the hand's size in the
image; log of the same in 3D per 5 mm, 0 without 3D landmarks; by how much a joint is beyond its anatomical limits,
radians; how far a joint of a long finger is bent away from the palm, at most, radians; log of the largest ratio of a
finger's length in the landmarks to that of the fit; the detector's confidence, 0.5 if it reports none; log of the
hand's size per 100 pixels; 1 if the hand was fitted on another side than was detected, else 0."""

_LEFT_HANDS_AXES = (1.0, -1.0, -1.0)
"""From a left hand's axis-angles to a right hand's."""


def fit_signs(hand: DetectedHand, hand_params: HandParams, fitted: FittedHand) -> torch.Tensor:
    """The `SIGNS` `(8,)` of a detected hand and its fit."""
    landmarks = torch.from_numpy(np.array(hand.landmarks, np.float32))
    size = float((landmarks.amax(0) - landmarks.amin(0)).amax().clamp_min(1e-6))
    pixel_error = float((fitted.joints - landmarks).norm(dim=-1).mean()) / size
    metre_error = 0.005
    if hand.landmarks_3d is not None:
        metre_error = _aligned_error(torch.from_numpy(np.array(hand.landmarks_3d, np.float32)), fitted.joints_3d)
    beyond, backwards = _bends(hand_params, fitted.side)
    ratio = (_finger_lengths(landmarks) + 0.02 * size) / (_finger_lengths(fitted.joints) + 0.02 * size)
    return torch.tensor(
        [
            np.log(np.clip(100 * pixel_error, 0.3, 30)),
            np.log(np.clip(metre_error / 0.005, 0.3, 10)),
            beyond,
            backwards,
            np.log(np.clip(float(ratio.amax()), 0.5, 3)),
            0.5 if hand.confidence is None else float(hand.confidence),
            np.log(np.clip(size / 100, 0.1, 10)),
            float(SIDES.index(hand.side) != fitted.side),
        ],
        dtype=torch.float32,
    )


def _bends(hand_params: HandParams, side: int) -> tuple[float, float]:
    """How far a finger joint is beyond its limits, and bent away from the palm, radians; 0 if none is."""
    pose = (hand_params.left_hand_pose, hand_params.right_hand_pose)[side].reshape(15, 3).cpu()
    angles = pose if side else pose * torch.tensor(_LEFT_HANDS_AXES)
    low, high = joint_limits(POSSIBLE)
    beyond = torch.maximum(low - angles, angles - high).amax().clamp_min(0)
    long_finger = torch.tensor([kind != "thumb" for kind in kinds_of_joints()])
    return float(beyond), float((-angles[long_finger, 2]).amax().clamp_min(0))


def _finger_lengths(joints: torch.Tensor) -> torch.Tensor:
    """Lengths `(5,)` of the fingers of `(21, D)` joints, without the palm's bones."""
    first, second = torch.tensor(OPENPOSE_HAND_EDGES).T
    return (joints[second] - joints[first]).norm(dim=-1).unflatten(0, (5, 4))[:, 1:].sum(-1)


def _aligned_error(target: torch.Tensor, points: torch.Tensor) -> float:
    """Mean distance of points `(N, 3)` from their targets after the best rotation and translation."""
    target, points = target - target.mean(0), points - points.mean(0)
    u, _, vt = torch.linalg.svd(points.T @ target)
    flip = torch.ones(3)
    flip[2] = torch.linalg.det(u @ vt).sign()
    return float((points @ (u * flip) @ vt - target).norm(dim=-1).mean())
