"""Limits of the finger joints: twist about the finger, spread in the palm, and flexion towards it.

The limits are ours: textbook ranges of motion (the American Academy of Orthopaedic Surgeons gives 90, 100 and 90
degrees of flexion) with a margin. The thumb's joints are rotated, so all its angles have one wide range.

There are two tables for two purposes. Beyond `POSSIBLE`, a joint counts as anatomically wrong. Beyond the narrower
`USUAL`, a fit to landmarks is penalised: soft limits are exceeded a little, so fitted hands stay possible.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from .skeleton import FINGERS

Limits = Mapping[str, Sequence[tuple[float, float]]]


def _in_radians(*degrees: tuple[int, int]) -> list[tuple[float, float]]:
    return [(math.radians(low), math.radians(high)) for low, high in degrees]


POSSIBLE: Limits = {
    "knuckle": _in_radians((-30, 30), (-30, 30), (-30, 115)),
    "finger": _in_radians((-15, 15), (-15, 15), (-20, 130)),
    "thumb": _in_radians((-75, 75), (-75, 75), (-75, 75)),
}
USUAL: Limits = {
    "knuckle": ((-0.5, 0.5), (-0.5, 0.5), (-0.5, 1.8)),
    "finger": ((-0.25, 0.25), (-0.25, 0.25), (-0.3, 2.0)),
    "thumb": ((-1.2, 1.2), (-1.2, 1.2), (-1.2, 1.2)),
}
"""Radians, lowest and highest, of twist, spread and flexion."""


def kinds_of_joints() -> list[str]:
    """The kind of each of the 15 finger joints in MANO's order: `"knuckle"`, `"finger"` or `"thumb"`."""
    long_finger = ("knuckle", "finger", "finger")
    return [kind for finger in FINGERS for kind in (("thumb",) * 3 if finger == "thumb" else long_finger)]


def joint_limits(limits: Limits) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest angle, radians, of the 15 finger joints in MANO's order: two tensors `(15, 3)`."""
    low, high = torch.tensor([limits[kind] for kind in kinds_of_joints()]).unbind(-1)
    return low, high
