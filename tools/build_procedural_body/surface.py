"""The skin as the zero set of a signed distance field: capsules and ellipsoids joined by smooth unions.

All functions take points `(N, 3)` in metres and give `(N,)` distances, negative inside. They are distances to a good
approximation near the surface, which is all that marching cubes and projection need.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np

from anatomy import BODY_JOINTS, HAND, WRIST, unit

Field = Callable[[np.ndarray], np.ndarray]


def capsule(points, start, end, start_radius, end_radius, wide=None, flatness=1.0):
    """A limb from `start` to `end`; its section is an ellipse, `wide` the direction of its long axis and `flatness`
    the ratio of the short axis to the long one."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    offset = points - start - along[:, None] * axis
    radius = start_radius + (end_radius - start_radius) * along
    if flatness == 1.0:
        return np.linalg.norm(offset, axis=1) - radius
    direction = unit(axis)
    wide = unit(wide - (np.asarray(wide, float) @ direction) * direction)
    thin = np.cross(direction, wide)
    offset = offset + (1 / flatness - 1) * np.outer(offset @ thin, thin)
    return (np.linalg.norm(offset, axis=1) - radius) * (1 + flatness) / 2


def ellipsoid(points, centre, radii):
    offset = points - np.asarray(centre, float)
    radii = np.broadcast_to(np.asarray(radii, float), (3,))
    scaled = np.linalg.norm(offset / radii, axis=1)
    slope = np.linalg.norm(offset / radii**2, axis=1) + 1e-12
    return scaled * (scaled - 1) / slope


def blend(first, second, width):
    """Union whose seam is rounded over `width` metres (a quadratic smooth minimum)."""
    overlap = np.maximum(width - np.abs(first - second), 0) / width
    return np.minimum(first, second) - width / 4 * overlap**2


def blend_all(fields: Sequence[np.ndarray], width: float) -> np.ndarray:
    return reduce(lambda first, second: blend(first, second, width), fields)


def finger(points, name):
    """One finger of the left hand, hand frame."""
    shape = HAND[name]
    joints, radii, pad = shape.points, shape.radii, shape.pad_direction
    direction = shape.segment_directions[2]
    wide = np.cross(direction, pad)
    tip_centre = joints[3] - radii[3] * direction
    field = blend_all(
        [
            capsule(points, joints[0], joints[1], radii[0], 0.97 * radii[1], wide, 0.95),
            capsule(points, joints[1], joints[2], 0.97 * radii[1], 0.98 * radii[2], wide, 0.93),
            capsule(points, joints[2], tip_centre, 0.98 * radii[2], radii[3], wide, 0.88),
        ],
        0.006,
    )
    knuckles = [
        ellipsoid(points, joints[1] - 0.0010 * pad, 0.90 * radii[1]),
        ellipsoid(points, joints[2] - 0.0006 * pad, 0.88 * radii[2]),
    ]
    fingertip_pad = ellipsoid(points, joints[2] + 0.56 * (joints[3] - joints[2]) + 0.0014 * pad, 0.80 * radii[2])
    field = blend_all([field, *knuckles, fingertip_pad], 0.006)
    for segment in (0, 1):
        bone = joints[segment + 1] - joints[segment]
        low, high = (joints[segment] + part * bone + 0.0020 * pad for part in (0.35, 0.65))
        radius = 0.86 * radii[segment + 1]
        field = blend(field, capsule(points, low, high, radius, radius), 0.008)
    return field


def palm(points):
    """The left hand without its fingers, hand frame."""
    row = ("index", "middle", "ring", "pinky")
    metacarpal_radii = ((0.0125, 0.0118), (0.0130, 0.0120), (0.0125, 0.0114), (0.0118, 0.0102))
    joints = {name: HAND[name].points for name in HAND}

    parts = []
    for name, radii in zip(row, metacarpal_radii, strict=True):
        knuckle = joints[name][0]
        base = (0.014, 0.0015, 0.55 * knuckle[2])
        parts.append(capsule(points, base, knuckle + (-0.003, -0.002, 0), *radii))
        parts.append(ellipsoid(points, knuckle + (-0.003, -0.0075, 0), (0.013, 0.0078, 0.0115)))
    heel_of_the_hand = capsule(points, (0.010, -0.0095, -0.0185), (0.060, -0.0075, -0.0335), 0.0140, 0.0105)
    parts.append(heel_of_the_hand)
    for name, neighbour in pairwise(row):
        web = [joints[f][0] + 0.30 * (joints[f][1] - joints[f][0]) + (0, -0.003, 0) for f in (name, neighbour)]
        parts.append(capsule(points, *web, 0.0058, 0.0058))
    field = blend_all(parts, 0.008)

    thumb, index_knuckle = joints["thumb"], joints["index"][0]
    metacarpal = thumb[1] - thumb[0]
    ball = [
        capsule(points, (0.008, -0.0105, 0.0115), thumb[1] + (-0.002, -0.001, -0.001), 0.0160, 0.0122),
        capsule(
            points,
            thumb[0] + (0.004, -0.002, -0.004),
            thumb[0] + 0.7 * metacarpal + (0.008, -0.006, -0.010),
            0.0150,
            0.0120,
        ),
    ]
    field = blend(field, blend_all(ball, 0.008), 0.012)
    index_base = np.array([0.016, -0.002, 0.012])
    thumb_web = [
        capsule(points, thumb[0] + part * metacarpal, index_base + part * (index_knuckle - index_base), 0.0085, 0.0090)
        for part in (0.25, 0.45, 0.62, 0.76)
    ]
    return blend(field, blend_all(thumb_web, 0.010), 0.010)


def hand(points):
    """The left hand, hand frame. Each finger blends into the palm, and next to nothing into its neighbours."""
    whole_palm = palm(points)
    fingers = []
    for name in ("index", "middle", "ring", "pinky", "thumb"):
        fingers.append(blend(whole_palm, finger(points, name), 0.010 if name == "thumb" else 0.009))
    return blend_all(fingers, 0.0008)


def all_but_hand(points):
    """Left half of the body up to the wrist, body frame."""
    at = {name: np.array(position) for name, position in BODY_JOINTS.items()}
    shoulder, elbow, wrist = at["left_shoulder"], at["left_elbow"], at["left_wrist"]
    forward, sideways = (0, 0, 1.0), (1.0, 0, 0)

    arm = blend_all(
        [
            capsule(points, elbow + (0.055, 0, 0), wrist + (-0.030, 0, 0), 0.0430, 0.0265, forward, 0.86),
            capsule(points, wrist + (-0.035, 0, 0), wrist + (0.016, -0.001, -0.001), 0.0262, 0.0255, forward, 0.70),
            capsule(points, elbow + (-0.02, 0, 0), elbow + (0.06, 0, 0), 0.0420, 0.0440, forward, 0.95),
            capsule(points, shoulder + (0.03, 0, 0), elbow, 0.0530, 0.0420),
            ellipsoid(points, shoulder + (0.012, 0, 0), (0.072, 0.060, 0.060)),
            capsule(points, shoulder + (0.10, 0.004, 0.006), shoulder + (0.19, 0.002, 0.006), 0.048, 0.044),
        ],
        0.030,
    )
    torso = blend_all(
        [
            ellipsoid(points, (0, 0.325, 0), (0.155, 0.190, 0.105)),
            ellipsoid(points, (0.085, 0.345, 0.055), (0.085, 0.065, 0.050)),
            ellipsoid(points, (0, 0.120, 0.004), (0.138, 0.150, 0.098)),
            ellipsoid(points, (0, -0.035, -0.006), (0.160, 0.110, 0.108)),
            ellipsoid(points, (0.075, -0.075, -0.050), (0.085, 0.085, 0.075)),
            capsule(points, (0.02, 0.455, -0.035), shoulder + (-0.01, 0.010, -0.004), 0.050, 0.048),
            capsule(points, (0.03, 0.400, -0.010), shoulder + (-0.02, -0.030, 0), 0.075, 0.055),
        ],
        0.060,
    )
    neck_and_skull = blend_all(
        [
            capsule(points, (0, 0.470, -0.035), (0, 0.585, -0.012), 0.062, 0.056),
            ellipsoid(points, (0, 0.690, -0.004), (0.076, 0.108, 0.097)),
            ellipsoid(points, (0, 0.640, 0.030), (0.060, 0.075, 0.062)),
        ],
        0.040,
    )
    nose = ellipsoid(points, (0, 0.652, 0.094), (0.013, 0.026, 0.016))
    ear = ellipsoid(points, (0.077, 0.668, -0.004), (0.010, 0.030, 0.018))
    head = blend(neck_and_skull, blend(nose, ear, 0.005), 0.012)
    hip, knee, ankle, foot = (at[f"left_{name}"] for name in ("hip", "knee", "ankle", "foot"))
    leg = blend_all(
        [
            capsule(points, hip + (0, 0.02, -0.004), knee, 0.088, 0.054),
            capsule(points, knee, ankle + (0, 0.05, 0), 0.055, 0.036),
            ellipsoid(points, knee + (0, -0.110, -0.028), (0.050, 0.115, 0.054)),
            ellipsoid(points, knee + (0, 0.005, 0.010), (0.050, 0.060, 0.052)),
            capsule(points, ankle + (0, 0.06, 0), ankle + (0, -0.010, -0.002), 0.036, 0.036),
            ellipsoid(points, ankle + (0, -0.045, -0.022), (0.032, 0.035, 0.038)),
            capsule(
                points,
                ankle + (0.002, -0.030, 0.020),
                foot + (0, -0.005, 0.010),
                0.040,
                0.026,
                sideways,
                0.85,
            ),
            capsule(points, foot + (-0.012, -0.014, 0), foot + (-0.014, -0.016, 0.060), 0.026, 0.018, sideways, 0.80),
            capsule(
                points, foot + (0.014, -0.016, -0.01), foot + (0.018, -0.018, 0.035), 0.024, 0.016, sideways, 0.80
            ),
        ],
        0.030,
    )
    return blend(blend(blend(torso, head, 0.045), leg, 0.045), arm, 0.050)


def body(points):
    """The whole body, body frame; both halves, since only |x| matters."""
    points = np.asarray(points, float) * (1, 1, 1)
    points[:, 0] = np.abs(points[:, 0])
    beyond_wrist = points[:, 0] - WRIST[0]
    field = np.ones(len(points))
    # Far from the wrist only one of the two can be near, and each costs some thirty shapes.
    with_body, with_hand = beyond_wrist <= 0.060, beyond_wrist > -0.120
    field[with_body] = all_but_hand(points[with_body])
    both = with_body & with_hand
    hand_field = np.ones(len(points))
    hand_field[with_hand] = hand(points[with_hand] - WRIST)
    field[both] = blend(hand_field[both], field[both], 0.016)
    field[~with_body] = hand_field[~with_body]
    return field


def project(points: np.ndarray, steps: int = 3, field: Field = body) -> np.ndarray:
    """Moves points that are near the surface onto it, by Newton's method along the gradient."""
    points = points.copy()
    for _ in range(steps):
        gradient = np.empty_like(points)
        for axis in range(3):
            nudge = 2e-4 * np.eye(3)[axis]
            gradient[:, axis] = (field(points + nudge) - field(points - nudge)) / 4e-4
        step = -(field(points) / ((gradient**2).sum(1) + 1e-9))[:, None] * gradient
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points += step * np.minimum(1, 0.004 / np.maximum(length, 1e-12))
    return points
