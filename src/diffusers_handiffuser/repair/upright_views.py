"""Square views of a fitted hand in its image, as the judge sees it: upright, a right hand, with the mesh beside."""

import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..hands import HandBodyModel, HandParams
from ..hands.body_arrays import dense_weights
from ..hands.camera import square_to_pixels
from ..hands.skeleton import FINGERS, LEFT_HAND, OPENPOSE_FINGERS, OPENPOSE_HAND_NAMES, RIGHT_HAND
from ..rendering.rasterizer import rasterize_exactly
from ..rendering.surfaces import on_screen

_KNUCKLES = [OPENPOSE_HAND_NAMES.index(f"{finger}1") for finger in OPENPOSE_FINGERS[1:]]
_POINTS_AT_VIEWER = 0.15
"""Of the hand's size: a shorter palm in the image has no direction, and the view is as upright as the image."""
_CORNERS = 1.5
"""A square of this side, parallel to the image's edges, holds every rotated one of side 1."""


class FittedHand(NamedTuple):
    """The one visible hand of a person, in pixels of the image.

    Args:
        side (`int`): index into `SIDES`.
        joints (`torch.Tensor` of shape `(21, 2)`): (x, y).
        joints_3d (`torch.Tensor` of shape `(21, 3)`): metres.
        vertices (`torch.Tensor` of shape `(V, 3)`): x, y and the depth in metres.
        faces (`torch.LongTensor` of shape `(F, 3)`): vertex indices.
        parts (`torch.Tensor` of shape `(V,)`): the part of each vertex: 0 for the palm, 1 to 5 from thumb to pinky.
    """

    side: int
    joints: torch.Tensor
    joints_3d: torch.Tensor
    vertices: torch.Tensor
    faces: torch.Tensor
    parts: torch.Tensor


class Placement(NamedTuple):
    """A square of an image, rotated and perhaps mirrored: a view's pixel is `matrix @ (pixel - centre) + size / 2`.

    Args:
        centre (`torch.Tensor` of shape `(2,)`): (x, y) in pixels of the image.
        matrix (`torch.Tensor` of shape `(2, 2)`): rotation, scale and reflection.
        size (`int`): pixels per side of the view.
    """

    centre: torch.Tensor
    matrix: torch.Tensor
    size: int

    def points(self, pixels: torch.Tensor) -> torch.Tensor:
        """Points `(..., 2)` of the image as points of the view."""
        return (pixels - self.centre) @ self.matrix.T + self.size / 2

    @property
    def scale(self) -> float:
        """Pixels of the view per pixel of the image."""
        return math.sqrt(abs(float(torch.linalg.det(self.matrix))))


def place_view(hand: FittedHand, size: int, reach: float, upright: bool) -> Placement:
    """The view of a hand; that of a left one is mirrored.

    Args:
        hand ([`FittedHand`]): the hand.
        size (`int`): pixels per side of the view.
        reach (`float`): side of the square in the image, in the longer side of the hand's box.
        upright (`bool`): rotates the hand until its palm points up.
    """
    joints = hand.joints.double()
    extent = float((joints.amax(0) - joints.amin(0)).amax())
    rotation = torch.eye(2, dtype=torch.float64)
    palm = joints[_KNUCKLES].mean(0) - joints[0]
    if upright and float(palm.norm()) > _POINTS_AT_VIEWER * extent:
        x, y = (palm / palm.norm()).tolist()
        rotation = torch.tensor([[-y, x], [-x, -y]], dtype=torch.float64)
    turned = joints @ rotation.T
    low, high = turned.amin(0), turned.amax(0)
    extent = max(float((high - low).amax()), 1e-6)
    mirror = torch.tensor([1.0 if hand.side else -1.0, 1.0], dtype=torch.float64)
    scale = size / (reach * extent)
    return Placement(rotation.T @ ((low + high) / 2), scale * mirror[:, None] * rotation, size)


def view_image(image: np.ndarray, placement: Placement) -> torch.Tensor:
    """A view `(3, size, size)`, uint8, antialiased. Beyond its edges, an image repeats its last pixels."""
    half = _CORNERS / 2 * placement.size / placement.scale
    low = [math.floor(value - half) for value in placement.centre.tolist()]
    number = max(2, math.ceil(2 * half) + 1)
    columns, rows = (
        np.clip(np.arange(start, start + number), 0, length - 1)
        for start, length in zip(low, image.shape[1::-1], strict=True)
    )
    region = Image.fromarray(image[rows[:, None], columns])
    shrink = min(1.0, placement.scale)
    if shrink < 1:
        region = region.resize((max(2, round(number * shrink)),) * 2, Image.Resampling.BILINEAR)
    factor = region.width / number
    inverse = factor * torch.linalg.inv(placement.matrix)
    # Pillow maps the middle of a view's pixel to the region.
    offset = factor * (placement.centre - torch.tensor(low, dtype=torch.float64))
    offset = offset - inverse @ torch.full((2,), placement.size / 2, dtype=torch.float64)
    affine = (*inverse[0].tolist(), float(offset[0]), *inverse[1].tolist(), float(offset[1]))
    view = region.transform((placement.size,) * 2, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(view)).permute(2, 0, 1)


def view_mesh(hand: FittedHand, placement: Placement) -> torch.Tensor:
    """What a view shows of a hand's mesh.

    Returns:
        `torch.Tensor` of shape `(3, size, size)`, uint8: the silhouette, 0 or 255; nearness, 255 at the nearest point
        and 51 at the farthest; and the part, 0 for the palm, then 51 more from finger to finger. The last two are 0
        outside of the silhouette.
    """
    size = placement.size
    screen = torch.cat([placement.points(hand.vertices[:, :2].double()), hand.vertices[:, 2:].double()], -1)
    seen = rasterize_exactly(screen[None], hand.faces, size, size)
    drawn = torch.zeros(3, size * size, dtype=torch.uint8)
    if len(seen.pixel):
        depth = seen.depth.flatten()[seen.pixel]
        near, far = depth.aminmax()
        corner = seen.barycentric.argmax(-1, keepdim=True)
        part = hand.parts[hand.faces[seen.face].gather(1, corner)[:, 0]]
        drawn[0, seen.pixel] = 255
        drawn[1, seen.pixel] = (255 - 204 * (depth - near) / (far - near).clamp_min(1e-6)).byte()
        drawn[2, seen.pixel] = (51 * part).byte()
    return drawn.view(3, size, size)


@torch.no_grad()
def fitted_hand(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> FittedHand:
    """The visible hand of [`HandParams`] of batch shape `(1,)`.

    Raises:
        ValueError: if there is more than one row, or not exactly one visible hand.
    """
    visible = hand_params.hand_visible.reshape(-1, 2)
    if len(visible) != 1 or int(visible.sum()) != 1:
        raise ValueError(
            f"`hand_params` must be of batch shape (1,) with one visible hand, got {tuple(hand_params.batch_shape)} "
            f"with {int(visible.sum())}."
        )
    side = int(visible[0].nonzero()[0, 0])
    row = hand_params.reshape(-1).to(body_model.device)
    geometry = body_model(row)
    vertices = (geometry.left_vertices, geometry.right_vertices)[side][0]
    return FittedHand(
        side,
        square_to_pixels(geometry.joints_2d[0, side], height, width).cpu(),
        geometry.joints_3d[0, side].cpu(),
        on_screen(vertices, row.camera[0], height, width).cpu(),
        (body_model.left_faces, body_model.right_faces)[side].cpu(),
        _parts(body_model, side),
    )


def _parts(body_model: HandBodyModel, side: int) -> torch.Tensor:
    """The part of each of a hand's vertices: 0 for the palm, 1 to 5 from thumb to pinky."""
    number = (body_model.config.num_left_vertices, body_model.config.num_right_vertices)[side]
    first = side * body_model.config.num_left_vertices
    ids = body_model.hand_vertex_ids[first : first + number]
    weights = dense_weights(body_model, ids)[:, (LEFT_HAND, RIGHT_HAND)[side]]
    by_finger = weights.unflatten(-1, (len(FINGERS), 3)).sum(-1)
    best, finger = by_finger.max(-1)
    order = torch.tensor([1 + OPENPOSE_FINGERS.index(name) for name in FINGERS], device=finger.device)
    return torch.where(best > 0.5, order[finger], 0).cpu()
