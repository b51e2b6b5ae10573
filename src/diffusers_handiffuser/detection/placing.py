"""Places hands that are known from an image on a body that is not.

Hand estimators return a hand's rotation, its finger pose and the positions of its joints in the image. `HandParams`
hold a whole person whose wrists are there. The person assumed here stands upright in front of the camera with a
straight back and the mean shape (`betas` zero). A forearm is in line with its hand, so that the skin at the wrist is
not twisted, and the upper arm connects it to the shoulder; arms without a visible hand hang down. Only the hands
matter: stage 2 reads nothing else, stage 1 learns these arms.

One hand can be placed exactly. Two hands of one person share a camera and a body, which moves, and whose forearms
leave the line of the hands, so that both wrists are reached. Where perspective makes the sizes of the hands differ, or
where they are farther apart than arms reach, an error remains, which [`PlacedHands`] holds.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..hands import HandBodyModel, HandParams
from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import JOINT_NAMES, SIDES

_ARMS = torch.tensor([[JOINT_NAMES.index(f"{s}_{j}") for j in ("shoulder", "elbow", "wrist")] for s in SIDES])
_FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
# Direction of a hanging left upper arm in the camera frame: outwards, down, a little towards the camera.
_HANGING = torch.tensor([0.3, 0.9, -0.3])
_REACH = 0.999


@dataclass
class PlacedHands:
    """People with hands placed on them.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): the people.
        error_pixels (`torch.Tensor` of shape `(B, 2)`): mean distance of each hand's 21 joints, [left, right], from
            their given positions; NaN where no hand is visible.
    """

    hand_params: HandParams
    error_pixels: torch.Tensor


@torch.no_grad()
def place_hands(
    wrist_rotations: torch.Tensor,
    hand_poses: torch.Tensor,
    joints: torch.Tensor,
    visible: torch.Tensor,
    image_sizes: torch.Tensor,
    body_model: HandBodyModel,
) -> PlacedHands:
    """Places hands on people.

    Args:
        wrist_rotations (`torch.Tensor` of shape `(B, 2, 3, 3)`): from the hand at rest, fingers along the arm of a
            T-pose, into the camera frame; [left, right].
        hand_poses (`torch.Tensor` of shape `(B, 2, 45)`): axis-angle, radians, in MANO's order, zero for a flat hand.
        joints (`torch.Tensor` of shape `(B, 2, 21, 2)`): (x, y) of the hands' joints in pixels.
        visible (`torch.Tensor` of shape `(B, 2)`, `bool`): which of the hands are known; values of the others are
            ignored.
        image_sizes (`torch.Tensor` of shape `(B, 2)`): width and height of the images in pixels.
        body_model ([`HandBodyModel`]): the body on which the hands are placed.

    Returns:
        [`PlacedHands`].

    Raises:
        ValueError: if a person has no visible hand.
    """
    if not visible.any(-1).all():
        row = int((~visible.any(-1)).nonzero()[0])
        raise ValueError(f"`visible` must name at least one hand of every person, but row {row} has none.")
    identity = torch.eye(3).expand(wrist_rotations.shape)
    wrist_rotations = torch.where(visible[..., None, None], wrist_rotations.float(), identity)
    hand_poses = torch.where(visible[..., None], hand_poses.float(), torch.zeros(()))
    half = image_sizes.float().amin(-1) / 2
    targets = (joints.float() - image_sizes[:, None, None].float() / 2) / half[:, None, None, None]
    targets = torch.where(visible[..., None, None], targets, torch.zeros(()))

    def person(wrists: torch.Tensor, scale: torch.Tensor) -> HandParams:
        pose, shift = _pose_arms(wrist_rotations, wrists / scale[:, None, None], visible, body_model)
        pose[:, 22:] = hand_poses.reshape(-1, 30, 3)
        camera = torch.cat([scale[:, None], shift], -1)
        return HandParams.from_full_pose(pose, torch.zeros(len(pose), 10), camera, visible)

    # The shape of a hand does not depend on the arm, so any placement gives its size and its offset to the wrist.
    shapes = _hand_shapes(person(targets[:, :, 0], torch.ones(len(targets))), body_model)
    weights = visible.float()
    scales = _scales(shapes, targets).clamp_min(1e-6)
    scale = ((scales.log() * weights).sum(-1) / weights.sum(-1)).exp()
    wrists = targets.mean(-2) - scale[:, None, None] * shapes.mean(-2)
    placed = person(wrists, scale)

    drawn = body_model(placed.to(body_model.device)).joints_2d.cpu()
    error = (drawn - targets).norm(dim=-1).mean(-1) * half[:, None]
    return PlacedHands(placed, torch.where(visible, error, torch.nan))


def hand_targets(
    wrist_rotations: torch.Tensor,
    hand_poses: torch.Tensor,
    wrists: torch.Tensor,
    pixels_per_metre: torch.Tensor,
    body_model: HandBodyModel,
) -> torch.Tensor:
    """The `joints` of `place_hands` if only the positions of the wrists and the scales of the hands are known.

    Args:
        wrist_rotations (`torch.Tensor` of shape `(B, 2, 3, 3)`): as for `place_hands`.
        hand_poses (`torch.Tensor` of shape `(B, 2, 45)`): as for `place_hands`.
        wrists (`torch.Tensor` of shape `(B, 2, 2)`): (x, y) in pixels.
        pixels_per_metre (`torch.Tensor` of shape `(B, 2)`): the scales.
        body_model ([`HandBodyModel`]): the body whose hands are assumed.

    Returns:
        `torch.Tensor` of shape `(B, 2, 21, 2)`: (x, y) in pixels.
    """
    shapes = torch.stack(
        [
            _hand_shapes(_turned_hands(wrist_rotations[:, hand], hand_poses[:, hand]), body_model)[:, hand]
            for hand in range(2)
        ],
        1,
    )
    return wrists[:, :, None] + pixels_per_metre[..., None, None] * shapes


def scales_of_hands(
    rotations: torch.Tensor,
    poses: torch.Tensor,
    sides: torch.Tensor,
    joints: torch.Tensor,
    body_model: HandBodyModel,
) -> torch.Tensor:
    """Pixels per metre at which single hands lie on their joints best.

    Args:
        rotations (`torch.Tensor` of shape `(N, 3, 3)`): of the wrists, as for `place_hands`.
        poses (`torch.Tensor` of shape `(N, 45)`): as for `place_hands`.
        sides (`torch.Tensor` of shape `(N,)`, int64): indices into `SIDES`.
        joints (`torch.Tensor` of shape `(N, 21, 2)`): (x, y) in pixels.
        body_model ([`HandBodyModel`]): the body whose hands are assumed.

    Returns:
        `torch.Tensor` of shape `(N,)`.
    """
    shapes = _hand_shapes(_turned_hands(rotations, poses), body_model)[torch.arange(len(sides)), sides]
    return _scales(shapes, joints).clamp_min(1e-6)


def _turned_hands(rotations: torch.Tensor, poses: torch.Tensor) -> HandParams:
    """People in a T-pose, rotated as a whole `(B, 3, 3)`, whose hands both have the finger pose `(B, 45)`."""
    people = HandParams.zeros(len(rotations))
    return people.replace(
        global_orient=rotmat_to_rotvec(rotations.float()),
        left_hand_pose=poses.float(),
        right_hand_pose=poses.float(),
    )


@torch.no_grad()
def _hand_shapes(people: HandParams, body_model: HandBodyModel) -> torch.Tensor:
    """The hands' joints relative to the wrist in the image plane, `(B, 2, 21, 2)`, metres."""
    joints = body_model(people.to(body_model.device)).joints_3d[..., :2].cpu()
    return joints - joints[..., :1, :]


def _scales(shapes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Least-squares scales `(B, 2)` from shapes to targets `(B, 2, 21, 2)`, up to translation."""
    shapes = shapes - shapes.mean(-2, keepdim=True)
    targets = targets - targets.mean(-2, keepdim=True)
    return (shapes * targets).sum((-2, -1)) / shapes.square().sum((-2, -1)).clamp_min(1e-12)


def _pose_arms(
    hands: torch.Tensor, wrists: torch.Tensor, visible: torch.Tensor, body_model: HandBodyModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses `(B, 52, 3)` with these wrist rotations, and camera shifts `(B, 2)` that project them to `wrists`, metres.

    `hands` are rotations `(B, 2, 3, 3)`; `wrists` `(B, 2, 2)`.
    """
    rest = body_model.joint_template.cpu() - body_model.joint_template[0].cpu()
    shoulder, elbow, wrist = (rest[_ARMS] @ _FACING.T).unbind(1)
    upper, fore = elbow - shoulder, wrist - elbow
    upper_length, fore_length = upper.norm(dim=-1), fore.norm(dim=-1)
    hanging = F.normalize(_HANGING * torch.tensor([[1.0, 1, 1], [-1, 1, 1]]), dim=-1) * upper_length[:, None]

    # A forearm in line with its hand has the hand's rotation: at rest both lie along the arm of the T-pose.
    forearm = torch.where(visible[..., None, None], hands, _shortest_rotation(fore, hanging) @ _FACING)
    along = (forearm @ (_FACING @ fore[..., None]))[..., 0]
    weights = visible.float()[..., None]
    wanted = shoulder + hanging + along
    shift = ((wanted[..., :2] - wrists) * weights).sum(1) / weights.sum(1)
    # The body stands where its arms reach both wrists, if it can: the nearer to the middle, the better they do.
    centres = shoulder[:, :2] - wrists
    middle = (centres * weights).sum(1) / weights.sum(1)
    steps = _into_discs(shift[:, None], middle[:, None], centres, _REACH * (upper_length + fore_length))
    shift = torch.lerp(shift, middle, (steps * weights[..., 0]).amax(1, keepdim=True))

    # The upper arm reaches for this forearm's elbow; its depth is free, and the elbow stays in front of the body.
    wrist_offset = wrists + shift[:, None] - shoulder[:, :2]
    elbow_offset = wrist_offset - along[..., :2]
    # Where it does not reach, the forearm leaves the line of the hand: the elbow moves towards the line from the
    # shoulder to the wrist, on which both bones reach.
    between = wrist_offset * (upper_length / (upper_length + fore_length))[:, None]
    steps = torch.maximum(
        _into_discs(elbow_offset, between, torch.zeros_like(between), _REACH * upper_length),
        _into_discs(elbow_offset, between, wrist_offset, fore_length),
    )
    misses = (steps > 0)[..., None] & visible[..., None]
    elbow_offset = torch.where(visible[..., None], torch.lerp(elbow_offset, between, steps[..., None]), hanging[:, :2])
    reached = _to_length(elbow_offset, upper_length, torch.full_like(weights[..., 0], -1.0))
    bent = _to_length(wrist_offset - reached[..., :2], fore_length, along[..., 2].sign())
    forearm = torch.where(misses[..., None], _shortest_rotation(along, bent) @ forearm, forearm)

    arm = _shortest_rotation(upper, reached) @ _FACING
    hands = torch.where(visible[..., None, None], hands, forearm)
    local = torch.stack([_FACING.T @ arm, arm.mT @ forearm, forearm.mT @ hands], 2)
    pose = torch.zeros(len(hands), len(JOINT_NAMES), 3)
    pose[:, 0] = rotmat_to_rotvec(_FACING)
    pose[:, _ARMS] = rotmat_to_rotvec(local)
    return pose, -shift


def _into_discs(start: torch.Tensor, end: torch.Tensor, centre: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """How much of the way from `start` to `end` `(..., 2)` enters discs: 0 if it starts inside, 1 if it ends out."""
    way, offset = end - start, start - centre
    a, b = way.square().sum(-1).clamp_min(1e-12), (way * offset).sum(-1)
    c = offset.square().sum(-1) - radius.square()
    root = (b.square() - a * c).clamp_min(0).sqrt()
    enters = torch.where((end - centre).norm(dim=-1) <= radius, ((-b - root) / a).clamp(0, 1), torch.ones(()))
    return torch.where(c <= 1e-9, torch.zeros(()), enters)


def _to_length(offset: torch.Tensor, length: torch.Tensor, depth_sign: torch.Tensor) -> torch.Tensor:
    """Vectors `(..., 3)` of this length whose (x, y) is `offset` `(..., 2)`, shortened if that is longer."""
    flat = offset.norm(dim=-1, keepdim=True)
    longest = _REACH * length[..., None]
    offset = torch.where(flat > longest, offset * (longest / flat.clamp_min(1e-9)), offset)
    depth = (length.square() - offset.square().sum(-1)).clamp_min(0).sqrt()
    return torch.cat([offset, (depth * torch.where(depth_sign < 0, -1.0, 1.0))[..., None]], -1)


def _shortest_rotation(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rotations `(..., 3, 3)` from one vector `(..., 3)` to another about their common normal."""
    source, target = torch.broadcast_tensors(F.normalize(source, dim=-1), F.normalize(target, dim=-1))
    axis = torch.linalg.cross(source, target, dim=-1)
    angle = torch.atan2(axis.norm(dim=-1), (source * target).sum(-1))
    return rotvec_to_rotmat(F.normalize(axis, dim=-1) * angle[..., None])
