"""The 52 SMPL-H joints, the 21 OpenPose hand joints, and the map between them.

SMPL-H numbers 22 body joints, then 15 joints of the left hand, then 15 of the right. Within a hand the fingers come in
MANO's order (index, middle, pinky, ring, thumb), three joints each from the knuckle outwards, and there are no
fingertips. OpenPose has 21 points per hand: wrist, then thumb, index, middle, ring, pinky, four each, tips included.
"""

BODY_JOINT_NAMES = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""MANO's order of the fingers."""
SIDES = ("left", "right")
"""The order of every axis of two hands in this package."""

JOINT_NAMES = BODY_JOINT_NAMES + tuple(f"{s}_{f}{k}" for s in SIDES for f in FINGERS for k in (1, 2, 3))
NUM_JOINTS = len(JOINT_NAMES)
LEFT_WRIST, RIGHT_WRIST = 20, 21
LEFT_HAND, RIGHT_HAND = slice(22, 37), slice(37, 52)

_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
PARENTS = _BODY_PARENTS + tuple(
    parent
    for wrist, first in ((LEFT_WRIST, LEFT_HAND.start), (RIGHT_WRIST, RIGHT_HAND.start))
    for knuckle in range(first, first + 15, 3)
    for parent in (wrist, knuckle, knuckle + 1)
)
"""Parent of each joint; -1 for the pelvis."""

MIRRORED_JOINTS = tuple(
    JOINT_NAMES.index(name.replace("left_", "#").replace("right_", "left_").replace("#", "right_"))
    for name in JOINT_NAMES
)
"""`MIRRORED_JOINTS[j]` is joint `j` of the mirrored person."""

OPENPOSE_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
OPENPOSE_HAND_NAMES = ("wrist",) + tuple(f"{f}{k}" for f in OPENPOSE_FINGERS for k in (1, 2, 3, 4))
OPENPOSE_FROM_MANO = (0,) + tuple(
    index
    for tip, finger in enumerate(OPENPOSE_FINGERS)
    for index in (*range(1 + 3 * FINGERS.index(finger), 4 + 3 * FINGERS.index(finger)), 16 + tip)
)
"""Picks the 21 OpenPose joints out of [wrist, 15 finger joints in MANO's order, 5 tips from thumb to pinky]."""
OPENPOSE_HAND_EDGES = tuple((0 if k == 1 else 4 * f + k - 1, 4 * f + k) for f in range(5) for k in (1, 2, 3, 4))
"""The twenty bones of an OpenPose hand, finger by finger from the wrist outwards."""

FINGERTIP_VERTEX_IDS = {"left": (2746, 2319, 2445, 2556, 2673), "right": (6191, 5782, 5905, 6016, 6133)}
"""Vertices that `smplx` calls fingertips on an SMPL-H mesh, thumb to pinky."""
