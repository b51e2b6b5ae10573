"""Joints of single hands and their derivatives, many hands at once: much cheaper than posing a body's two hands."""

import torch

from ..hands import HandBodyModel
from ..hands.body_arrays import dense_weights
from ..hands.rotations import rotvec_to_rotmat
from ..hands.skeleton import LEFT_HAND, LEFT_WRIST, NUM_JOINTS, OPENPOSE_FROM_MANO, RIGHT_HAND, RIGHT_WRIST

_PARENTS = (0, *(0 if k % 3 == 0 else k for k in range(15)))
"""Of the wrist (itself) and the 15 finger joints in MANO's order."""
_HANDS = ((LEFT_WRIST, LEFT_HAND), (RIGHT_WRIST, RIGHT_HAND))
_FINGERS = torch.arange(1, 16).unflatten(0, (5, 3))


class HandKinematics:
    """Forward kinematics of the hands of a body of mean shape.

    Finger joints are exact. Fingertips are skinned as in the body's mesh, by the weights of their own hand; the
    derivative leaves out what pose-dependent shape adds to them, which is small.

    Args:
        body_model ([`HandBodyModel`]): the body whose hands are posed.
    """

    def __init__(self, body_model: HandBodyModel):
        joints = torch.tensor([[w, *range(h.start, h.stop)] for w, h in _HANDS])
        tips = torch.tensor([list(body_model.config.left_fingertips), list(body_model.config.right_fingertips)])
        rest = body_model.joint_template.cpu()[joints]
        weights = dense_weights(body_model, tips.flatten().to(body_model.device)).cpu().unflatten(0, (2, 5))
        weights = torch.stack([weights[hand][:, joints[hand]] for hand in range(2)])
        self.weights = weights / weights.sum(-1, keepdim=True)
        self.rest = rest - rest[:, :1]
        self.tips = body_model.template.cpu()[tips] - rest[:, :1]
        self.bends = None
        if body_model.config.num_pose_features:
            features = body_model.hand_pose_directions.cpu()[:, -30:].view(NUM_JOINTS - 1, 9, 2, 15)
            self.bends = torch.stack([features[joints[hand, 1:] - 1, :, hand].flatten(0, 1) for hand in range(2)])
        below = torch.eye(16, dtype=torch.bool)
        for joint in range(1, 16):
            below[:, joint] |= below[:, _PARENTS[joint]]
        self.below = below.float()
        self.order = torch.tensor(OPENPOSE_FROM_MANO)

    def joints(self, rotvecs: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
        """Joints about the wrist.

        Args:
            rotvecs (`torch.Tensor` of shape `(N, 16, 3)`): of the wrist into the camera frame, then of the 15 finger
                joints in MANO's order; axis-angle, radians.
            sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.

        Returns:
            `torch.Tensor` of shape `(N, 21, 3)`: OpenPose order, metres.
        """
        _, positions, ends = self._pose(rotvecs, sides)
        tips = (self.weights[sides][..., None] * ends).sum(2)
        return torch.cat([positions, tips], 1)[:, self.order]

    def joints_and_jacobian(self, rotvecs: torch.Tensor, sides: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `joints`, and their derivatives `(N, 21, 3, 48)` by all axis-angles."""
        turns, positions, ends = self._pose(rotvecs, sides)
        weights = self.weights[sides]
        tips = (weights[..., None] * ends).sum(2)
        # Each axis of a joint turns what is below it: by w x (p - the joint), w the axis in the camera frame.
        above = torch.cat([torch.eye(3).expand(len(turns), 1, 3, 3), turns[:, _PARENTS[1:]]], 1)
        axes = (above @ _left_jacobian(rotvecs)).mT[:, :, None]
        arms = (positions[:, None] - positions[:, :, None]) * self.below[..., None]
        shares = torch.einsum("jk,ntk->njtk", self.below, weights)
        moved = torch.einsum("njtk,ntkc->njtc", shares, ends) - shares.sum(-1)[..., None] * positions[:, :, None]
        arms = torch.cat([arms, moved], 2)[:, :, self.order, None]
        jacobian = torch.linalg.cross(axes.expand(-1, -1, 21, -1, -1), arms.expand(-1, -1, -1, 3, -1), dim=-1)
        return torch.cat([positions, tips], 1)[:, self.order], jacobian.permute(0, 2, 4, 1, 3).flatten(3)

    def _pose(self, rotvecs: torch.Tensor, sides: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotations `(N, 16, 3, 3)`, positions `(N, 16, 3)`, tips as each joint moves them `(N, 5, 16, 3)`."""
        local, rest = rotvec_to_rotmat(rotvecs), self.rest[sides]
        turns, positions = local.clone(), torch.zeros_like(rest)
        for level in _FINGERS.T:
            above = torch.tensor([_PARENTS[joint] for joint in level])
            bones = (rest[:, level] - rest[:, above])[..., None]
            positions[:, level] = positions[:, above] + (turns[:, above] @ bones)[..., 0]
            turns[:, level] = turns[:, above] @ local[:, level]
        tips = self.tips[sides]
        if self.bends is not None:
            features = (local[:, 1:] - torch.eye(3)).flatten(1)
            tips = tips + torch.einsum("nf,nfc->nc", features, self.bends[sides]).unflatten(1, (5, 3))
        offsets = tips[:, :, None] - rest[:, None]
        ends = torch.einsum("nkab,ntkb->ntka", turns, offsets) + positions[:, None]
        return turns, positions, ends


def _left_jacobian(rotvec: torch.Tensor) -> torch.Tensor:
    """`(..., 3, 3)`: the rotation in space that adds a little to an axis-angle `(..., 3)` (Barfoot 2017, 7.77)."""
    squared = rotvec.square().sum(-1)[..., None, None]
    small = squared < 1e-4
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    second = torch.where(small, 1 / 6 - squared / 120, (angle - angle.sin()) / (safe * angle))
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3) + first * cross + second * (cross @ cross)
