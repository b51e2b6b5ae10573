"""Checks of sampled hands for any data set: joint limits, handedness against the caption, Fréchet distance."""

import re
from collections.abc import Sequence

import torch

from ...hands import HandBodyModel, HandParams
from ...hands.body_model import procedural_body
from ...hands.joint_limits import POSSIBLE, joint_limits
from ...hands.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from ...hands.skeleton import FINGERS, OPENPOSE_HAND_NAMES, SIDES

_SIDE_WORD = re.compile(r"\b(left|right)\s+(?:\w+\s+)?(?:hand|fist|palm|thumb)s?\b", re.IGNORECASE)
_BOTH_WORDS = re.compile(r"\b(?:both|two|pair of)\s+(?:\w+\s+)?hands\b", re.IGNORECASE)


def finger_poses(hand_params: HandParams) -> torch.Tensor:
    """The finger joints of both hands as a right hand's, `(..., 2, 15, 3)`: axis-angle, radians, MANO's order."""
    right_poses = torch.stack([hand_params.mirror().right_hand_pose, hand_params.right_hand_pose], -2)
    return right_poses.unflatten(-1, (15, 3))


@torch.no_grad()
def limit_violations(hand_params: HandParams, body_model: HandBodyModel | None = None) -> torch.Tensor:
    """Part of the visible hands' finger joints that are bent, spread or twisted beyond anatomical limits.

    A joint's axis-angle is decomposed along its finger's own axes in the rest pose. In degrees, the knuckle of a long
    finger may bend from -30 to 115, its other joints from -20 to 130; the knuckle may spread and twist by 30, the
    others by 15. All limits of the thumb are 75. See `hands.joint_limits` for where these limits come from.

    Args:
        hand_params ([`HandParams`] of batch shape `(N,)`): the hands to check.
        body_model ([`HandBodyModel`], *optional*): whose rest pose it is; the procedural body by default.

    Returns:
        `torch.Tensor` of shape `(N,)`: NaN where no hand is visible.
    """
    along = torch.einsum("...jk,jak->...ja", finger_poses(hand_params).cpu(), _finger_axes(body_model))
    low, high = joint_limits(POSSIBLE)
    beyond = ((along < low) | (along > high)).any(-1).double().mean(-1)
    visible = hand_params.hand_visible.cpu().double()
    return (beyond * visible).sum(-1) / visible.sum(-1)


def _finger_axes(body_model: HandBodyModel | None) -> torch.Tensor:
    """Axes of a right hand's 15 joints, `(15, 3, 3)`: along the finger, of spread, of flexion."""
    body = procedural_body() if body_model is None else body_model
    joints = body(HandParams.zeros(1).to(body.device)).joints_3d[0, SIDES.index("right")].cpu()
    axes = []
    for finger in FINGERS:
        knuckle = OPENPOSE_HAND_NAMES.index(f"{finger}1")
        along = torch.nn.functional.normalize(joints[knuckle + 3] - joints[knuckle], dim=0)
        # In the rest pose the palm looks down.
        flexion = torch.nn.functional.normalize(torch.linalg.cross(along, torch.tensor([0.0, -1.0, 0.0])), dim=0)
        axes += [torch.stack([along, torch.linalg.cross(flexion, along), flexion])] * 3
    return torch.stack(axes)


def named_sides(text: str) -> tuple[bool, bool] | None:
    """The hands that a caption names, (left, right): "left hand", "right fist", "both hands" and the like.

    Returns:
        `tuple` of `bool`, or None if it names no hand, as in "lit from the left".
    """
    found = {match.group(1).lower() for match in _SIDE_WORD.finditer(text)}
    if _BOTH_WORDS.search(text):
        found = set(SIDES)
    return ("left" in found, "right" in found) if found else None


def side_consistency(hand_params: HandParams, texts: Sequence[str]) -> torch.Tensor:
    """Whether exactly the hands that the text names are visible: 1 or 0, `(N,)`; NaN where it names none.

    Args:
        hand_params ([`HandParams`] of batch shape `(N,)`): the hands to check.
        texts (`Sequence[str]`): N captions.
    """
    agreed = []
    for visible, text in zip(hand_params.hand_visible.tolist(), texts, strict=True):
        named = named_sides(text)
        agreed.append(float("nan") if named is None else float(tuple(visible) == named))
    return torch.tensor(agreed, dtype=torch.float64)


def parameter_features(hand_params: HandParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Visible hands as vectors, for the Fréchet distance in parameter space.

    Args:
        hand_params ([`HandParams`] of batch shape `(N,)`): the hands to check.

    Returns:
        `tuple`: `(M, 90)`, the 15 finger joints as 6D rotations, left hands mirrored; and the row of each, `(M,)`.
    """
    visible = hand_params.hand_visible.cpu()
    rotations = rotmat_to_rot6d(rotvec_to_rotmat(finger_poses(hand_params).cpu()))
    return rotations.flatten(-2)[visible], visible.nonzero()[:, 0]
