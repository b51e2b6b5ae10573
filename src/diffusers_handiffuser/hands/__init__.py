"""Data and geometry of hands: parameters, skeleton, rotations, camera, body model. No networks, no drawing.

Conventions, stated once for the whole package:

* **Joints.** 52 SMPL-H joints: 22 body, 15 left hand, 15 right hand; fingers in MANO's order (index, middle, pinky,
  ring, thumb). Images have 21 OpenPose joints per hand, wrist first, thumb to pinky, tips included (`skeleton`).
* **Two hands** along an axis are always in the order [left, right].
* **Poses** are axis-angle in radians, one rotation per joint relative to its parent. Hand poses are absolute: zero is
  the flat hand (smplx's `flat_hand_mean=True`, no PCA).
* **6D rotations** are the first two columns of the matrix (`rotations`).
* **Camera frame.** x right, y down, z forward, metres, pelvis at the origin. `global_orient` maps the body (x to its
  left, y up, z forward) into it, so a person who faces the camera has `global_orient = (pi, 0, 0)`.
* **Images.** `u = s (x + tx)`, `v = s (y + ty)` in [-1, 1] over the image's square, which is the centred one over the
  shorter side if the image is not square (`camera`). `map_camera` follows a crop, padding or resize of the image.
* **Numbers** are float32, whatever the precision of the networks.
"""

from ..utils.moved import moved_names
from .body_model import HandBodyModel
from .camera import ImageCrop, map_camera, map_points
from .framing import frame_hands
from .geometry import BodyMesh, HandGeometry
from .params import HandParams

__all__ = [
    "BodyMesh",
    "HandBodyModel",
    "HandGeometry",
    "HandParams",
    "ImageCrop",
    "frame_hands",
    "map_camera",
    "map_points",
]

__getattr__ = moved_names(__name__, {"HandView": "diffusers_handiffuser.rendering"})
