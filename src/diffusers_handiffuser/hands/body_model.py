"""`HandBodyModel`: from `HandParams` to the geometry of the hands or the whole body.

SMPL-H is a mesh with a skeleton inside: shape coefficients move the rest mesh, the joints are linear in the rest mesh,
each joint turns everything behind it, and every vertex follows a weighted mean of its joints (linear blend skinning;
Loper et al., "SMPL", 2015; Romero et al., "Embodied Hands", 2017). `forward` computes this for the hands only, about a
quarter of the work of the whole body; `full_mesh` poses the whole body.

The body that ships with the package is our own (`tools/build_procedural_body`), so nothing here needs a licensed file.
`from_smplh` takes the user's own SMPL-H file instead.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers import ConfigMixin, ModelMixin
from safetensors.numpy import load_file

from ..hub.free_bodies import register_free_body
from ..hub.loading import CheckedLoadingMixin, one_line_error
from ..hub.loading_lock import one_at_a_time
from ..hub.saving import SavingMixin
from ..utils.atomic_files import atomic_write
from ..utils.typing import register_to_config
from .body_arrays import (
    HAND_JOINTS,
    NUM_BETAS,
    PROCEDURAL_BODY_FILE,
    body_sha256,
    check_indices,
    config_and_buffers,
    dense_weights,
    smplh_arrays,
)
from .camera import project_weak_perspective
from .geometry import BodyMesh, HandGeometry
from .kinematics import chain, pose_body, pose_joints
from .official_body import pose_by_smplx, smplx_model
from .params import HandParams, check_hand_params
from .rotations import rotvec_to_rotmat
from .skeleton import (
    FINGERTIP_VERTEX_IDS,
    LEFT_HAND,
    NUM_JOINTS,
    OPENPOSE_FROM_MANO,
    PARENTS,
)
from .skinning import blend_shapes, skin


class HandBodyModel(CheckedLoadingMixin, SavingMixin, ModelMixin, ConfigMixin):
    """SMPL-H as HanDiffuser needs it. Build one with `procedural()` or `from_smplh(path)`.

    Everything is computed and kept in float32, whatever dtype the model is cast to or loaded with: half precision
    would move fingertips by millimetres. It has no trainable parameters.

    A body from a licensed file must not be passed on, so `save_pretrained` writes its config (with the SHA-256 of the
    body) without arrays, and `from_pretrained` asks for the file.

    Args:
        body (`str`): `"procedural"` for the body that ships with the package, `"smplh"` for any other.
        sha256 (`str`): of the body's arrays, see `body_sha256`.
        licensed (`bool`): whether the arrays must stay out of saved checkpoints.
        num_vertices, num_faces (`int`): of the whole body.
        num_left_vertices, num_right_vertices, num_left_faces, num_right_faces (`int`): of each hand. A vertex belongs
            to a hand if its skinning weights for the wrist and the 15 finger joints add up to more than a half.
        num_influences (`int`): the most joints that move a single vertex.
        num_regressor_entries (`int`): non-zero entries of the joint regressor.
        num_pose_features (`int`): 459 if the body has pose-dependent shape, else 0.
        hand_joints (`list[int]`): the joints that move the hands, parents first, sorted by depth.
        left_fingertips, right_fingertips (`list[int]`): vertices of the fingertips, thumb to pinky.

    Examples:
        ```py
        >>> from diffusers_handiffuser import HandBodyModel, HandParams

        >>> body = HandBodyModel.procedural()  # or HandBodyModel.from_smplh("SMPLH_NEUTRAL.npz")
        >>> joints = body(HandParams.zeros(3)).joints_3d  # row, left and right, joint, metres
        ```
    """

    _no_split_modules: list[str] = []

    @one_at_a_time
    @register_to_config
    def __init__(
        self,
        body: str = "procedural",
        sha256: str = "",
        licensed: bool = False,
        num_vertices: int = 6890,
        num_faces: int = 13776,
        num_left_vertices: int = 1509,
        num_right_vertices: int = 1509,
        num_left_faces: int = 2990,
        num_right_faces: int = 2990,
        num_influences: int = 5,
        num_regressor_entries: int = 946,
        num_pose_features: int = 0,
        hand_joints: Sequence[int] = (0, 3, 6, 9, 13, 14, 16, 17, 18, 19, 20, 21)
        + tuple(first + 3 * finger + k for k in range(3) for first in (22, 37) for finger in range(5)),
        left_fingertips: Sequence[int] = FINGERTIP_VERTEX_IDS["left"],
        right_fingertips: Sequence[int] = FINGERTIP_VERTEX_IDS["right"],
    ):
        super().__init__()
        depth = [len(chain(joint)) for joint in hand_joints]
        if depth != sorted(depth) or any(PARENTS[j] not in hand_joints for j in hand_joints if j):
            raise ValueError(f"`hand_joints` must be sorted by depth and hold their parents, got {hand_joints}.")
        self.level_sizes = [depth.count(level) for level in range(1, max(depth) + 1)]
        num_hand_vertices = num_left_vertices + num_right_vertices + 10

        def floats(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.float32)

        def integers(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int64)

        self.register_buffer("template", floats(num_vertices, 3))
        self.register_buffer("shape_directions", floats(num_vertices, 3, NUM_BETAS))
        self.register_buffer("faces", integers(num_faces, 3))
        self.register_buffer("influences", torch.zeros(num_vertices, num_influences, dtype=torch.uint8))
        self.register_buffer("influence_weights", floats(num_vertices, num_influences))
        self.register_buffer("regressor_index", torch.zeros(2, num_regressor_entries, dtype=torch.int32))
        self.register_buffer("regressor_weights", floats(num_regressor_entries))
        self.register_buffer("joint_template", floats(NUM_JOINTS, 3))
        self.register_buffer("joint_shape_directions", floats(NUM_JOINTS, 3, NUM_BETAS))
        self.register_buffer("hand_means", floats(2, 45))
        self.register_buffer("hand_components", floats(2, 45, 45))
        if num_pose_features:
            self.register_buffer("pose_directions", floats(num_vertices, 3, num_pose_features))
            self.register_buffer("hand_pose_directions", floats(num_pose_features, num_hand_vertices * 3))

        self.register_buffer("hand_vertex_ids", integers(num_hand_vertices))
        self.register_buffer("left_faces", integers(num_left_faces, 3))
        self.register_buffer("right_faces", integers(num_right_faces, 3))
        self.register_buffer("chain_joints", torch.tensor(tuple(hand_joints), dtype=torch.int64))
        self.register_buffer("chain_parents", _positions([PARENTS[j] for j in hand_joints if j], hand_joints))
        self.register_buffer("chain_hands", _positions([j for hand in HAND_JOINTS for j in hand], hand_joints))
        self.register_buffer("openpose_order", torch.tensor(OPENPOSE_FROM_MANO, dtype=torch.int64))
        self._smplx: tuple[Any] | None = None
        self._nominal_dtype = torch.float32

    @classmethod
    def procedural(cls) -> "HandBodyModel":
        """The body that ships with the package: our own mesh, free of any licence but the package's."""
        return cls._from_arrays(load_file(PROCEDURAL_BODY_FILE), "procedural", licensed=False)

    @classmethod
    def from_smplh(
        cls,
        path: str | os.PathLike,
        mano_left: str | os.PathLike | None = None,
        mano_right: str | os.PathLike | None = None,
        gender: str = "neutral",
        vertex_ids: Mapping[str, int] | None = None,
        licensed: bool = True,
    ) -> "HandBodyModel":
        """A body from an SMPL-H file. No code in the file is executed, and neither chumpy nor scipy is needed.

        Args:
            path (`str` or `os.PathLike`): a `.npz` or `.pkl` file, or a folder in one of the usual layouts
                (`smplh/SMPLH_NEUTRAL.npz`, `smplh/neutral/model.npz` and the like).
            mano_left (`str` or `os.PathLike`, *optional*): MANO file with the left hand's mean and components, which
                un-merged SMPL-H files lack. `to_smplx` writes them, and `mean_hand_poses` returns the mean.
            mano_right (`str` or `os.PathLike`, *optional*): the same for the right hand.
            gender (`str`): which file of a folder: `"neutral"`, `"female"` or `"male"`.
            vertex_ids (`Mapping[str, int]`, *optional*): fingertip vertices under smplx's names (`"lthumb"` ...
                `"rpinky"`), for a mesh that is not numbered like the official one.
            licensed (`bool`): `False` if this body is yours to pass on, so that checkpoints may hold it. Our own
                body, as written by `to_smplx`, is recognised. `full_mesh` poses licensed bodies with `smplx`.
        """
        from .smplh_file import find_smplh_file, read_smplh_file

        arrays = read_smplh_file(find_smplh_file(path, gender), mano_left, mano_right)
        return cls._from_arrays(arrays, "smplh", licensed, vertex_ids)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> "HandBodyModel":
        """As in diffusers, except that the arrays stay float32 whatever `torch_dtype` says."""
        dtypes = (kwargs.pop("torch_dtype", None), kwargs.pop("dtype", None))
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        with one_line_error(cls.__name__, os.fspath(pretrained_model_name_or_path)):
            check_indices(model)
        model._nominal_dtype = next((dtype for dtype in dtypes if isinstance(dtype, torch.dtype)), torch.float32)
        return loaded

    @classmethod
    def _check_stored_config(cls, place: str, config: Any) -> None:
        super()._check_stored_config(place, config)
        if config.get("licensed"):
            raise ValueError(
                f"{place} was made with a licensed body (SHA-256 {config.get('sha256')}) that is not stored with it; "
                "pass `body_model=HandBodyModel.from_smplh(...)` with your own copy."
            )

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        """As in diffusers, but only the config of a licensed body is written."""
        if self.config.licensed:
            self.save_config(folder)
        else:
            super()._save(folder, repo_id, *args, **kwargs)

    def forward(self, hand_params: HandParams) -> HandGeometry:
        """The geometry of both hands, visible or not, over any leading batch shape. Differentiable."""
        check_hand_params(hand_params)
        return self.hand_geometry(hand_params.full_pose, hand_params.betas, hand_params.camera)

    def hand_geometry(self, full_pose: torch.Tensor, betas: torch.Tensor, camera: torch.Tensor) -> HandGeometry:
        """`forward` on bare tensors, for `torch.compile` and optimisation loops.

        Args:
            full_pose (`torch.Tensor` of shape `(..., 52, 3)`): axis-angle, radians.
            betas (`torch.Tensor` of shape `(..., 10)`): shape coefficients.
            camera (`torch.Tensor` of shape `(..., 3)`): weak perspective, see `camera`.
        """
        with _full_precision(full_pose.device):
            batch_shape = full_pose.shape[:-2]
            rotations = rotvec_to_rotmat(full_pose.float().reshape(-1, NUM_JOINTS, 3))
            betas = betas.float().reshape(-1, NUM_BETAS)
            template, directions = (
                self.joint_template[self.chain_joints],
                self.joint_shape_directions[self.chain_joints],
            )
            rest_joints = template + torch.einsum("bk,jck->bjc", betas, directions)
            joint_rotations, joints = pose_joints(
                rest_joints, rotations[:, self.chain_joints], self.chain_parents, self.level_sizes
            )
            ids = self.hand_vertex_ids
            pose_directions = self.hand_pose_directions if self.config.num_pose_features else None
            vertices = blend_shapes(self.template[ids], self.shape_directions[ids], betas, pose_directions, rotations)
            weights = dense_weights(self, ids)[:, self.chain_joints]
            vertices = skin(vertices, weights, rest_joints, joint_rotations, joints)

            left, right = self.config.num_left_vertices, self.config.num_right_vertices
            left_vertices, right_vertices, tips = vertices.split([left, right, 10], dim=1)
            joints = torch.cat([joints[:, self.chain_hands].unflatten(1, (2, 16)), tips.unflatten(1, (2, 5))], dim=2)
            joints = joints[:, :, self.openpose_order].reshape(*batch_shape, 2, 21, 3)
            wrists = joint_rotations[:, self.chain_hands].unflatten(1, (2, 16))[:, :, :1]
            fingers = rotations[:, LEFT_HAND.start :].unflatten(1, (2, 15))
            return HandGeometry(
                rotations=torch.cat([wrists, fingers], dim=2).reshape(*batch_shape, 2, 16, 3, 3),
                joints_3d=joints,
                joints_2d=project_weak_perspective(joints.flatten(-3, -2), camera.float()).unflatten(-2, (2, 21)),
                left_vertices=left_vertices.reshape(*batch_shape, left, 3),
                right_vertices=right_vertices.reshape(*batch_shape, right, 3),
            )

    def full_mesh(self, hand_params: HandParams) -> BodyMesh:
        """The whole body, over any leading batch shape. Differentiable.

        A licensed body is posed by `smplx.SMPLH`, which comes under the same licence; any other by our own code.
        """
        check_hand_params(hand_params)
        batch_shape, rows = hand_params.batch_shape, hand_params.reshape(-1)
        if self.config.licensed and len(rows):
            if self._smplx is None:
                # In a tuple, so that it is not registered as a submodule.
                self._smplx = (smplx_model(self),)
            vertices, joints = pose_by_smplx(self._smplx[0], rows)
        else:
            vertices, joints = self._pose_body(rows.full_pose, rows.betas)
        return BodyMesh(
            vertices=vertices.reshape(*batch_shape, self.config.num_vertices, 3),
            joints=joints.reshape(*batch_shape, NUM_JOINTS, 3),
            faces=self.faces,
        )

    def to_smplx(self, path: str | os.PathLike) -> Path:
        """Writes the file that `smplx.create(folder, "smplh", ext="npz")` loads.

        Args:
            path (`str` or `os.PathLike`): a file name ending in `.npz`, or a folder, in which case the file is
                `smplh/SMPLH_NEUTRAL.npz` inside it.

        Returns:
            `Path`: the file. A body from a licensed file stays under that licence.
        """
        path = Path(path)
        if path.suffix != ".npz":
            path = path / "smplh" / "SMPLH_NEUTRAL.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **smplh_arrays(self))  # type: ignore[arg-type]  # none is named allow_pickle
        return path

    def mean_hand_poses(self) -> torch.Tensor:
        """Mean poses of the hands `(2, 45)`, [left, right]: axis-angle, radians, as they come on people.

        Those of our own body where the file has none: the joints' axes are the same in all SMPL-H bodies.
        """
        means, ours = self.hand_means, self.hand_means.new_tensor(_procedural_hand_means())
        return torch.where((means == 0).all(-1, keepdim=True), ours, means)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that it was cast to or loaded with, like the rest of a pipeline; its arrays stay float32."""
        return self._nominal_dtype

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        def keep_float32(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            if tensor.is_floating_point() and moved.dtype != tensor.dtype:
                return tensor.to(moved.device)
            return moved

        self._smplx = None
        self._nominal_dtype = fn(torch.empty(0, dtype=self._nominal_dtype)).dtype
        return super()._apply(keep_float32, recurse)

    def _pose_body(self, full_pose: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices `(B, V, 3)` and joints `(B, 52, 3)` of a pose `(B, 52, 3)` and a shape `(B, 10)`."""
        with _full_precision(full_pose.device):
            rotations = rotvec_to_rotmat(full_pose)
            rest_joints = self.joint_template + torch.einsum("bk,jck->bjc", betas, self.joint_shape_directions)
            joint_rotations, joints = pose_body(rest_joints, rotations)
            pose_directions = self.pose_directions.flatten(0, 1).T if self.config.num_pose_features else None
            vertices = blend_shapes(self.template, self.shape_directions, betas, pose_directions, rotations)
            return skin(vertices, dense_weights(self), rest_joints, joint_rotations, joints), joints

    @classmethod
    def _from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        body: str,
        licensed: bool,
        vertex_ids: Mapping[str, int] | None = None,
    ) -> "HandBodyModel":
        config, buffers = config_and_buffers(arrays, body, licensed, vertex_ids)
        model = cls(**config)
        for name, value in buffers.items():
            getattr(model, name).copy_(torch.tensor(value))
        return model.eval()


def _stored_sha256(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a stored body; a damaged config or state dict may raise any error."""
    with init_empty_weights(include_buffers=True):
        model = HandBodyModel.from_config(dict(config))
    model.load_state_dict(tensors, assign=True)
    return body_sha256(smplh_arrays(model))


register_free_body(HandBodyModel.__name__, lambda: load_file(PROCEDURAL_BODY_FILE), _stored_sha256)


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """No autocast, where the device knows it."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def _positions(joints: Sequence[int], order: Sequence[int]) -> torch.Tensor:
    position = {joint: k for k, joint in enumerate(order)}
    return torch.tensor([position[joint] for joint in joints], dtype=torch.int64)


@functools.cache
def _procedural_hand_means() -> np.ndarray:
    arrays = load_file(PROCEDURAL_BODY_FILE)
    return np.stack([arrays["hands_meanl"], arrays["hands_meanr"]])


@functools.cache
def procedural_body() -> HandBodyModel:
    """The body that ships with the package, loaded once: the default for drawing."""
    return HandBodyModel.procedural()


def load_body_model(path: str | None) -> HandBodyModel:
    """The user's SMPL-H file, or the body that ships with the package."""
    return HandBodyModel.procedural() if path is None else HandBodyModel.from_smplh(path)
