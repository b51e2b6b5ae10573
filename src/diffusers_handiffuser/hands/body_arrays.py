"""The arrays of a body: from an SMPL-H file to the buffers of `HandBodyModel`, and back."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file

from .kinematics import by_depth
from .skeleton import (
    FINGERTIP_VERTEX_IDS,
    LEFT_HAND,
    LEFT_WRIST,
    NUM_JOINTS,
    OPENPOSE_FINGERS,
    PARENTS,
    RIGHT_HAND,
    RIGHT_WRIST,
)

if TYPE_CHECKING:
    from .body_model import HandBodyModel

PROCEDURAL_BODY_FILE = Path(__file__).parent / "data" / "procedural_body.safetensors"
NUM_BETAS = 10
_NUM_POSE_FEATURES = 9 * (NUM_JOINTS - 1)
HAND_JOINTS = ((LEFT_WRIST, *range(NUM_JOINTS)[LEFT_HAND]), (RIGHT_WRIST, *range(NUM_JOINTS)[RIGHT_HAND]))


def config_and_buffers(
    arrays: Mapping[str, np.ndarray], body: str, licensed: bool, vertex_ids: Mapping[str, int] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Arguments and buffers of the `HandBodyModel` of a body.

    Args:
        arrays (`Mapping[str, np.ndarray]`): those of an SMPL-H file, dense; pose directions may be missing if they
            are all zero, as in our own data file.
        body (`str`): as in `HandBodyModel`. The procedural body is recognised.
        licensed (`bool`): as in `HandBodyModel`. The procedural body never is.
        vertex_ids (`Mapping[str, int]`, *optional*): as in `HandBodyModel.from_smplh`.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    template, faces, weights = arrays["v_template"], arrays["f"].astype(np.int64), arrays["weights"]
    directions, regressor = arrays["shapedirs"][..., :NUM_BETAS], arrays["J_regressor"]
    pose_directions = arrays.get("posedirs")
    if directions.shape[-1] < NUM_BETAS:
        raise ValueError(f"`shapedirs` must hold at least {NUM_BETAS} directions, got {directions.shape[-1]}.")
    if pose_directions is not None and not pose_directions.any():
        pose_directions = None
    tips = _fingertips(vertex_ids, len(template))

    sha256 = body_sha256({**arrays, "shapedirs": directions, "posedirs": pose_directions})
    if body != "procedural" and sha256 == _procedural_sha256():
        body, licensed = "procedural", False

    hands = [np.flatnonzero(weights[:, list(hand)].sum(1) > 0.5) for hand in HAND_JOINTS]
    for side, ids in zip(("left", "right"), hands, strict=True):
        if len(ids) == 0:
            raise ValueError(f"`weights` of this body attach no vertex to the {side} hand.")
    hand_faces = [_faces_within(faces, ids, len(template)) for ids in hands]
    hand_vertex_ids = np.concatenate([*hands, *tips])
    influences = np.sort(np.argsort(-weights, axis=1, kind="stable")[:, : max(1, (weights != 0).sum(1).max())], 1)
    rows, columns = np.nonzero(regressor)

    config = dict(
        body=body,
        sha256=sha256,
        licensed=licensed,
        num_vertices=len(template),
        num_faces=len(faces),
        num_left_vertices=len(hands[0]),
        num_right_vertices=len(hands[1]),
        num_left_faces=len(hand_faces[0]),
        num_right_faces=len(hand_faces[1]),
        num_influences=influences.shape[1],
        num_regressor_entries=len(rows),
        num_pose_features=0 if pose_directions is None else pose_directions.shape[-1],
        hand_joints=_joints_that_move(weights[hand_vertex_ids]),
        left_fingertips=tips[0],
        right_fingertips=tips[1],
    )
    buffers = {
        "template": template,
        "shape_directions": directions,
        "faces": faces,
        "influences": influences,
        "influence_weights": np.take_along_axis(weights, influences, 1),
        "regressor_index": np.stack([rows, columns]),
        "regressor_weights": regressor[rows, columns],
        "joint_template": regressor.astype(np.float64) @ template,
        "joint_shape_directions": np.einsum("jv,vck->jck", regressor.astype(np.float64), directions),
        "hand_means": np.stack([arrays["hands_meanl"], arrays["hands_meanr"]]),
        "hand_components": np.stack([arrays["hands_componentsl"], arrays["hands_componentsr"]]),
        "hand_vertex_ids": hand_vertex_ids,
        "left_faces": hand_faces[0],
        "right_faces": hand_faces[1],
    }
    if pose_directions is not None:
        buffers["pose_directions"] = pose_directions
        buffers["hand_pose_directions"] = pose_directions[hand_vertex_ids].reshape(-1, pose_directions.shape[-1]).T
    return config, buffers


def smplh_arrays(model: "HandBodyModel") -> dict[str, np.ndarray]:
    """The whole body under the names of an SMPL-H file."""
    regressor = model.template.new_zeros(NUM_JOINTS, model.config.num_vertices)
    regressor[tuple(model.regressor_index.long())] = model.regressor_weights
    if model.config.num_pose_features:
        pose_directions = model.pose_directions
    else:
        pose_directions = model.template.new_zeros(model.config.num_vertices, 3, _NUM_POSE_FEATURES)
    tensors = {
        "v_template": model.template,
        "shapedirs": model.shape_directions,
        "posedirs": pose_directions,
        "J_regressor": regressor,
        "weights": dense_weights(model),
        "hands_meanl": model.hand_means[0],
        "hands_meanr": model.hand_means[1],
        "hands_componentsl": model.hand_components[0],
        "hands_componentsr": model.hand_components[1],
    }
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    arrays["f"] = model.faces.cpu().numpy().astype(np.uint32)
    # The pelvis has no parent: official files hold 2^32 - 1, which smplx overwrites.
    parents = np.array([2**32 - 1, *PARENTS[1:]], dtype=np.uint32)
    arrays["kintree_table"] = np.stack([parents, np.arange(NUM_JOINTS, dtype=np.uint32)])
    return arrays


def dense_weights(model: "HandBodyModel", ids: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Skinning weights `(V, 52)` of all vertices, or of some."""
    weights = model.influence_weights[ids]
    dense = weights.new_zeros(weights.shape[0], NUM_JOINTS)
    return dense.scatter(1, model.influences[ids].long(), weights)


def body_sha256(arrays: Mapping[str, np.ndarray | None]) -> str:
    """SHA-256 of a body.

    Of its mesh, first ten shape directions, pose directions (none if they are all zero), joint regressor and skinning
    weights, as little-endian float32 and int32 in this order.
    """
    digest = hashlib.sha256()
    for name in ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights"):
        array = arrays.get(name)
        if array is None or (name == "posedirs" and not array.any()):
            continue
        if name == "shapedirs":
            array = array[..., :NUM_BETAS]
        digest.update(f"{name} {array.shape}".encode())
        # Adding zero turns a negative zero into a plain one.
        digest.update(np.ascontiguousarray(array + 0, "<i4" if name == "f" else "<f4").tobytes())
    return digest.hexdigest()


def check_indices(model: "HandBodyModel") -> None:
    """Raises a `ValueError` if a stored body's indices exceed its own vertices and joints."""
    config, num_chain = model.config, len(model.config.hand_joints)
    limits = {
        "faces": config.num_vertices,
        "influences": NUM_JOINTS,
        "hand_vertex_ids": config.num_vertices,
        "left_faces": config.num_left_vertices,
        "right_faces": config.num_right_vertices,
        "chain_joints": NUM_JOINTS,
        "chain_parents": num_chain,
        "chain_hands": num_chain,
        "openpose_order": 21,
    }
    numbers = {name: (getattr(model, name), limit) for name, limit in limits.items()}
    numbers["regressor_index[0]"] = (model.regressor_index[0], NUM_JOINTS)
    numbers["regressor_index[1]"] = (model.regressor_index[1], config.num_vertices)
    for name, (values, limit) in numbers.items():
        if not values.is_meta and not ((values >= 0) & (values < limit)).all():
            raise ValueError(f"`{name}` of the body holds numbers that are not between 0 and {limit - 1}")


@functools.cache
def _procedural_sha256() -> str:
    return body_sha256(load_file(PROCEDURAL_BODY_FILE))


def _joints_that_move(weights: np.ndarray) -> list[int]:
    """Joints that move some of these vertices, the hands' joints, and everything between them and the pelvis."""
    joints, _ = by_depth([*np.flatnonzero((weights != 0).any(0)).tolist(), *HAND_JOINTS[0], *HAND_JOINTS[1]])
    return joints


def _faces_within(faces: np.ndarray, ids: np.ndarray, num_vertices: int) -> np.ndarray:
    """Faces whose three vertices are all among `ids`, as indices into `ids`."""
    place = np.full(num_vertices, -1)
    place[ids] = np.arange(len(ids))
    local = place[faces]
    return local[(local >= 0).all(1)]


def _fingertips(vertex_ids: Mapping[str, int] | None, num_vertices: int) -> list[list[int]]:
    if vertex_ids is None:
        tips = [list(FINGERTIP_VERTEX_IDS[side]) for side in ("left", "right")]
    else:
        missing = [s + f for s in "lr" for f in OPENPOSE_FINGERS if s + f not in vertex_ids]
        if missing:
            raise ValueError(f"`vertex_ids` lacks {missing[0]!r}; it must hold all ten fingertips.")
        tips = [[int(vertex_ids[s + f]) for f in OPENPOSE_FINGERS] for s in "lr"]
    for tip in (*tips[0], *tips[1]):
        if not 0 <= tip < num_vertices:
            raise ValueError(f"`vertex_ids`: fingertip {tip} is not one of the body's {num_vertices} vertices.")
    return tips
