"""The mean hand and the pose components that an SMPL-H file carries: a relaxed hand, and the principal components of
random hands within anatomical limits. `smplx` expects them in the file; this package poses no hand by them."""

import numpy as np
from scipy.spatial.transform import Rotation

from diffusers_handiffuser.hands.skeleton import FINGERS

from anatomy import HAND, unit

LONG_FINGERS = ("index", "middle", "ring", "pinky")
MIRRORED = np.array([1.0, -1.0, -1.0])


def finger_rotations(finger: str, knuckle: float, middle: float, outer: float, spread: float) -> list[np.ndarray]:
    """Axis-angle of a long finger's joints from degrees: three times flexion, and `spread` towards the thumb."""
    shape = HAND[finger]
    flexion = np.cross(shape.segment_directions[0], shape.pad_direction)
    spreading = _turn(shape.pad_direction, spread)
    return [(spreading * _turn(flexion, knuckle)).as_rotvec()] + [
        _turn(flexion, angle).as_rotvec() for angle in (middle, outer)
    ]


def thumb_rotations(opposition: float, adduction: float, twist: float, knuckle: float, outer: float):
    """Axis-angle of the thumb's joints from degrees: away from the palm, towards the index finger, turn about its own
    axis, and flexion of the two outer joints."""
    shape = HAND["thumb"]
    directions, pad = shape.segment_directions, shape.pad_direction
    down = np.array([0.0, -1.0, 0.0])
    base = _turn(-down, adduction) * _turn(unit(np.cross(directions[0], down)), opposition)
    return [
        (base * _turn(directions[0], twist)).as_rotvec(),
        _turn(unit(np.cross(directions[1], pad)), knuckle).as_rotvec(),
        _turn(unit(np.cross(directions[2], pad)), outer).as_rotvec(),
    ]


def hand_pose(thumb, **fingers) -> np.ndarray:
    """`(45,)` axis-angle of the left hand in MANO's order."""
    joints = {name: finger_rotations(name, *angles) for name, angles in fingers.items()}
    joints["thumb"] = thumb_rotations(*thumb)
    return np.concatenate([rotation for finger in FINGERS for rotation in joints[finger]])


def mirrored_pose(pose: np.ndarray) -> np.ndarray:
    """The other hand's pose."""
    return (pose.reshape(-1, 3) * MIRRORED).ravel()


def relaxed_hand() -> np.ndarray:
    return hand_pose(
        index=(18, 28, 14, -2),
        middle=(24, 32, 16, -1),
        ring=(28, 34, 18, 2),
        pinky=(30, 32, 18, 5),
        thumb=(16, 8, 10, 12, 18),
    )


def random_hand(rng: np.random.Generator) -> np.ndarray:
    """Fingers curl partly together and partly each for itself, and spread less the more they curl."""
    curls, common = rng.beta(0.8, 0.8, 5), rng.uniform()
    fingers = {}
    for number, finger in enumerate(LONG_FINGERS):
        curl = np.clip(common * curls[4] + (1 - common) * curls[number] + rng.normal(0, 0.06), 0, 1)
        flexions = [curl * limit + rng.normal(0, 5) for limit in (85, 100, 60)]
        fingers[finger] = (*flexions, (1 - curl) * rng.normal(0, 5))
    limits = ((-8, 40), (-12, 35), (-10, 40), (-8, 45), (-10, 55))
    return hand_pose(thumb=[rng.uniform(low, high) for low, high in limits], **fingers)


def pose_components(num_samples: int = 4000, seed: int = 0) -> np.ndarray:
    """`(45, 45)`: principal components of random left hands, one per row, widest first."""
    rng = np.random.default_rng(seed)
    poses = np.stack([random_hand(rng) for _ in range(num_samples)])
    components = np.linalg.svd(poses - poses.mean(0), full_matrices=False)[2]
    # The sign of a component is arbitrary; its largest entry is made positive.
    largest = np.abs(components).argmax(1)
    return components * np.sign(components[np.arange(45), largest])[:, None]


def _turn(axis: np.ndarray, degrees: float) -> Rotation:
    return Rotation.from_rotvec(np.deg2rad(degrees) * np.asarray(axis))
