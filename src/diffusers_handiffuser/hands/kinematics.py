"""Forward kinematics of the hands."""

import torch

from . import HandBodyModel
from .skeleton import FINGERS, LEFT_HAND, LEFT_WRIST, NUM_JOINTS, OPENPOSE_FINGERS, PARENTS, RIGHT_HAND, RIGHT_WRIST


class HandJoints(torch.nn.Module):
    """Joints of both hands by forward kinematics alone: cheap enough for every step, unlike the vertices.

    The fingertips ride rigidly on their last bones, which differs from the skinned mesh by well under a millimetre.

    Args:
        body_model (`HandBodyModel`): whose rest joints and shape directions are used.
    """

    rest: torch.Tensor
    directions: torch.Tensor
    joints: torch.Tensor
    parents: torch.Tensor
    hands: torch.Tensor

    def __init__(self, body_model: HandBodyModel):
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

        used = sorted(
            {a for joint in left + right for a in _chain(joint, parents)}, key=lambda j: (len(_chain(j, parents)), j)
        )
        depths = [len(_chain(joint, parents)) for joint in used]
        self.level_sizes = [depths.count(depth) for depth in range(1, max(depths) + 1)]
        self.register_buffer("rest", rest[used])
        self.register_buffer("directions", directions[used])
        self.register_buffer("joints", torch.tensor([min(joint, NUM_JOINTS) for joint in used]))
        self.register_buffer("parents", torch.tensor([used.index(max(parents[joint], 0)) for joint in used]))
        self.register_buffer("hands", torch.tensor([[used.index(joint) for joint in hand] for hand in (left, right)]))

    def forward(self, rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        """Joints (B, 2, 21, 3), metres, camera frame: wrist, fingers in MANO's order, tips from thumb to pinky.

        Args:
            rotations (`torch.Tensor` of shape (B, 52, 3, 3)): of all joints, each relative to its parent.
            betas (`torch.Tensor` of shape (B, 10)): shape.
        """
        rest = self.rest + torch.einsum("bk,jck->bjc", betas, self.directions)
        bones = rest - rest[:, self.parents]
        identity = torch.eye(3, device=rotations.device).expand(len(rotations), 1, 3, 3)
        local = torch.cat([rotations, identity], 1)[:, self.joints]
        orientations, positions = local[:, :1], torch.zeros_like(rest[:, :1])
        first = 1
        for size in self.level_sizes[1:]:
            level = slice(first, first + size)
            parents = self.parents[level]
            above = orientations[:, parents]
            positions = torch.cat([positions, positions[:, parents] + (above @ bones[:, level, :, None])[..., 0]], 1)
            orientations = torch.cat([orientations, above @ local[:, level]], 1)
            first += size
        return positions[:, self.hands]


def _chain(joint: int, parents: list[int]) -> list[int]:
    """The joint and its ancestors, up to the pelvis."""
    chain = [joint]
    while parents[chain[-1]] >= 0:
        chain.append(parents[chain[-1]])
    return chain
