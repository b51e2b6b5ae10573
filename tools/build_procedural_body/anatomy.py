"""Proportions of the body: where the joints of the T-pose are, how long and how thick the fingers.

The numbers are our own: typical adult bone lengths rounded to the millimetre, 1.78 m tall. Metres; x to the body's
left, y up, z forward; flat hands, palms down, pelvis at the origin, as SMPL-H has its rest pose. Only the left half is
given; the right half is its mirror image in the plane x = 0.

The hand has a frame of its own: origin at the left wrist, x towards the fingers, y out of the back of the hand, z to
the thumb's side. In the T-pose it is parallel to the body's.
"""

from dataclasses import dataclass

import numpy as np

from diffusers_handiffuser.hands.skeleton import FINGERS, JOINT_NAMES, MIRRORED_JOINTS

MIRROR = np.array([-1.0, 1.0, 1.0])

BODY_JOINTS = {
    "pelvis": (0.0, 0.0, 0.0),
    "left_hip": (0.088, -0.080, 0.0),
    "left_knee": (0.096, -0.490, 0.004),
    "left_ankle": (0.092, -0.890, -0.030),
    "left_foot": (0.112, -0.945, 0.100),
    "spine1": (0.0, 0.105, -0.015),
    "spine2": (0.0, 0.235, -0.018),
    "spine3": (0.0, 0.300, -0.010),
    "neck": (0.0, 0.505, -0.030),
    "head": (0.0, 0.600, 0.0),
    "left_collar": (0.060, 0.425, -0.015),
    "left_shoulder": (0.179, 0.438, -0.028),
    "left_elbow": (0.440, 0.434, -0.040),
    "left_wrist": (0.690, 0.436, -0.030),
}
WRIST = np.array(BODY_JOINTS["left_wrist"])


@dataclass(frozen=True)
class Finger:
    """One finger of the left hand at rest.

    Args:
        knuckle: first joint, hand frame.
        lengths: of the three segments, the last one to the fingertip.
        directions: of the three segments, each as (degrees from x towards z, degrees towards the palm).
        radii: at the three joints and near the tip.
        pad_faces: roughly where the soft side faces.
    """

    knuckle: tuple[float, float, float]
    lengths: tuple[float, float, float]
    directions: tuple[tuple[float, float], ...]
    radii: tuple[float, float, float, float]
    pad_faces: tuple[float, float, float] = (0.0, -1.0, 0.0)

    @property
    def points(self) -> np.ndarray:
        """`(4, 3)`: the three joints and the fingertip, hand frame."""
        points = [np.array(self.knuckle)]
        for length, (splay, dip) in zip(self.lengths, np.deg2rad(self.directions), strict=True):
            direction = np.array([np.cos(dip) * np.cos(splay), -np.sin(dip), np.cos(dip) * np.sin(splay)])
            points.append(points[-1] + length * direction)
        return np.array(points)

    @property
    def segment_directions(self) -> np.ndarray:
        """`(3, 3)`: unit vectors along the segments."""
        steps = np.diff(self.points, axis=0)
        return steps / np.linalg.norm(steps, axis=1, keepdims=True)

    @property
    def pad_direction(self) -> np.ndarray:
        """`(3,)`: unit vector out of the pad, at a right angle to the outer two segments."""
        along = unit(self.points[3] - self.points[1])
        faces = unit(self.pad_faces)
        return unit(faces - (faces @ along) * along)


def unit(vector) -> np.ndarray:
    vector = np.asarray(vector, float)
    return vector / np.linalg.norm(vector)


def _straight(splay: float) -> tuple[tuple[float, float], ...]:
    return ((splay, 2.0),) * 3


HAND = {
    "index": Finger(
        (0.0895, 0.0005, 0.0240), (0.0410, 0.0240, 0.0215), _straight(6.0), (0.0104, 0.0091, 0.0081, 0.0064)
    ),
    "middle": Finger(
        (0.0915, 0.0035, 0.0030), (0.0455, 0.0275, 0.0225), _straight(1.0), (0.0106, 0.0094, 0.0083, 0.0066)
    ),
    "ring": Finger(
        (0.0855, 0.0018, -0.0165), (0.0420, 0.0260, 0.0220), _straight(-4.5), (0.0100, 0.0088, 0.0078, 0.0062)
    ),
    "pinky": Finger(
        (0.0775, -0.0030, -0.0340), (0.0330, 0.0190, 0.0195), _straight(-12.0), (0.0089, 0.0076, 0.0068, 0.0054)
    ),
    "thumb": Finger(
        (0.0170, -0.0080, 0.0215),
        (0.0450, 0.0330, 0.0265),
        ((46.0, 17.0), (38.0, 14.0), (34.0, 12.0)),
        (0.0150, 0.0118, 0.0108, 0.0078),
        pad_faces=(0.30, -0.62, -0.72),
    ),
}


def rest_joints() -> np.ndarray:
    """`(52, 3)`: joints of the T-pose, body frame."""
    joints = dict(BODY_JOINTS)
    for finger in FINGERS:
        for number, point in enumerate(HAND[finger].points[:3], start=1):
            joints[f"left_{finger}{number}"] = WRIST + point
    mirrored = {name.replace("left_", "right_"): MIRROR * point for name, point in joints.items()}
    mirrored.update(joints)
    return np.array([mirrored[name] for name in JOINT_NAMES])


def fingertips() -> dict[str, np.ndarray]:
    """The ten fingertips of the T-pose under names such as `"left_index"`, body frame."""
    left = {f"left_{finger}": WRIST + HAND[finger].points[3] for finger in FINGERS}
    return left | {name.replace("left_", "right_"): MIRROR * point for name, point in left.items()}


def mirrored_joints() -> np.ndarray:
    """`(52,)`: number of each joint's mirror image."""
    return np.array(MIRRORED_JOINTS)
