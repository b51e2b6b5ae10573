"""Vertices with a name. `smplx` finds fingertips, face and feet by fixed vertex numbers on every SMPL-H mesh; ours are
numbered so that it finds the right ones without being told."""

import numpy as np

from diffusers_handiffuser.hands.skeleton import FINGERS, FINGERTIP_VERTEX_IDS, JOINT_NAMES, OPENPOSE_FINGERS

from anatomy import fingertips, rest_joints

SMPLX_VERTEX_IDS = {
    "nose": 332,
    "leye": 2800,
    "reye": 6260,
    "lear": 583,
    "rear": 4071,
    "LBigToe": 3216,
    "RBigToe": 6617,
    "LSmallToe": 3226,
    "RSmallToe": 6624,
    "LHeel": 3387,
    "RHeel": 6787,
    **{f"l{finger}": number for finger, number in zip(OPENPOSE_FINGERS, FINGERTIP_VERTEX_IDS["left"], strict=True)},
    **{f"r{finger}": number for finger, number in zip(OPENPOSE_FINGERS, FINGERTIP_VERTEX_IDS["right"], strict=True)},
}


def find_landmarks(vertices: np.ndarray, mirror_image: np.ndarray) -> dict[str, int]:
    """Vertex of each landmark; the right ones are the mirror images of the left ones."""
    joints, tips = rest_joints(), fingertips()
    foot, ankle = joints[JOINT_NAMES.index("left_foot")], joints[JOINT_NAMES.index("left_ankle")]

    def nearest(point):
        return int(np.linalg.norm(vertices - point, axis=1).argmin())

    def furthest(way, centre, radius):
        near = np.flatnonzero(np.linalg.norm(vertices - centre, axis=1) < radius)
        return int(near[(vertices[near] @ way).argmax()])

    left = {f"l{finger}": nearest(tips[f"left_{finger}"]) for finger in FINGERS}
    left |= {
        "leye": nearest((0.032, 0.690, 0.088)),
        "lear": nearest((0.088, 0.668, -0.004)),
        "LBigToe": nearest(foot + (-0.014, -0.016, 0.085)),
        "LSmallToe": nearest(foot + (0.030, -0.018, 0.040)),
        "LHeel": furthest((0, 0, -1), ankle + (0, -0.050, -0.030), 0.060),
    }
    right = {("R" if name[0] == "L" else "r") + name[1:]: int(mirror_image[v]) for name, v in left.items()}
    return left | right | {"nose": furthest((0, 0, 1), (0, 0.650, 0.100), 0.050)}


def order_for_smplx(landmarks: dict[str, int], num_vertices: int) -> np.ndarray:
    """`(V,)`: old number of each new vertex, so that the landmarks come to `SMPLX_VERTEX_IDS`."""
    if len(set(landmarks.values())) != len(SMPLX_VERTEX_IDS):
        raise RuntimeError(f"two landmarks fell on one vertex: {landmarks}")
    order = np.full(num_vertices, -1)
    for name, number in SMPLX_VERTEX_IDS.items():
        order[number] = landmarks[name]
    order[order < 0] = np.setdiff1d(np.arange(num_vertices), list(landmarks.values()))
    return order
