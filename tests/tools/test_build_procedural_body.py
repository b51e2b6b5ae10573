"""The scripts that made the shipped body. The whole build takes a minute and is marked slow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from diffusers_handiffuser.hands.body_arrays import PROCEDURAL_BODY_FILE
from diffusers_handiffuser.hands.skeleton import FINGERTIP_VERTEX_IDS, OPENPOSE_FINGERS

pytest.importorskip("scipy")
pytest.importorskip("skimage")

FOLDER = Path(__file__).parents[2] / "tools" / "build_procedural_body"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The scripts import each other as they do when one of them is run."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in {path.stem for path in FOLDER.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    return load_file(PROCEDURAL_BODY_FILE)


def test_the_shipped_body_has_the_joints_of_the_scripts(shipped):
    from anatomy import rest_joints

    joints = shipped["J_regressor"].astype(float) @ shipped["v_template"]
    assert np.linalg.norm(joints - rest_joints(), axis=1).max() < 0.001


def test_the_shipped_body_lies_on_the_surface_of_the_scripts(shipped):
    from surface import body

    assert np.abs(body(shipped["v_template"][::20])).max() < 5e-4


def test_the_shipped_fingertips_are_where_the_fingers_end(shipped):
    from anatomy import fingertips

    tips = fingertips()
    for side, numbers in FINGERTIP_VERTEX_IDS.items():
        for finger, number in zip(OPENPOSE_FINGERS, numbers, strict=True):
            assert np.linalg.norm(shipped["v_template"][number] - tips[f"{side}_{finger}"]) < 5e-4


def test_the_shipped_shape_directions_move_joints_and_skin_together(shipped):
    from rig import SHAPE_NAMES, regressor_error, shape_directions

    vertices, weights = (shipped[name].astype(float) for name in ("v_template", "weights"))
    directions, joint_directions = shape_directions(vertices, weights)
    assert directions.shape[-1] == len(SHAPE_NAMES) == 10
    np.testing.assert_allclose(directions, shipped["shapedirs"], atol=1e-6)
    assert regressor_error(shipped["J_regressor"], vertices, directions, joint_directions) < 0.003


def test_the_shipped_weights_come_from_the_shipped_mesh(shipped):
    from rig import skinning_weights

    weights = skinning_weights(shipped["v_template"].astype(float), shipped["f"], shipped["vert_sym_idxs"])
    differing = np.abs(weights - shipped["weights"]).max(1) > 1e-3
    assert differing.mean() < 0.01  # float32 vertices may move a weight across the threshold


def test_hands_of_one_kind_are_the_same_on_both_sides(shipped):
    from hand_poses import mirrored_pose, pose_components, relaxed_hand

    np.testing.assert_allclose(shipped["hands_meanl"], relaxed_hand(), atol=1e-6)
    np.testing.assert_allclose(shipped["hands_meanr"], mirrored_pose(relaxed_hand()), atol=1e-6)
    components = pose_components(num_samples=100)
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-9)


def test_a_cube_is_remeshed_into_a_closed_mesh():
    from remesh import EditableMesh

    corners = np.array([[x, y, z] for x in (0.0, 1) for y in (0.0, 1) for z in (0.0, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))])
    mesh = EditableMesh(corners, faces)
    assert not any(mesh.on_rim)

    def volume():
        points, triangles, _, _ = mesh.arrays()
        a, b, c = (points[triangles[:, k]] for k in range(3))
        edges, count = np.unique(
            np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0, return_counts=True
        )
        assert (count == 2).all() and len(points) - len(edges) + len(triangles) == 2
        return (np.cross(a, b) * c).sum() / 6

    assert np.isclose(volume(), 1)
    for a, b in mesh.edges():
        mesh.split(a, b)
    assert mesh.num_vertices() == 8 + 18 and np.isclose(volume(), 1)
    flips = sum(mesh.flip(a, b) for a, b in mesh.edges() if mesh.is_edge(a, b))
    assert flips and volume() > 0
    collapses = sum(mesh.collapse(a, b, np.inf) for a, b in mesh.edges() if mesh.is_edge(a, b))
    assert mesh.num_vertices() == 26 - collapses and volume() > 0


def test_a_bad_body_is_refused(shipped):
    from build import check

    vertices, faces, image = (shipped[name] for name in ("v_template", "f", "vert_sym_idxs"))
    check(vertices, faces, image, 0.0)
    with pytest.raises(RuntimeError, match="not closed"):
        check(vertices, faces[1:], image, 0.0)
    with pytest.raises(RuntimeError, match="a joint is 5.0 mm off"):
        check(vertices, faces, image, 0.005)
    with pytest.raises(RuntimeError, match="not its own mirror image"):
        check(vertices + np.float32(1), faces, image, 0.0)


def build_with_haswell_kernels(path: Path) -> dict[str, np.ndarray]:
    """What the scripts make in a process of its own, with the kernels of OpenBLAS that the shipped body was made with.

    Those for other processors round otherwise, and ties between bones that are equally near then fall otherwise.
    """
    code = "import sys, numpy; from build import build; numpy.savez(sys.argv[1], **build())"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Haswell"}
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=FOLDER, env=environment, check=True, timeout=600)
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_the_scripts_make_the_shipped_body(shipped, tmp_path):
    from build import made_with

    built = build_with_haswell_kernels(tmp_path / "built.npz")
    with safe_open(PROCEDURAL_BODY_FILE, framework="np") as file:
        same_versions = file.metadata()["made_with"] == made_with()
    assert {name: array.shape for name, array in built.items()} == {n: a.shape for n, a in shipped.items()}
    if same_versions:
        for name, array in built.items():
            np.testing.assert_allclose(array, shipped[name], atol=1e-5, err_msg=name)
    joints = [body["J_regressor"].astype(float) @ body["v_template"] for body in (built, shipped)]
    assert np.linalg.norm(joints[0] - joints[1], axis=1).max() < 0.002
