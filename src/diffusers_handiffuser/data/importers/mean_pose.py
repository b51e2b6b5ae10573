"""Poses of MANO's hands relative to its mean pose, as smplx's default `flat_hand_mean=False` takes them.

Here, as in HaMeR and WiLoR, zero rotation is the flat hand. Poses of the other convention lack the flexion of a hand
at rest, about half a radian per joint, and nothing in a file says which one it follows.
"""

import torch

from ...hands import HandBodyModel, HandParams
from ...hands.joint_limits import USUAL, joint_limits
from ...hands.rotations import rotmat_to_rotvec
from ...hands.skeleton import SIDES

_MIN_EXCESS = 0.3  # radians beyond the limits, over all joints of a hand
_MIN_DISTANCE = 0.05  # of a hand's size
_MIN_SHARE = 0.2
"""Of hands that look relative. By their limits, a quarter to a half of relative ones do, and no absolute one."""


def mean_poses(hand_means: torch.Tensor | None, body_model: HandBodyModel) -> torch.Tensor:
    """The mean poses `(2, 45)`, [left, right], that relative poses lack: those given, or the body file's.

    Raises:
        ValueError: those given have another shape, are not finite or zero, or there are none but those of our own
            body, which are not MANO's.
    """
    if hand_means is not None:
        means = torch.as_tensor(hand_means, dtype=torch.float32).cpu()
        if means.shape != (2, 45):
            raise ValueError(f"`hand_means` must have shape (2, 45), left and right, got {tuple(means.shape)}.")
        if not means.isfinite().all() or not means.any(-1).all():
            raise ValueError("`hand_means` must hold finite mean poses, neither of them zero: that is the flat hand.")
        return means
    means = body_model.hand_means.cpu()
    if body_model.config.body == "procedural" or not means.any(-1).all():
        raise ValueError(
            "`flat_hand_mean=False` needs MANO's mean poses: pass `hand_means`, or a `body_model` whose files have "
            "them, `HandBodyModel.from_smplh(..., mano_left=..., mano_right=...)`."
        )
    return means


@torch.no_grad()
def seem_relative(
    rotations: torch.Tensor,
    poses: torch.Tensor,
    sides: torch.Tensor,
    joints_3d: torch.Tensor,
    body_model: HandBodyModel,
) -> bool:
    """Whether hands look as if a mean pose were missing.

    With 3D joints: adding the mean brings the body's joints much nearer to them. Without: fingers bend backwards,
    which no longer happens with the mean.

    Args:
        rotations (`torch.Tensor` of shape `(N, 3, 3)`): of the wrists, into the camera frame.
        poses (`torch.Tensor` of shape `(N, 45)`): axis-angle, radians, read as absolute.
        sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.
        joints_3d (`torch.Tensor` of shape `(N, 21, 3)`): in the camera frame; NaN where they are not known.
        body_model ([`HandBodyModel`]): its mean poses, or our own body's, stand for MANO's.
    """
    means = body_model.mean_hand_poses().cpu()[sides]
    known = ~joints_3d.isnan().flatten(1).any(1)
    if known.any():
        parts = rotations[known], sides[known], joints_3d[known], body_model
        found, expected = _distances(poses[known], *parts), _distances((poses + means)[known], *parts)
        return float(((found > _MIN_DISTANCE) & (expected < 0.5 * found)).float().mean()) > 0.5
    found, expected = _excess(poses, sides), _excess(poses + means, sides)
    return float(((found > _MIN_EXCESS) & (expected < 0.5 * found)).float().mean()) >= _MIN_SHARE


def _distances(
    poses: torch.Tensor,
    rotations: torch.Tensor,
    sides: torch.Tensor,
    joints_3d: torch.Tensor,
    body_model: HandBodyModel,
) -> torch.Tensor:
    """Mean distances `(N,)` of the posed joints from those given, of a hand's size, at one wrist and scale."""
    people = HandParams.zeros(len(poses)).replace(
        global_orient=rotmat_to_rotvec(rotations), left_hand_pose=poses, right_hand_pose=poses
    )
    posed = body_model(people.to(body_model.device)).joints_3d.cpu()[torch.arange(len(poses)), sides]
    posed, wanted = posed - posed[:, :1], joints_3d - joints_3d[:, :1]
    scale = (posed * wanted).sum((1, 2)) / posed.square().sum((1, 2))
    distances = (scale[:, None, None] * posed - wanted).norm(dim=-1).mean(-1)
    return distances / wanted.norm(dim=-1).amax(-1)


def _excess(poses: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """By how many radians `(N,)` the joints of a hand exceed their usual limits, in all."""
    low, high = (limit.flatten() for limit in joint_limits(USUAL))
    sign = torch.where(sides == SIDES.index("left"), -1.0, 1.0)[:, None]
    as_right = poses * torch.cat([torch.ones_like(sign), sign, sign], 1).repeat(1, 15)
    return (torch.relu(as_right - high) + torch.relu(low - as_right)).sum(-1)
