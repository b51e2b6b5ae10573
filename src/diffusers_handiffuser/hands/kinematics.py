"""Forward kinematics: from rotations relative to parents to joints in the camera frame."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from .skeleton import FINGERS, LEFT_HAND, LEFT_WRIST, NUM_JOINTS, OPENPOSE_FINGERS, PARENTS, RIGHT_HAND, RIGHT_WRIST

if TYPE_CHECKING:
    from .body_model import HandBodyModel


def pose_joints(
    rest: torch.Tensor, rotations: torch.Tensor, parents: torch.Tensor, level_sizes: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses joints that are sorted by their depth in the tree, level by level.

    Args:
        rest (`torch.Tensor` of shape `(B, J, 3)`): joints of the rest pose, metres; the root comes first.
        rotations (`torch.Tensor` of shape `(B, J, 3, 3)`): each relative to its parent.
        parents (`torch.Tensor` of shape `(J - 1,)`): the parent's index in this order, for every joint but the root.
        level_sizes (`Sequence[int]`): number of joints of each depth, the root's 1 first.

    Returns:
        `tuple`: rotations into the camera frame `(B, J, 3, 3)`, and positions relative to the root `(B, J, 3)`.
    """
    bones = (rest[:, 1:] - rest[:, parents])[..., None]
    global_rotations, positions = rotations[:, :1], torch.zeros_like(rest[:, :1])
    start = 1
    for size in level_sizes[1:]:
        level, above = slice(start, start + size), parents[start - 1 : start - 1 + size]
        parent_rotations = global_rotations[:, above]
        position = positions[:, above] + (parent_rotations @ bones[:, start - 1 : start - 1 + size])[..., 0]
        positions = torch.cat([positions, position], dim=1)
        global_rotations = torch.cat([global_rotations, parent_rotations @ rotations[:, level]], dim=1)
        start += size
    return global_rotations, positions


def chain(joint: int, parents: Sequence[int] = PARENTS) -> list[int]:
    """The joint and its ancestors, up to the pelvis."""
    joints = [joint]
    while parents[joints[-1]] >= 0:
        joints.append(parents[joints[-1]])
    return joints


def by_depth(joints: Iterable[int], parents: Sequence[int] = PARENTS) -> tuple[list[int], list[int]]:
    """The joints and their ancestors, sorted by depth in the tree, and the number of joints of each depth."""
    depth = {joint: len(chain(joint, parents)) for end in joints for joint in chain(end, parents)}
    counts = Counter(depth.values())
    return sorted(depth, key=lambda joint: (depth[joint], joint)), [counts[level] for level in sorted(counts)]


@functools.cache
def _sorted_skeleton(parents: tuple[int, ...]) -> tuple[list[int], list[int]]:
    return by_depth(range(len(parents)), parents)


def pose_body(
    rest: torch.Tensor, rotations: torch.Tensor, parents: tuple[int, ...] = PARENTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """`pose_joints` for a whole skeleton of `J` joints in any order, by default that of `skeleton.JOINT_NAMES`.

    Args:
        rest (`torch.Tensor` of shape `(B, J, 3)`): joints of the rest pose, metres.
        rotations (`torch.Tensor` of shape `(B, J, 3, 3)`): each relative to its parent.
        parents (`tuple[int, ...]`): parent of each joint, -1 for the root.

    Returns:
        `tuple`: rotations into the camera frame `(B, J, 3, 3)`, and positions relative to the root `(B, J, 3)`.
    """
    joints, level_sizes = _sorted_skeleton(parents)
    order = torch.tensor(joints, device=rest.device)
    place = order.argsort()
    sorted_parents = place[torch.tensor(parents, device=rest.device)[order[1:]]]
    global_rotations, positions = pose_joints(rest[:, order], rotations[:, order], sorted_parents, level_sizes)
    return global_rotations[:, place], positions[:, place]


class HandJoints(torch.nn.Module):
    """Joints of both hands by forward kinematics only: cheap enough for every training step, unlike vertices.

    Fingertips are rigidly attached to their last bones: well under a millimetre from the skinned mesh.

    Args:
        body_model (`HandBodyModel`): gives the rest joints and shape directions.
    """

    rest: torch.Tensor
    directions: torch.Tensor
    joints: torch.Tensor
    parents: torch.Tensor
    hands: torch.Tensor

    def __init__(self, body_model: "HandBodyModel"):
        super().__init__()
        tips = torch.tensor([*body_model.config.left_fingertips, *body_model.config.right_fingertips])
        rest = torch.cat([body_model.joint_template, body_model.template[tips]])
        directions = torch.cat([body_model.joint_shape_directions, body_model.shape_directions[tips]])
        left = [LEFT_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop), *range(NUM_JOINTS, NUM_JOINTS + 5)]
        right = [RIGHT_WRIST, *range(RIGHT_HAND.start, RIGHT_HAND.stop), *range(NUM_JOINTS + 5, NUM_JOINTS + 10)]
        last_bones = [
            hand.start + 3 * FINGERS.index(f) + 2 for hand in (LEFT_HAND, RIGHT_HAND) for f in OPENPOSE_FINGERS
        ]
        parents = [*PARENTS, *last_bones]

        used, self.level_sizes = by_depth(left + right, parents)
        self.register_buffer("rest", rest[used])
        self.register_buffer("directions", directions[used])
        self.register_buffer("joints", torch.tensor([min(joint, NUM_JOINTS) for joint in used]))
        self.register_buffer("parents", torch.tensor([used.index(parents[joint]) for joint in used[1:]]))
        self.register_buffer("hands", torch.tensor([[used.index(joint) for joint in hand] for hand in (left, right)]))

    def forward(self, rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        """Joints (B, 2, 21, 3), metres, camera frame: wrist, fingers in MANO's order, tips from thumb to pinky.

        Args:
            rotations (`torch.Tensor` of shape (B, 52, 3, 3)): of all joints, each relative to its parent.
            betas (`torch.Tensor` of shape (B, 10)): shape.
        """
        rest = self.rest + torch.einsum("bk,jck->bjc", betas, self.directions)
        identity = torch.eye(3, device=rotations.device).expand(len(rotations), 1, 3, 3)
        local = torch.cat([rotations, identity], 1)[:, self.joints]
        _, positions = pose_joints(rest, local, self.parents, self.level_sizes)
        return positions[:, self.hands]
