"""Single hands fitted to landmarks: on both sides where 3D landmarks can tell them apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..hands import HandBodyModel
from ..hands.skeleton import SIDES
from .detector import DetectedHand
from .fitting import FittedPoses, HandFit

_BATCH = 64
_CLEARLY = 0.9
"""Where the errors of the two sides are nearer to each other, the detector's side is right more often (studio)."""


class SingleHands(NamedTuple):
    """Fitted hands, each on one side.

    Args:
        sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.
        rotations (`torch.Tensor` of shape `(N, 3, 3)`): of the wrists into the camera frame.
        poses (`torch.Tensor` of shape `(N, 45)`): axis-angle, radians.
        error_metres (`torch.Tensor` of shape `(N,)`): mean distance of the aligned joints from the 3D landmarks, of
            the fit to these alone; NaN where there are none.
        other_error_metres (`torch.Tensor` of shape `(N,)`): the same of the other side; NaN where it was not fitted.
    """

    sides: torch.Tensor
    rotations: torch.Tensor
    poses: torch.Tensor
    error_metres: torch.Tensor
    other_error_metres: torch.Tensor


def fit_single_hands(
    hands: Sequence[DetectedHand], body_model: HandBodyModel, steps: int, trust_sides: bool
) -> SingleHands:
    """Fits hands to their landmarks, in 3D and in the image, or in the image alone where there are no others.

    A left hand in 3D is no rotated right one, so a fit on the wrong side has the larger error. The detector's side
    holds where the errors hardly differ, and without 3D landmarks: in the image, a palm looks like the back of the
    other hand.

    Args:
        hands (sequence of [`DetectedHand`]): N hands.
        body_model ([`HandBodyModel`]): the body whose hands are fitted.
        steps (`int`): of Levenberg-Marquardt.
        trust_sides (`bool`): the detector's sides hold always.
    """
    fit, number = HandFit(body_model, steps), len(hands)
    sides = torch.tensor([SIDES.index(hand.side) for hand in hands], dtype=torch.int64)
    pixels = torch.stack([to_tensor(hand.landmarks) for hand in hands])
    rotations, poses = torch.eye(3).repeat(number, 1, 1), torch.zeros(number, 45)
    errors, other_errors = torch.full((number,), torch.nan), torch.full((number,), torch.nan)
    deep = torch.tensor([hand.landmarks_3d is not None for hand in hands], dtype=torch.bool)
    for rows in _batches(~deep, _BATCH):
        fitted = fit(pixels[rows], sides[rows])
        rotations[rows], poses[rows] = fitted.rotations, fitted.poses
    for rows in _batches(deep, _BATCH if trust_sides else _BATCH // 2):
        targets = torch.stack([to_tensor(hands[row].landmarks_3d) for row in rows])
        fitted = fit(targets, sides[rows]) if trust_sides else fit(targets.repeat(2, 1, 1), _both(sides[rows]))
        if not trust_sides:
            own, other = fitted.distances.chunk(2)
            swapped = other < _CLEARLY * own
            other_errors[rows] = torch.where(swapped, own, other)
            sides[rows] = torch.where(swapped, 1 - sides[rows], sides[rows])
            better = torch.arange(len(rows)) + len(rows) * swapped
            fitted = FittedPoses(*(values[better] for values in fitted))
        errors[rows] = fitted.distances
        fitted = fit.refine(fitted, targets, pixels[rows], sides[rows])
        rotations[rows], poses[rows] = fitted.rotations, fitted.poses
    return SingleHands(sides, rotations, poses, errors, other_errors)


def _batches(chosen: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
    """Indices of the chosen rows."""
    rows = chosen.nonzero()[:, 0]
    return rows.split(size) if len(rows) else ()


def _both(sides: torch.Tensor) -> torch.Tensor:
    return torch.cat([sides, 1 - sides])


def to_tensor(points: np.ndarray) -> torch.Tensor:
    """Landmarks as float32."""
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.array(points, np.float32))
