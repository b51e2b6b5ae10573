"""How the arms of a scene are held: directions, angles, and the joint rotations that they come to."""

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from .gestures import GESTURES, LONG_FINGERS, Gesture

_LEAST_TWIST = math.radians(-115)
"""Arms twist from here to 245 degrees. Nearly all arms that show the same lie on one side of this seam: at 180 degrees
it would divide those that show the back of a hand into two opposite twists, whose mean shows the palm."""


@dataclass
class Arm:
    """The pose of a left arm: directions in the body frame, angles in degrees.

    The hand starts with its fingers along `distal` and its palm towards the viewer; it is rotated about its own
    vertical by `hand_turn`, then by `roll` in the image plane, then by `yaw` about the body's vertical.
    """

    upper: tuple[float, float, float]
    forearm: tuple[float, float, float]
    distal: tuple[float, float, float]
    hand_turn: tuple[float, float, float]
    roll: float
    yaw: float
    forearm_follows_hand: bool
    fingers: list[list[float]]
    thumb: list[float]


def raised_arm(kind: str, gesture: Gesture, view: str, rng: random.Random) -> Arm:
    """An arm that shows a gesture; the standard deviations are degrees."""
    tilt = rng.gauss(0, 9)
    turn = (rng.gauss(0, 8), {"palm": 0.0, "back": 180.0, "side": 78.0}[view] + rng.gauss(0, 12), 0.0)
    roll = gesture.thumb_up * -90.0 * (1.0 if view == "palm" else -1.0) + tilt
    yaw = 0.0
    if gesture.thumb_up:
        # The hand is horizontal, so the forearm comes from the side: elbow out, in front of the chest of a person.
        places = {"close_up": (0.60, -0.75, 0.25), "two_hands": (0.93, -0.35, 0.15), "person": (0.55, -0.65, 0.50)}
        upper, inward = places[kind], 0.0
        yaw = 28.0 if kind == "person" else 0.0
    else:
        upper, inward = {
            "close_up": ((0.25, -0.92, 0.25), 0.5 * tilt),
            "two_hands": ((0.10, -0.94, 0.30), 18.0 + 0.3 * tilt),
            "person": ((0.30, -0.90, 0.28), 0.5 * tilt + rng.uniform(-6, 6)),
        }[kind]
    inward = math.radians(inward)
    forearm = (-math.sin(inward), math.cos(inward), 0.0)
    follows = gesture.thumb_up != 0
    return Arm(upper, forearm, (0.0, 1.0, 0.0), turn, roll, yaw, follows, *_jittered(gesture, rng))


def turned_arm(kind: str, gesture: Gesture, view: str, turn: str, direction: int, rng: random.Random) -> Arm:
    """An arm whose fingers point down or sideways; the standard deviations are degrees.

    Args:
        kind (`str`): `"close_up"` or `"person"`.
        gesture ([`Gesture`]): of the fingers.
        view (`str`): `"palm"`, `"back"` or `"side"`.
        turn (`str`): `"down"` or `"sideways"`.
        direction (`int`): 1 if fingers that point sideways point away from the other hand, -1 if towards it.
        rng (`random.Random`): draws the angles.
    """
    tilt = rng.gauss(0, 9 if turn == "down" else 6)
    # Seen from the side, a hand that points sideways has its palm down.
    side = 78.0 if turn == "down" else direction * 78.0
    hand_turn = (rng.gauss(0, 6), {"palm": 0.0, "back": 180.0, "side": side}[view] + rng.gauss(0, 9), 0.0)
    roll = 180.0 + tilt if turn == "down" else -90.0 * direction + tilt
    forearm, yaw = (0.0, 0.0, 0.0), 0.0
    follows = kind == "close_up"
    if turn == "down":
        if follows:
            upper = (0.30, -0.95, -0.05)
        elif view == "palm":
            # A bent wrist below an elbow at the side: no raised elbow lets the palm of a hanging hand face the viewer.
            upper, forearm = (0.60, -0.20, 0.50), (-0.15, -0.75, 0.57)
        else:
            upper, forearm = (0.75, -0.05, 0.40), (-0.35, -0.90, 0.25)
    elif direction > 0:
        upper = (0.10, -0.80, 0.50) if follows else (-0.35, -0.75, 0.55)
        forearm, yaw = (0.72, -0.05, 0.70), 0.0 if follows else -20.0
    else:
        upper, forearm = (0.55, -0.65, 0.50), (-0.94, 0.0, 0.34)
        yaw = 0.0 if follows else 20.0
    return Arm(upper, forearm, (0.0, 1.0, 0.0), hand_turn, roll, yaw, follows, *_jittered(gesture, rng))


def lowered_arm(rng: random.Random) -> Arm:
    """An arm that hangs down."""
    upper = (0.16 + rng.gauss(0, 0.02), -0.98, rng.gauss(0, 0.04))
    forearm = (0.06, -0.98, 0.14 + rng.gauss(0, 0.03))
    return Arm(upper, forearm, forearm, (0.0, 0.0, 0.0), 0.0, -90.0, True, *_jittered(GESTURES["relaxed"], rng))


def _jittered(gesture: Gesture, rng: random.Random) -> tuple[list[list[float]], list[float]]:
    """Random variation of a gesture; the standard deviations are degrees."""
    fingers = [
        [angle + rng.gauss(0, spread) for angle, spread in zip(gesture.fingers[f], (3, 4, 3, 1.5), strict=True)]
        for f in LONG_FINGERS
    ]
    return fingers, [angle + rng.gauss(0, 3) for angle in gesture.thumb]


def arm_rotations(upper: torch.Tensor, forearm: torch.Tensor, hand: torch.Tensor) -> torch.Tensor:
    """Local rotations that align a left arm's bones with two directions and its hand with a frame.

    The twist between shoulder and hand is split into 35 % in the shoulder, 35 % in the elbow and 30 % in the wrist,
    because linear blend skinning collapses a joint that takes all of it.

    Args:
        upper (`torch.Tensor` of shape `(..., 3)`): direction of the upper arm, body frame.
        forearm (`torch.Tensor` of shape `(..., 3)`): direction of the forearm, body frame.
        hand (`torch.Tensor` of shape `(..., 3, 3)`): rotation of the hand, body frame.

    Returns:
        `torch.Tensor` of shape `(..., 3, 3)`: rotation vectors of shoulder, elbow and wrist.
    """
    x = torch.tensor([1.0, 0.0, 0.0]).expand_as(upper)
    swing = _shortest_rotation(x, upper)
    aligned = _shortest_rotation(hand[..., 0], forearm) @ hand
    relative = swing.transpose(-1, -2) @ aligned
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    twist = 2 * torch.atan2(relative[..., 2, 1] - relative[..., 1, 2], 1 + trace)[..., None]
    twist = torch.remainder(twist - _LEAST_TWIST, 2 * math.pi) + _LEAST_TWIST
    shoulder = swing @ rotvec_to_rotmat(0.35 * twist * x)
    elbow = aligned @ rotvec_to_rotmat(-0.30 * twist * x)
    local = [shoulder, shoulder.transpose(-1, -2) @ elbow, elbow.transpose(-1, -2) @ hand]
    return rotmat_to_rotvec(torch.stack(local, -3))


def hand_frame(distal: torch.Tensor, palm: torch.Tensor) -> torch.Tensor:
    """Rotations `(..., 3, 3)` that take a left hand's rest axes (x distal, -y palmar) to two directions `(..., 3)`."""
    x = F.normalize(distal, dim=-1)
    y = -F.normalize(palm - (palm * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def _shortest_rotation(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rotations `(..., 3, 3)` about the common normal of two directions `(..., 3)`."""
    source, target = F.normalize(source, dim=-1), F.normalize(target, dim=-1)
    axis = torch.linalg.cross(source, target, dim=-1)
    angle = torch.atan2(axis.norm(dim=-1), (source * target).sum(-1))
    return rotvec_to_rotmat(F.normalize(axis, dim=-1) * angle[..., None])


def euler_to_rotmat(degrees: torch.Tensor) -> torch.Tensor:
    """Rotations `(..., 3, 3)` about z after y after x, angles `(..., 3)` in degrees."""
    rotations = rotvec_to_rotmat(torch.diag_embed(torch.deg2rad(degrees)))
    return rotations[..., 2, :, :] @ rotations[..., 1, :, :] @ rotations[..., 0, :, :]
