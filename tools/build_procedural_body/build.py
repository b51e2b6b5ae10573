"""Builds the body that ships with `diffusers_handiffuser`:

    pip install . scipy scikit-image
    python tools/build_procedural_body/build.py -o src/diffusers_handiffuser/hands/data/procedural_body.safetensors

It takes about a minute on one core. See the README beside this file for how the body is made.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import scipy
import skimage
from safetensors.numpy import load_file, save_file

from diffusers_handiffuser.hands.skeleton import LEFT_HAND, LEFT_WRIST

from anatomy import rest_joints
from hand_poses import mirrored_pose, pose_components, relaxed_hand
from isosurface import half_body
from landmarks import find_landmarks, order_for_smplx
from remesh import finish, mirrored, remesh
from rig import SHAPE_NAMES, is_mirror_symmetric, joint_regressor, regressor_error, shape_directions, skinning_weights

NUM_VERTICES, NUM_FACES = 6890, 13776
"""As many as the official SMPL-H mesh, so that tools which count on that work."""
LARGEST_REGRESSOR_ERROR = 0.003


def build() -> dict[str, np.ndarray]:
    """The body's arrays under SMPL-H's names, and `vert_sym_idxs`: the number of each vertex's mirror image."""
    mesh = remesh(*half_body())
    finish(mesh, NUM_VERTICES)
    vertices, faces, mirror_image = mirrored(*mesh.arrays()[:3])

    order = order_for_smplx(find_landmarks(vertices, mirror_image), len(vertices))
    new_number = np.argsort(order)
    vertices, faces, mirror_image = vertices[order], new_number[faces], new_number[mirror_image[order]]

    weights = skinning_weights(vertices, faces, mirror_image)
    directions, joint_directions = shape_directions(vertices, weights)
    regressor = joint_regressor(vertices, directions, joint_directions, weights, mirror_image)
    check(vertices, faces, mirror_image, regressor_error(regressor, vertices, directions, joint_directions))

    components = pose_components()
    arrays = {
        "v_template": vertices,
        "shapedirs": directions,
        "J_regressor": regressor,
        "weights": weights,
        "hands_meanl": relaxed_hand(),
        "hands_meanr": mirrored_pose(relaxed_hand()),
        "hands_componentsl": components,
        "hands_componentsr": np.stack([mirrored_pose(component) for component in components]),
    }
    arrays = {name: np.ascontiguousarray(array, np.float32) + np.float32(0) for name, array in arrays.items()}
    arrays["f"] = np.ascontiguousarray(faces, np.int32)
    arrays["vert_sym_idxs"] = np.ascontiguousarray(mirror_image, np.int32)
    return arrays


def check(vertices: np.ndarray, faces: np.ndarray, mirror_image: np.ndarray, error: float) -> None:
    """Refuses a body that is not closed, not symmetric, of another size, or whose joints are off."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    distinct, times = np.unique(edges, axis=0, return_counts=True)
    problems = {
        f"{len(vertices)} vertices and {len(faces)} faces": (len(vertices), len(faces)) != (NUM_VERTICES, NUM_FACES),
        "the mesh is not closed": (times != 2).any(),
        "the mesh has handles": len(vertices) - len(distinct) + len(faces) != 2,
        "the mesh is not its own mirror image": not is_mirror_symmetric(vertices, mirror_image),
        f"a joint is {1000 * error:.1f} mm off": error > LARGEST_REGRESSOR_ERROR,
    }
    found = [problem for problem, is_so in problems.items() if is_so]
    if found:
        raise RuntimeError("; ".join(found))


def made_with() -> str:
    """The versions on which the last digits depend."""
    versions = f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-image {skimage.__version__}"
    return f"{versions}, Python {sys.version.split()[0]}, {platform.machine()}"


def report(arrays: dict[str, np.ndarray]) -> str:
    joints = arrays["J_regressor"].astype(float) @ arrays["v_template"]
    error = np.linalg.norm(joints - rest_joints(), axis=1)
    hand = arrays["weights"][:, LEFT_WRIST] + arrays["weights"][:, LEFT_HAND].sum(1) > 0.5
    height = np.ptp(arrays["v_template"][:, 1])
    return (
        f"{len(arrays['v_template'])} vertices, {len(arrays['f'])} faces, {hand.sum()} vertices per hand, "
        f"{height:.2f} m tall, joints {1000 * error.max():.2f} mm off at most ({1000 * error.mean():.2f} on average), "
        f"{(arrays['weights'] > 0).sum(1).max()} joints per vertex at most"
    )


def compare(arrays: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    """How far two bodies are apart, array by array."""
    lines = []
    for name in sorted(arrays):
        if name not in other or other[name].shape != arrays[name].shape:
            lines.append(f"{name}: not comparable")
        else:
            lines.append(f"{name}: {np.abs(arrays[name].astype(float) - other[name]).max():.2g}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--compare", type=Path, help="another such file: prints the largest difference of each array")
    arguments = parser.parse_args()

    start = time.perf_counter()
    arrays = build()
    metadata = {
        "generator": "tools/build_procedural_body/build.py of diffusers_handiffuser",
        "made_with": made_with(),
        "shape_directions": ", ".join(SHAPE_NAMES),
        "license": "Apache-2.0",
    }
    save_file(arrays, arguments.output, metadata=metadata)
    print(report(arrays))
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes, {time.perf_counter() - start:.0f} s")
    if arguments.compare:
        print(compare(arrays, load_file(arguments.compare)))


if __name__ == "__main__":
    main()
