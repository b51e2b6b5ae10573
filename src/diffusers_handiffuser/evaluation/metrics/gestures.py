"""Do hands make the gestures of the studio scenes that their captions describe?

The ground truth is the `scene` of each row, written by `handiffuser data make`; a model sees only the caption. The
paper reports no such numbers: the rule below is ours.
"""

from collections.abc import Sequence

import torch

from ...hands import HandBodyModel, HandParams
from ...hands.rotations import rotmat_geodesic_distance, rotvec_to_rotmat
from ...hands.skeleton import SIDES
from ...studio import GESTURES, Scene, gesture_by_name
from ...studio.gestures import LONG_FINGERS, Gesture, left_hand_pose

_THUMB_BASE, _THUMB_TIP = 2, 4
"""Indices of OpenPose's 21 joints."""


class GestureRule:
    """Names the gesture of a hand: the one whose finger rotations are nearest on average over the 15 joints.

    All named gestures of the studio and all 32 combinations of extended fingers compete. Gestures of the same fingers
    (thumbs up and thumbs down) differ by where the thumb points in the image.
    """

    def __init__(self) -> None:
        combinations = [gesture_by_name(f"fingers_{number:05b}") for number in range(32)]
        self.gestures: tuple[Gesture, ...] = (*GESTURES.values(), *combinations)
        fingers = torch.tensor([[gesture.fingers[finger] for finger in LONG_FINGERS] for gesture in self.gestures])
        self.left_poses = left_hand_pose(fingers, torch.tensor([gesture.thumb for gesture in self.gestures]))
        self.rotations = rotvec_to_rotmat(self.left_poses.unflatten(-1, (15, 3)))

    def distances(self, left_pose: torch.Tensor) -> torch.Tensor:
        """Mean angles in degrees, `(..., gestures)`, of left-hand poses `(..., 45)` to every gesture."""
        rotations = rotvec_to_rotmat(left_pose.unflatten(-1, (15, 3)))
        return rotmat_geodesic_distance(rotations[..., None, :, :, :], self.rotations).rad2deg().mean(-1)

    def check(self, left_pose: torch.Tensor, thumb_rise: float, name: str) -> tuple[bool, float]:
        """Whether a hand makes the gesture of that name, and how far its fingers are from it.

        Args:
            left_pose (`torch.Tensor` of shape `(45,)`): of the left hand, or of the right one mirrored.
            thumb_rise (`float`): height of the thumb's tip above its base in the image.
            name (`str`): of the gesture.

        Returns:
            `tuple`: the verdict (`bool`) and the distance in degrees (`float`).
        """
        wanted = gesture_by_name(name)
        distances = self.distances(left_pose)
        same_fingers = [
            gesture.fingers == wanted.fingers and gesture.thumb == wanted.thumb for gesture in self.gestures
        ]
        own = distances[torch.tensor(same_fingers)].min().item()
        thumb_right = wanted.thumb_up * thumb_rise >= 0
        return own <= distances.min().item() and thumb_right, own


def score_hands(
    hand_params: HandParams, scenes: Sequence[Scene], visible: torch.Tensor, body_model: HandBodyModel
) -> dict[str, torch.Tensor]:
    """Scores hands against the scenes that their captions describe.

    Args:
        hand_params (`HandParams` of batch shape `(N,)`): the hands to score.
        scenes (`Sequence[Scene]`): N.
        visible (`torch.Tensor` of shape `(N, 2)`, bool): hands, [left, right], that an image of the scene shows.
        body_model (`HandBodyModel`): for the direction of thumbs.

    Returns:
        `dict`: `"visibility"` (1 if exactly the right hands are visible), `"gesture"` (the part of the raised hands
        that are visible and make their gesture) and `"finger_error"` (degrees, mean over the raised hands), `(N,)`.
        The last two are NaN for scenes without hands.
    """
    rule = GestureRule()
    mirrored = hand_params.mirror()  # whose left hand is the right one as a left hand
    left_poses = {"left": hand_params.left_hand_pose, "right": mirrored.left_hand_pose}
    joints = body_model(hand_params.to(body_model.device)).joints_2d.cpu()
    rise = joints[..., _THUMB_BASE, 1] - joints[..., _THUMB_TIP, 1]  # v points down
    right, errors = [], []
    for row, scene in enumerate(scenes):
        verdicts = []
        for side, name in scene.gestures.items():
            place = SIDES.index(side)
            made, error = rule.check(left_poses[side][row], rise[row, place].item(), name)
            verdicts.append((made and bool(hand_params.hand_visible[row, place]), error))
        number = len(verdicts) or float("nan")
        right.append(sum(verdict for verdict, _ in verdicts) / number)
        errors.append(sum(error for _, error in verdicts) / number)
    return {
        "visibility": (hand_params.hand_visible == visible).all(-1).float(),
        "gesture": torch.tensor(right),
        "finger_error": torch.tensor(errors),
    }


def finger_spread(hands: HandParams, samples: int) -> torch.Tensor:
    """Mean angle, degrees, between the fingers of a caption's first two samples, `(B,)`; visible hands only."""
    poses = torch.stack([hands.left_hand_pose, hands.right_hand_pose], -2).unflatten(-1, (15, 3))
    rotations = rotvec_to_rotmat(poses).unflatten(0, (-1, samples))
    angles = rotmat_geodesic_distance(rotations[:, 0], rotations[:, 1]).rad2deg().mean(-1)
    raised = hands.hand_visible.unflatten(0, (-1, samples))[:, :2].any(1).float()
    return (angles * raised).sum(-1) / raised.sum(-1).clamp(min=1)
