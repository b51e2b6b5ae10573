"""What makes the mesh a body: skinning weights, shape directions and the joint regressor."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

from diffusers_handiffuser.hands.skeleton import FINGERS, JOINT_NAMES, NUM_JOINTS, PARENTS, SIDES

from anatomy import MIRROR, fingertips, mirrored_joints, rest_joints, unit


def bones() -> list[tuple[int, np.ndarray, np.ndarray]]:
    """`(joint, start, end)` of every bone; the joint turns it. Fingers, head and feet end beyond their last joint."""
    joints, tips = rest_joints(), fingertips()
    found = []
    for child, parent in enumerate(PARENTS):
        # A bone from the wrist to the base of the thumb would claim the ball of the thumb.
        if parent >= 0 and not JOINT_NAMES[child].endswith("thumb1"):
            found.append((parent, joints[parent], joints[child]))
    for side in SIDES:
        for finger in FINGERS:
            last = JOINT_NAMES.index(f"{side}_{finger}3")
            found.append((last, joints[last], tips[f"{side}_{finger}"]))
        for name, reach in (("foot", (0, -0.012, 0.060)), ("ankle", (0, -0.050, -0.020))):
            joint = JOINT_NAMES.index(f"{side}_{name}")
            found.append((joint, joints[joint], joints[joint] + reach))
    head = JOINT_NAMES.index("head")
    found.append((head, joints[head], joints[head] + (0, 0.16, 0)))
    return found


def skinning_weights(vertices: np.ndarray, faces: np.ndarray, mirror_image: np.ndarray) -> np.ndarray:
    """`(V, 52)` weights by heat diffusion (Baran and Popovic, "Automatic Rigging and Animation of 3D Characters",
    2007): each vertex is heated by its nearest bone, the more the nearer it is, and heat spreads over the surface. Up
    to four joints per vertex, five where left and right meet."""
    to_joint = np.full((len(vertices), NUM_JOINTS), np.inf)
    for joint, start, end in bones():
        bone = end - start
        along = np.clip((vertices - start) @ bone / (bone @ bone), 0, 1)
        distance = np.linalg.norm(vertices - start - along[:, None] * bone, axis=1)
        to_joint[:, joint] = np.minimum(to_joint[:, joint], distance)
    distance = to_joint.min(1)
    # Around a joint two bones are equally near, since it is the end of both; they share the heat.
    source = to_joint <= distance[:, None] + 1e-6
    source = source / source.sum(1, keepdims=True)

    laplacian, areas = cotangent_laplacian(vertices, faces)
    heat = 2.0 * areas / np.maximum(distance, 1e-4) ** 2
    weights = splu((laplacian + diags(heat)).tocsc()).solve(heat[:, None] * source)

    weights[weights < 0.02] = 0
    weights[weights < -np.sort(-weights, 1)[:, 3:4]] = 0
    weights /= weights.sum(1, keepdims=True)
    weights = (weights + weights[mirror_image][:, mirrored_joints()]) / 2
    return weights / weights.sum(1, keepdims=True)


def cotangent_laplacian(vertices: np.ndarray, faces: np.ndarray) -> tuple[csc_matrix, np.ndarray]:
    """The Laplacian of the surface, positive semi-definite, and the area that belongs to each vertex."""
    rows, columns, values = [], [], []
    areas = np.zeros(len(vertices))
    for k in range(3):
        i, j, opposite = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        to_i, to_j = vertices[i] - vertices[opposite], vertices[j] - vertices[opposite]
        twice_area = np.linalg.norm(np.cross(to_i, to_j), axis=1)
        # Negative cotangents of obtuse triangles would make weights negative.
        weight = np.maximum((to_i * to_j).sum(1) / np.maximum(twice_area, 1e-12) / 2, 1e-3)
        rows += [i, j, i, j]
        columns += [j, i, i, j]
        values += [-weight, -weight, weight, weight]
        np.add.at(areas, i, twice_area / 6)
    shape = (len(vertices), len(vertices))
    return csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape), areas


def _bone_axes() -> dict[str, np.ndarray]:
    """Direction of the bone at each joint that has one bone only."""
    joints = rest_joints()
    axes = {}
    for joint, name in enumerate(JOINT_NAMES):
        children = [child for child, parent in enumerate(PARENTS) if parent == joint]
        if len(children) == 1:
            axes[name] = unit(joints[children[0]] - joints[joint])
    for tip, point in fingertips().items():
        axes[f"{tip}3"] = unit(point - joints[JOINT_NAMES.index(f"{tip}3")])
    return axes


def _shape_stretches() -> dict[str, Callable[[str], np.ndarray]]:
    """Ten ways in which people differ: how each part of the body stretches per unit of its coefficient, as a `(3, 3)`
    matrix per joint name. The sizes are about one standard deviation, by eye."""
    axes = _bone_axes()
    none = np.zeros((3, 3))

    def stretched(name: str, along: float, across: float) -> np.ndarray:
        if name not in axes:
            return across * np.eye(3)
        projection = np.outer(axes[name], axes[name])
        return along * projection + across * (np.eye(3) - projection)

    def is_wrist(name):
        return name.endswith("_wrist")

    def finger_of(name):
        finger = name.split("_")[-1][:-1]
        return finger if finger in FINGERS else None

    def is_thumb(name):
        return finger_of(name) == "thumb"

    def is_long_finger(name):
        return finger_of(name) is not None and not is_thumb(name)

    def is_hand(name):
        return is_wrist(name) or finger_of(name) is not None

    def palm_thickness(name):
        if is_wrist(name):
            return np.diag([0, 0.09, 0])
        return stretched(name, 0, 0.05) if name.endswith("thumb1") else none

    return {
        "stature": lambda name: 0.04 * np.eye(3),
        "girth": lambda name: none if is_hand(name) else stretched(name, 0, 0.08),
        "hand size": lambda name: 0.06 * np.eye(3) if is_hand(name) else none,
        "finger length": lambda name: stretched(name, 0.07, 0) if is_long_finger(name) else none,
        "finger thickness": lambda name: (
            stretched(name, 0, 0.09) if finger_of(name) and not name.endswith("thumb1") else none
        ),
        "palm width": lambda name: np.diag([0, 0, 0.07]) if is_wrist(name) else none,
        "palm length": lambda name: np.diag([0.06, 0, 0]) if is_wrist(name) else none,
        "thumb length": lambda name: stretched(name, 0.07, 0) if is_thumb(name) else none,
        "palm thickness": palm_thickness,
        "forearm girth": lambda name: stretched(name, 0, 0.09) if name.endswith("_elbow") else none,
    }


SHAPE_NAMES = tuple(_shape_stretches())


def shape_directions(vertices: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of the vertices `(V, 3, 10)` and of the joints `(52, 3, 10)` per unit of each coefficient.

    A joint moves with what lies between it and the pelvis, a vertex with its joints and with the stretch around them.
    """
    joints = rest_joints()
    of_vertices, of_joints = [], []
    for stretch_of in _shape_stretches().values():
        stretches = np.array([stretch_of(name) for name in JOINT_NAMES])
        moved = np.zeros_like(joints)
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                moved[joint] = moved[parent] + stretches[parent] @ (joints[joint] - joints[parent])
        from_joints = vertices[:, None] - joints
        displacement = moved + np.einsum("jab,vjb->vja", stretches, from_joints)
        of_vertices.append(np.einsum("vj,vja->va", weights, displacement))
        of_joints.append(moved)
    return np.stack(of_vertices, -1), np.stack(of_joints, -1)


def joint_regressor(
    vertices: np.ndarray,
    directions: np.ndarray,
    joint_directions: np.ndarray,
    weights: np.ndarray,
    mirror_image: np.ndarray,
) -> np.ndarray:
    """`(52, V)`: each joint as a weighted mean of some sixty vertices around it, in every shape.

    Non-negative least squares over the rest mesh and all shape directions. Only the left half and the middle are
    solved; the right half is their mirror image, so that a mirrored pose moves mirrored joints.
    """
    joints, mirror_joint = rest_joints(), mirrored_joints()
    regressor = np.zeros((NUM_JOINTS, len(vertices)))
    for joint, name in enumerate(JOINT_NAMES):
        if name.startswith("right_"):
            continue
        nearby = _ring_of_vertices(vertices, joints[joint], weights[:, [joint, max(PARENTS[joint], 0)]].sum(1))
        equations = [(vertices[nearby] - joints[joint]).T]
        results = [np.zeros(3)]
        for k in range(directions.shape[-1]):
            equations.append(6 * directions[nearby, :, k].T)
            results.append(6 * joint_directions[joint, :, k])
        equations.append(np.full((1, len(nearby)), 10.0))
        results.append([10.0])
        # A little cost on every weight spreads them over the ring.
        equations.append(2e-4 * np.eye(len(nearby)))
        results.append(np.zeros(len(nearby)))
        solution, _ = nnls(np.concatenate(equations), np.concatenate(results))
        regressor[joint, nearby] = solution / solution.sum()
    for joint, image in enumerate(mirror_joint):
        if image == joint:
            regressor[joint] = (regressor[joint] + regressor[joint][mirror_image]) / 2
        elif JOINT_NAMES[joint].startswith("right_"):
            regressor[joint] = regressor[image][mirror_image]
    return regressor


def _ring_of_vertices(vertices: np.ndarray, joint: np.ndarray, own_weights: np.ndarray, count: int = 60) -> np.ndarray:
    """The nearest vertices that the joint's bones move, and in each of many directions the nearest vertex that way."""
    offsets = vertices - joint
    distances = np.linalg.norm(offsets, axis=1)
    strangers = own_weights < 0.05
    nearest = np.argsort(distances + 0.05 * strangers, kind="stable")[: count // 2]
    steps = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * steps / count), np.pi * (1 + 5**0.5) * steps
    ways = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], 1)
    that_way = (offsets / distances[:, None]) @ ways.T > 0.80
    scores = np.where(that_way, (distances + 0.05 * strangers)[:, None], np.inf)
    return np.unique(np.concatenate([nearest, scores.argmin(0)]))


def regressor_error(
    regressor: np.ndarray, vertices: np.ndarray, directions: np.ndarray, joint_directions: np.ndarray
) -> float:
    """Largest distance in metres between a regressed joint and its place, at rest and at each coefficient = 2."""
    off = regressor @ vertices - rest_joints()
    bent = np.einsum("jv,vck->jck", regressor, directions) - joint_directions
    errors = [np.linalg.norm(off, axis=1).max()]
    errors += [np.linalg.norm(off + 2 * bent[..., k], axis=1).max() for k in range(bent.shape[-1])]
    return max(errors)


def is_mirror_symmetric(vertices: np.ndarray, mirror_image: np.ndarray) -> bool:
    return np.array_equal(vertices[mirror_image] * MIRROR, vertices)
