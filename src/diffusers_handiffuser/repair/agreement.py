"""How well a hand of an image agrees with the hand that is wanted there.

Two things are looked at. *Joints*: how far they are from where they should be, as detected in the image and as fitted
in 3D. Distances below a detector's noise count as none, so that a hand which is to keep its pose is not rated by its
own fit. *Outline*: the overlap of what is coloured like the hand with the wanted mesh, which a finger too many,
missing or grown into the next one lowers, though five are detected. The forearm does not count.

The agreement is the product of both. The measure and its numbers are ours.
"""

from typing import NamedTuple

import numpy as np
import torch

from ..hands import HandBodyModel, HandParams
from .found_hands import FoundHand
from .regions import colored_region, shape_of
from .squares import Square

_SIZE = 160
"""Pixels per side of the square in which outlines are compared."""
_NOISE = 0.1
"""Of the hand's size: mean distance of the joints that counts as none. Up to it, a fit counts as right, too."""
_APART = 0.5
"""Of the hand's size: mean distance of the joints at which nothing agrees."""


class Agreement(NamedTuple):
    """Both from 0 to 1.

    Args:
        joints (`float`): 1 where they are as wanted, 0 where they are half a hand's size away or of the other side.
        outline (`float`): intersection over union.
    """

    joints: float
    outline: float

    @property
    def value(self) -> float:
        """Their product."""
        return self.joints * self.outline


def agreement(
    pixels: np.ndarray, square: Square, hand: FoundHand, wanted: HandParams, body_model: HandBodyModel
) -> Agreement:
    """How well a found hand agrees with the one that is wanted.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8): the image.
        square ([`Square`]): around both hands.
        hand ([`FoundHand`]): in pixels and in the camera of the image.
        wanted ([`HandParams`] of batch shape `(1,)`): likewise.
        body_model ([`HandBodyModel`]): the body that was fitted.
    """
    own = shape_of(square.to_square(hand.fit, _SIZE), body_model, _SIZE)
    goal = shape_of(square.to_square(wanted, _SIZE), body_model, _SIZE)
    if not torch.equal(hand.fit.hand_visible, wanted.hand_visible):
        return Agreement(0.0, 0.0)
    corner = np.array([square.left, square.top])
    landmarks = torch.from_numpy((hand.detected.landmarks - corner) * (_SIZE / square.side)).float()
    flat = float((landmarks - goal.joints).norm(dim=-1).mean() / _extent(goal.joints))
    apart = (own.joints_3d - own.joints_3d.mean(0)) - (goal.joints_3d - goal.joints_3d.mean(0))
    deep = float(apart.norm(dim=-1).mean() / _extent(goal.joints_3d))
    joints = 1 - min(1.0, max(0.0, (max(flat, deep) - _NOISE) / (_APART - _NOISE)))
    seen = colored_region(np.asarray(square.resized(pixels, _SIZE)), own)
    mesh = goal.mask & goal.before_wrist
    return Agreement(joints, float((seen & mesh).sum() / (seen | mesh).sum().clamp_min(1)))


def _extent(joints: torch.Tensor) -> torch.Tensor:
    """The largest distance of two joints."""
    return torch.cdist(joints, joints).amax().clamp_min(1e-9)
