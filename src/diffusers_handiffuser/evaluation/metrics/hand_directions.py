"""How hands are turned: which of their faces the viewer sees, and where fingers and thumbs point in the image.

A palm is in view while its normal is within 42 degrees of the viewer, a back while the opposite of it is. The angle
was chosen on 6000 training scenes of the studio, where each view then has the same share of errors, 0.5 %. A thumb or
a finger points up or down while it is within 60 degrees of the vertical; the studio's lean by up to 46. The paper has
no such rules.
"""

import math
from collections.abc import Collection

import torch
from torch.nn import functional as F

from ...hands.skeleton import OPENPOSE_HAND_NAMES

VIEWS = ("palm", "back", "side")
TURNS = ("up", "down", "sideways")
_IN_VIEW, _UPRIGHT = (math.cos(math.radians(angle)) for angle in (42, 60))
_WRIST, _INDEX, _MIDDLE, _PINKY, _THUMB = (
    OPENPOSE_HAND_NAMES.index(name) for name in ("wrist", "index1", "middle1", "pinky1", "thumb2")
)


def palm_normals(joints_3d: torch.Tensor) -> torch.Tensor:
    """Unit normals `(..., 2, 3)` that point out of the palms of hands `(..., 2, 21, 3)`, left before right."""
    wrist, index, pinky = (joints_3d[..., joint, :] for joint in (_WRIST, _INDEX, _PINKY))
    normal = torch.linalg.cross(pinky - wrist, index - wrist, dim=-1)
    return F.normalize(normal * normal.new_tensor([[1.0], [-1.0]]), dim=-1)


def facing_viewer(joints_3d: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between a palm and the viewer, `(..., 2)`: 1 for the palm in full view, -1 for the back.

    Args:
        joints_3d (`torch.Tensor` of shape `(..., 2, 21, 3)`): of left and right hands in the camera frame, whose z
            points away from the viewer.
    """
    return -palm_normals(joints_3d)[..., 2]


def view_name(facing: float) -> str:
    """Which of `VIEWS` a hand with this cosine of [`facing_viewer`] shows."""
    return "palm" if facing >= _IN_VIEW else "back" if facing <= -_IN_VIEW else "side"


def thumb_direction(joints_2d: torch.Tensor) -> torch.Tensor:
    """From the thumb's knuckle to its tip in the image, `(..., 2)`, of hands `(..., 21, 2)`."""
    return joints_2d[..., _tip("thumb"), :] - joints_2d[..., _THUMB, :]


def finger_direction(joints_2d: torch.Tensor, extended: Collection[str]) -> torch.Tensor:
    """From the wrist to the tips of the extended long fingers, or to the middle knuckle if there is none, `(..., 2)`.

    Args:
        joints_2d (`torch.Tensor` of shape `(..., 21, 2)`): of hands in the image.
        extended (collection of `str`): fingers such as `"index"`; `"thumb"` does not count.
    """
    tips = [_tip(finger) for finger in sorted(extended) if finger != "thumb"]
    return joints_2d[..., tips or [_MIDDLE], :].mean(-2) - joints_2d[..., _WRIST, :]


def turn_name(direction: torch.Tensor) -> str:
    """Which of `TURNS` a direction `(2,)` in the image (v points down) is."""
    rise = -F.normalize(direction, dim=-1)[1].item()
    return "up" if rise >= _UPRIGHT else "down" if rise <= -_UPRIGHT else "sideways"


def palm_size(joints_3d: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Length from wrist to middle knuckle, however it is turned, at the camera's scale, `(..., 2)`.

    Args:
        joints_3d (`torch.Tensor` of shape `(..., 2, 21, 3)`): metres.
        camera (`torch.Tensor` of shape `(..., 3)`): see `hands.camera`; an image is 2 units wide.
    """
    length = (joints_3d[..., _MIDDLE, :] - joints_3d[..., _WRIST, :]).norm(dim=-1)
    return length * camera[..., :1]


def _tip(finger: str) -> int:
    return OPENPOSE_HAND_NAMES.index(f"{finger}4")
