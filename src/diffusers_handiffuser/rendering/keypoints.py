"""The key points that OpenPose finds in an image, of people who are given as hand parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..hands.body_model import HandBodyModel
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from ..hands.rotations import rotvec_to_rotmat
from ..hands.skeleton import JOINT_NAMES

PARTS = ("body", "hands", "face")
"""Of a person's key points."""

BODY_POINTS = {
    1: ("left_shoulder", "right_shoulder"),
    2: ("right_shoulder",),
    3: ("right_elbow",),
    4: ("right_wrist",),
    5: ("left_shoulder",),
    6: ("left_elbow",),
    7: ("left_wrist",),
    8: ("right_hip",),
    9: ("right_knee",),
    10: ("right_ankle",),
    11: ("left_hip",),
    12: ("left_knee",),
    13: ("left_ankle",),
}
"""OpenPose's COCO points that are joints of SMPL-H, or the mean of two."""
HEAD_POINTS = {
    0: ((0.0, 0.052, 0.110), (0.0, 0.0, 1.0)),
    14: ((-0.032, 0.090, 0.088), (-0.3, 0.0, 0.95)),
    15: ((0.032, 0.090, 0.088), (0.3, 0.0, 0.95)),
    16: ((-0.085, 0.068, -0.004), (-1.0, 0.0, 0.0)),
    17: ((0.085, 0.068, -0.004), (1.0, 0.0, 0.0)),
}
"""Nose, eyes and ears, right before left: from the joint of the head, metres, and the direction that they look in; x
points to the wearer's left, y upwards and z to the front."""
BODY_LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13))
HEAD_LIMBS = ((1, 0), (0, 14), (14, 16), (0, 15), (15, 17))
LIMBS = BODY_LIMBS + HEAD_LIMBS
"""In OpenPose's order, which determines their colours."""

NUM_BODY_POINTS, NUM_HAND_POINTS = 18, 21
_NECK, _WRISTS = 1, (7, 4)
_HEAD_CHAIN = tuple(JOINT_NAMES.index(name) for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head"))
_HIDDEN = 0.3
"""Depth of the direction of a head point, 1 if it looks away from the viewer, from which the head hides it."""


@dataclass(frozen=True, eq=False)
class OpenPoseKeypoints:
    """Key points of the people in an image, as OpenPose finds them.

    Args:
        body (`torch.Tensor` of shape `(P, 18, 3)`): x, y and confidence of each person's body in OpenPose's COCO
            order: x and y in pixels, whose first covers 0 to 1. Missing points are zeros.
        hands (`torch.Tensor` of shape `(P, 2, 21, 3)`): the same of the hands, [left, right] of the person.
        size (`tuple[int, int]`, *optional*): width and height of the image, pixels, if known.

    Raises:
        TypeError, ValueError: if the shapes are others or a number is not finite.
    """

    body: torch.Tensor
    hands: torch.Tensor
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, shape in (("body", (NUM_BODY_POINTS, 3)), ("hands", (2, NUM_HAND_POINTS, 3))):
            value = getattr(self, name)
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"`{name}` must be a torch.Tensor, got {type(value).__name__}.")
            if value.ndim != len(shape) + 1 or tuple(value.shape[1:]) != shape or len(value) != len(self.body):
                wanted = f"({'P' if name == 'body' else len(self.body)}, {', '.join(map(str, shape))})"
                raise ValueError(f"`{name}` must have shape {wanted}, got {tuple(value.shape)}.")
            if not torch.isfinite(value).all():
                raise ValueError(f"`{name}` must hold finite numbers.")
            object.__setattr__(self, name, value.detach().to("cpu", torch.float64))

    def __len__(self) -> int:
        return len(self.body)

    def __repr__(self) -> str:
        hands = int((self.hands[..., 2] > 0).any(-1).sum())
        return f"OpenPoseKeypoints(people={len(self)}, hands={hands}, size={self.size})"


@torch.no_grad()
def keypoints_of(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    *,
    parts: Sequence[str] = PARTS,
    only_connected: bool = True,
) -> OpenPoseKeypoints:
    """The key points of rows as of the people in one image.

    As with a detector, points outside of the image are missing. So are, with `only_connected`, those of the body that
    no limbs in the image connect with a visible hand: where an arm is cut off, the body is assumed.

    Args:
        hand_params ([`HandParams`] of batch shape `(P,)`): the people.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the image, pixels.
        width (`int`): of the image, pixels.
        parts (sequence of `str`): what is wanted of `"body"`, `"hands"` and `"face"`, which is nose, eyes and ears.
        only_connected (`bool`): see above.
    """
    rows = hand_params.to(body_model.device)
    body = torch.zeros(len(rows), NUM_BODY_POINTS, 3, dtype=torch.float64)
    hands = torch.zeros(len(rows), 2, NUM_HAND_POINTS, 3, dtype=torch.float64)
    if len(rows) and "hands" in parts:
        points = square_to_pixels(body_model(rows).joints_2d, height, width).cpu().double()
        hands = _in_image(points, rows.hand_visible.cpu()[..., None], height, width)
    if len(rows) and ("body" in parts or "face" in parts):
        points, seen = _body_points(rows, body_model, height, width)
        body = _in_image(points, seen, height, width)
        if only_connected:
            body *= _connected(body[..., 2] > 0, rows.hand_visible.cpu())[..., None]
        left_out = [point for part in ("body", "face") if part not in parts for point in _points_of(part)]
        body[:, left_out] = 0
    return OpenPoseKeypoints(body, hands, (width, height))


def _points_of(part: str) -> tuple[int, ...]:
    return tuple(BODY_POINTS if part == "body" else HEAD_POINTS)


def _in_image(points: torch.Tensor, seen: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Key points `(..., 3)` of the points `(..., 2)` that are seen and in the image; the others are zeros."""
    inside = seen & ((points >= 0) & (points < points.new_tensor([width, height]))).all(-1)
    return torch.cat([points, torch.ones_like(points[..., :1])], -1) * inside[..., None]


def _body_points(
    rows: HandParams, body_model: HandBodyModel, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The body's points `(P, 18, 2)`, pixels, and whether the head hides them, `(P, 18)`."""
    joints = body_model.full_mesh(rows).joints
    turn = torch.eye(3, device=joints.device)
    for joint in _HEAD_CHAIN:
        turn = turn @ rotvec_to_rotmat(rows.full_pose[:, joint])
    offsets, directions = (joints.new_tensor(values) for values in zip(*HEAD_POINTS.values(), strict=True))
    head = joints[:, _HEAD_CHAIN[-1:]] + offsets @ turn.mT
    pixels = square_to_pixels(project_weak_perspective(torch.cat([joints, head], 1), rows.camera), height, width)
    pixels = pixels.cpu().double()
    points = torch.zeros(len(rows), NUM_BODY_POINTS, 2, dtype=torch.float64)
    for point, names in BODY_POINTS.items():
        points[:, point] = pixels[:, [JOINT_NAMES.index(name) for name in names]].mean(1)
    points[:, list(HEAD_POINTS)] = pixels[:, len(JOINT_NAMES) :]
    seen = torch.ones(len(rows), NUM_BODY_POINTS, dtype=torch.bool)
    seen[:, list(HEAD_POINTS)] = ((directions @ turn.mT)[..., 2] < _HIDDEN).cpu()
    return points, seen


def _connected(present: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Which present points `(P, 18)` limbs connect with a visible hand `(P, 2)`.

    A wrist alone is left out, as the hand shows it. A head belongs to its neck, as from behind only ears are seen.
    """
    reached = torch.zeros_like(present)
    reached[:, _WRISTS] = visible & present[:, _WRISTS]
    joined = torch.zeros_like(present)
    for _ in BODY_LIMBS:
        for limb in BODY_LIMBS:
            drawn = reached[:, limb].any(-1) & present[:, limb].all(-1)
            reached[:, limb] |= drawn[:, None]
            joined[:, limb] |= drawn[:, None]
    joined[:, list(HEAD_POINTS)] = joined[:, [_NECK]] & present[:, list(HEAD_POINTS)]
    return joined
