"""Whether an image shows the palm or the back of a hand, from its 2D joints."""

import torch
from torch import nn

from .skeleton import OPENPOSE_HAND_NAMES

_WRIST, _INDEX, _PINKY = (OPENPOSE_HAND_NAMES.index(name) for name in ("wrist", "index1", "pinky1"))
_SURE_FACING = 0.3
"""Sine of the angle in the image between index and little finger, at the wrist, beyond which the facing is certain; a
hand seen from the front has about 0.6."""


def palm_facing(joints_2d: torch.Tensor) -> torch.Tensor:
    """How much hands show the palm: the sine of an angle, negative for the back of the hand.

    The angle at the wrist from the index knuckle to that of the little finger: with the same sign, a left hand shows
    its palm and a right one its back.

    Args:
        joints_2d (`torch.Tensor` of shape `(..., 2, 21, 2)`): in an image, hands [left, right].

    Returns:
        `torch.Tensor` of shape `(..., 2)`.
    """
    wrist, index, pinky = (joints_2d[..., joint, :] for joint in (_WRIST, _INDEX, _PINKY))
    index, pinky = nn.functional.normalize(index - wrist, dim=-1), nn.functional.normalize(pinky - wrist, dim=-1)
    turn = index[..., 0] * pinky[..., 1] - index[..., 1] * pinky[..., 0]
    return turn * turn.new_tensor([1.0, -1.0])


def palm_share(joints_2d: torch.Tensor) -> torch.Tensor:
    """`palm_facing` as a share `(..., 2)`: 1 for certainly the palm, 0 for the back, linear in between."""
    return (0.5 + 0.5 * palm_facing(joints_2d) / _SURE_FACING).clamp(0, 1)
