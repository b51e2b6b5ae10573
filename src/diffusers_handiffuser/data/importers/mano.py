"""Imports hands from estimators of MANO parameters: HaMeR, WiLoR and tools built on them.

The output of these tools, according to their source code (geopavlakos/hamer: `demo.py`, `hamer/models/hamer.py`,
`hamer/datasets/vitdet_dataset.py`, `hamer/utils/renderer.py`; rolpotamias/WiLoR: `demo.py`; warmshao/WiLoR-mini:
`wilor_hand_pose3d_estimation_pipeline.py`):

* `global_orient` and `hand_pose` are rotation matrices (1 and 15 of them), passed to MANO without adding a mean pose,
  so zero rotation is the flat hand, as here; `mean_pose` knows the other convention. WiLoR-mini converts them to
  axis-angle.
* There is one network, for right hands. It sees left hands flipped, so rotations, 3D joints and `pred_cam` of a left
  hand are those of a right hand in the flipped crop. To undo the flip, negate x: (x, -y, -z) of an axis-angle, x of
  the joints, the second number of `pred_cam`. HaMeR's and WiLoR's demos do so for the camera and, when drawing, for
  the mesh, but not for the rotations; WiLoR-mini does so for all of them.
* `pred_cam` = (s, tx, ty) draws a point (X, Y, Z) of MANO's frame near `box_center + box_size / 2 * s * (X + tx, Y +
  ty)`, in pixels. `pred_cam_t_full` (from `cam_crop_to_full`) is the equivalent translation for a perspective camera
  in the middle of the image whose focal length is 5000 / 256 times the image's longer side.
* `pred_keypoints_3d` are 21 joints in OpenPose's order, in metres, without the camera's translation. MANO rotates a
  hand about its wrist, which lies at (0.0957, 0.0064, 0.0062) in the mean right hand, not at the origin.
* MANO's rest frame is that of a right arm stretched sideways in SMPL-H's T-pose, so `global_orient` is the rotation of
  SMPL-H's wrist into the camera frame. MANO's `betas` describe hands and SMPL-H's describe bodies, so they are not
  used; the hand's size goes into the camera.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...detection.placing import PlacedHands, hand_targets, place_hands
from ...hands import HandBodyModel
from ...hands.body_model import procedural_body
from ...hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from ...hands.skeleton import SIDES
from .mean_pose import mean_poses, seem_relative

_MEAN_WRIST = (0.0957, 0.0064, 0.0062)
_NAMES = {
    "global_orient": ("global_orient",),
    "hand_pose": ("hand_pose",),
    "is_right": ("is_right", "right"),
    "image_size": ("img_size", "image_size"),
    "weak_camera": ("pred_cam",),
    "box_center": ("box_center",),
    "box_size": ("box_size",),
    "translation": ("pred_cam_t_full", "cam_t"),
    "focal_length": ("scaled_focal_length", "focal_length"),
    "joints_3d": ("pred_keypoints_3d", "keypoints_3d"),
}


def import_mano_hands(
    people: Sequence[Mapping[str, Any] | Sequence[Mapping[str, Any]]],
    flipped_pose: bool = True,
    flipped_camera: bool = True,
    body_model: HandBodyModel | None = None,
    *,
    flat_hand_mean: bool = True,
    hand_means: torch.Tensor | None = None,
) -> PlacedHands:
    """Fits people to estimated hands.

    A hand is a dict with `global_orient` and `hand_pose` (axis-angle or matrices, arrays or lists, with or without
    dimensions of size 1; also inside a dict `pred_mano_params`), `is_right` (or `right`), `img_size` (width, height),
    and a camera: `pred_cam_t_full` (or `cam_t`) with `scaled_focal_length` (or `focal_length`), in pixels, for a
    camera in the middle of the image; or `pred_cam`, `box_center` and `box_size`. `pred_keypoints_3d`, if given, set
    the size and position of the hand; otherwise it has the body model's size and MANO's mean wrist.

    Args:
        people (sequence): for each person one hand, or a list of one or two hands of different sides. The estimators
            do not say which hands of an image belong together.
        flipped_pose (`bool`): rotations and 3D joints of left hands are those of the flipped crop, as the networks
            of HaMeR and WiLoR return them. `False` for WiLoR-mini.
        flipped_camera (`bool`): `pred_cam` of left hands is that of the flipped crop. `False` for WiLoR-mini, and for
            output saved after the line of HaMeR's and WiLoR's `demo.py` that multiplies it. `pred_cam_t_full` is
            never flipped.
        body_model ([`HandBodyModel`], *optional*): the body of the people; the procedural one by default.
        flat_hand_mean (`bool`): zero rotation is the flat hand, as in HaMeR and WiLoR. `False` for poses relative to
            MANO's mean pose, as smplx takes them by default. Hands that look relative but are read as absolute are
            warned of.
        hand_means (`torch.Tensor` of shape `(2, 45)`, *optional*): with `flat_hand_mean=False`, `hands_mean` of
            MANO's left and right file; else those of `body_model`'s file. Refused with `flat_hand_mean=True`.

    Returns:
        [`PlacedHands`]: one row per person, see `placing` for the assumed body, and the distance between the joints
        and the estimator's.

    Raises:
        ValueError: a hand lacks something, or a number is not finite; poses are relative and MANO's mean is not known.
    """
    body_model = procedural_body() if body_model is None else body_model
    if flat_hand_mean and hand_means is not None:
        raise ValueError("`hand_means` is for relative poses: pass `flat_hand_mean=False` with it.")
    means = None if flat_hand_mean else mean_poses(hand_means, body_model)
    if not len(people):
        raise ValueError("`people` must hold at least one person.")
    rows = len(people)
    rotations, poses = torch.eye(3).repeat(rows, 2, 1, 1), torch.zeros(rows, 2, 45)
    wrists, scales = torch.zeros(rows, 2, 2), torch.ones(rows, 2)
    joints: dict[tuple[int, int], torch.Tensor] = {}
    joints_3d = torch.full((rows, 2, 21, 3), torch.nan)
    visible, sizes = torch.zeros(rows, 2, dtype=torch.bool), torch.ones(rows, 2)
    for i, hands in enumerate(people):
        for hand in [hands] if isinstance(hands, Mapping) else hands:
            found = _Hand(hand, f"`people[{i}]`", flipped_pose, flipped_camera, means)
            if visible[i, found.side]:
                raise ValueError(f"`people[{i}]` has two {SIDES[found.side]} hands; give each a person of its own.")
            place = (i, found.side)
            visible[place] = True
            rotations[place], poses[place], sizes[i] = found.rotation, found.pose, found.image_size
            wrists[place], scales[place] = found.draw(found.wrist[None])[0], found.pixels_per_metre()
            if found.joints_3d is not None:
                joints[place] = found.draw(found.joints_3d)
                joints_3d[place] = found.joints_3d
    hands_of = (rotations[visible], poses[visible], visible.nonzero()[:, 1], joints_3d[visible])
    if flat_hand_mean and visible.any() and seem_relative(*hands_of, body_model):
        warnings.warn(
            "The poses of these hands look relative to MANO's mean pose, but are read as absolute; pass "
            "`flat_hand_mean=False` if they are.",
            stacklevel=2,
        )
    targets = hand_targets(rotations, poses, wrists, scales, body_model)
    for place, drawn in joints.items():
        targets[place] = drawn
    return place_hands(rotations, poses, targets, visible, sizes, body_model)


class _Hand:
    """The absolute pose and the camera of one estimated hand, with the flip undone."""

    def __init__(
        self,
        hand: Mapping[str, Any],
        where: str,
        flipped_pose: bool,
        flipped_camera: bool,
        means: torch.Tensor | None = None,
    ):
        values = {**hand, **hand.get("pred_mano_params", {})}
        self.values = {
            name: next((values[key] for key in keys if values.get(key) is not None), None)
            for name, keys in _NAMES.items()
        }
        self.where = where
        self.side = SIDES.index("right" if float(self._numbers("is_right", 1)[0]) > 0.5 else "left")
        left = self.side == SIDES.index("left")
        mirror = torch.tensor([-1.0 if left else 1.0, 1.0, 1.0])
        flip_pose, flip_camera = left and flipped_pose, left and flipped_camera

        wrist, fingers = self._rotations("global_orient", 1), self._rotations("hand_pose", 15)
        if means is not None:
            mean = means[SIDES.index("right") if flip_pose else self.side]
            fingers = rotvec_to_rotmat(rotmat_to_rotvec(fingers) + mean.reshape(15, 3))
        rotations = torch.cat([wrist, fingers])
        if flip_pose:
            rotations = mirror[:, None] * rotations * mirror
        self.rotation, self.pose = rotations[0], rotmat_to_rotvec(rotations[1:]).flatten()
        self.image_size = self._numbers("image_size", 2)
        self.joints_3d = None
        if self.values["joints_3d"] is not None:
            points = self._numbers("joints_3d", 63).reshape(21, 3)
            self.joints_3d = points * mirror if flip_pose else points
        self.wrist = mirror * torch.tensor(_MEAN_WRIST) if self.joints_3d is None else self.joints_3d[0]

        self.perspective = self.values["translation"] is not None
        if self.perspective:
            self.translation = self._numbers("translation", 3)
            self.focal_length = self._numbers("focal_length", None).mean()
            if not self.translation[2] > 0:
                raise ValueError(
                    f"{where}: the hand must be in front of the camera, got `cam_t` {self.translation.tolist()}"
                )
        else:
            scale, *shift = self._numbers("weak_camera", 3)
            self.shift = torch.stack(shift) * (mirror[:2] if flip_camera else 1.0)
            self.scale = scale * self._numbers("box_size", 1)[0] / 2
            self.box_center = self._numbers("box_center", 2)
            if not self.scale > 0:
                raise ValueError(f"{where}: `pred_cam` must have a positive scale, got {float(scale)}")

    def draw(self, points: torch.Tensor) -> torch.Tensor:
        """Projects points `(N, 3)` in MANO's frame to pixels `(N, 2)`."""
        if not self.perspective:
            return self.box_center + self.scale * (points[:, :2] + self.shift)
        points = points + self.translation
        return self.image_size / 2 + self.focal_length * points[:, :2] / points[:, 2:]

    def pixels_per_metre(self) -> torch.Tensor:
        """The scale at the wrist."""
        if not self.perspective:
            return self.scale
        return self.focal_length / (self.wrist[2] + self.translation[2])

    def _rotations(self, name: str, number: int) -> torch.Tensor:
        values = self._numbers(name, None)
        if values.numel() == 9 * number:
            return values.reshape(number, 3, 3)
        if values.numel() == 3 * number:
            return rotvec_to_rotmat(values.reshape(number, 3))
        raise ValueError(
            f"{self.where}: `{name}` must hold {number} rotations, as axis-angle ({3 * number} numbers) or matrices "
            f"({9 * number}); PCA coefficients are not supported; got {values.numel()} numbers"
        )

    def _numbers(self, name: str, number: int | None) -> torch.Tensor:
        value, called = self.values[name], " or ".join(f"`{key}`" for key in _NAMES[name])
        if value is None:
            raise ValueError(f"{self.where}: {called} is missing")
        value = value.detach().cpu() if isinstance(value, torch.Tensor) else value
        numbers = torch.from_numpy(np.asarray(value, np.float32).reshape(-1).copy())
        if number is not None and numbers.numel() != number:
            raise ValueError(f"{self.where}: {called} must hold {number} numbers, got {numbers.numel()}")
        if not torch.isfinite(numbers).all():
            raise ValueError(f"{self.where}: {called} holds a number that is not finite")
        return numbers
