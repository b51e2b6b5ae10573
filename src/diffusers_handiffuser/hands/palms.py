"""Whether the palm or the back of a hand is seen, from where its joints lie in the picture."""

import torch
from torch import nn

from .skeleton import OPENPOSE_HAND_NAMES

_WRIST, _INDEX, _PINKY = (OPENPOSE_HAND_NAMES.index(name) for name in ("wrist", "index1", "pinky1"))
_SURE_FACING = 0.3
"""Sine, in the picture, of the angle between index and little finger at the wrist that leaves no doubt of the facing;
a hand that is seen from the front has about 0.6."""


def palm_facing(joints_2d: torch.Tensor) -> torch.Tensor:
    """How much hands (..., 2, 21, 2) in a picture, left before right, show the palm: (..., 2), below 0 for the back.

    The sine of the angle at the wrist from the index's knuckle to the little finger's: turned one way round, a left
    hand shows its palm and a right one its back.
    """
    wrist, index, pinky = (joints_2d[..., joint, :] for joint in (_WRIST, _INDEX, _PINKY))
    index, pinky = nn.functional.normalize(index - wrist, dim=-1), nn.functional.normalize(pinky - wrist, dim=-1)
    turn = index[..., 0] * pinky[..., 1] - index[..., 1] * pinky[..., 0]
    return turn * turn.new_tensor([1.0, -1.0])


def palm_share(joints_2d: torch.Tensor) -> torch.Tensor:
    """The same as a share, (..., 2): 1 where the palm is seen for sure, 0 for the back, linear in between."""
    return (0.5 + 0.5 * palm_facing(joints_2d) / _SURE_FACING).clamp(0, 1)
