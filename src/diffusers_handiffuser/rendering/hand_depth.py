"""Depth of each hand for itself, and the boxes to repaint, as HandRefiner's depth ControlNet expects them.

HandRefiner (Lu et al., ACM Multimedia 2024) reconstructs each hand of an image as a MANO mesh, which is open at the
wrist, and repaints the hands inside padded boxes, guided by the depth of these meshes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from PIL import Image

from ..hands.body_model import HandBodyModel
from ..hands.camera import square_to_pixels
from ..hands.params import HandParams
from .caps import straighten_ends
from .meshes import rows_of_images
from .rasterizer import rasterize_exactly
from .surfaces import on_screen, to_image

BOX_PADDING = 0.15
"""Of the sides of a hand's box, on each side of it."""
MIN_BOX_PADDING = 30
"""Pixels."""
_DEPTH_RANGE = 0.8


@torch.no_grad()
def draw_hand_depth(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, *, people: bool = False
) -> list[Image.Image]:
    """Depth for HandRefiner's ControlNet: `1 - 0.8 (d - min) / (max - min)` of each hand, on black.

    `min` and `max` are those of all that the camera sees of the hand, also outside the image and behind the other
    hand. Where it sees a hand from inside, through the wrist, nothing is drawn.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is drawn.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        people (`bool`): draws all rows of the last batch axis into one image, with the pelvises at the same depth.
    """
    images = []
    for hands in _hands_of_images(hand_params, body_model, height, width, people):
        nearest = torch.full((height * width,), torch.inf, device=body_model.device)
        shades = torch.zeros_like(nearest)
        for hand in hands:
            pixel, depth, shade = hand.inside(height, width)
            nearer = depth < nearest[pixel]
            nearest[pixel[nearer]], shades[pixel[nearer]] = depth[nearer], shade[nearer]
        # HandRefiner cuts off fractions.
        images.append(to_image((255 * shades).floor().view(height, width)).convert("RGB"))
    return images


@torch.no_grad()
def hand_box_masks(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, *, people: bool = False
) -> list[Image.Image]:
    """The padded boxes of the hands that [`draw_hand_depth`] draws, white on black, mode "L", for inpainting.

    A box holds the hand's surface and its 21 joints, and is padded on each side by 15 % of its width or height, by 30
    pixels at least. The arguments are those of [`draw_hand_depth`].
    """
    images = []
    for hands in _hands_of_images(hand_params, body_model, height, width, people):
        mask = torch.zeros(height, width)
        for hand in hands:
            if len(hand.inside(height, width)[0]):
                columns, rows = (_padded(hand.pixels[:, i], hand.joints[:, i]) for i in range(2))
                mask[rows, columns] = 255
        images.append(to_image(mask))
    return images


class _Hand(NamedTuple):
    """What the camera sees of a hand from outside, also where this is out of the image.

    `pixels` are columns and rows `(N, 2)`, `depth` `(N,)` grows away from the viewer, `shade` `(N,)` is from 0.2
    to 1, and `joints` are `(21, 2)` in pixels.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    shade: torch.Tensor
    joints: torch.Tensor

    def inside(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The numbers of the image's pixels that show the hand, and their depth and shade."""
        x, y = self.pixels.T
        shown = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return (y * width + x)[shown], self.depth[shown], self.shade[shown]


def _hands_of_images(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, people: bool
) -> Iterator[list[_Hand]]:
    """The visible hands of every image."""
    for rows in rows_of_images(hand_params.to(body_model.device), people):
        hands = []
        if len(rows):
            geometry = body_model(rows)
            joints = square_to_pixels(geometry.joints_2d, height, width)
            for side, (vertices, faces) in enumerate(
                (
                    (geometry.left_vertices, body_model.left_faces),
                    (geometry.right_vertices, body_model.right_faces),
                )
            ):
                # Straight like MANO's, and as open.
                vertices, faces, _ = straighten_ends(vertices, faces)
                for row in rows.hand_visible[:, side].nonzero()[:, 0].tolist():
                    camera = rows.camera[row]
                    screen = on_screen(vertices[row], camera, height, width, camera[0] / rows.camera[0, 0])
                    hands.append(_seen_from_outside(screen, faces, joints[row, side], height, width))
        yield hands


def _seen_from_outside(
    screen: torch.Tensor, faces: torch.Tensor, joints: torch.Tensor, height: int, width: int
) -> _Hand:
    """A hand on screen `(V, 3)`, drawn in its own box; like HandRefiner, half an image beyond the edges at most."""
    limit = screen.new_tensor([width, height])
    low = (screen[:, :2].amin(0) - 1).floor().maximum(-limit // 2).long()
    high = (screen[:, :2].amax(0) + 1).ceil().minimum(1.5 * limit).long()
    columns, lines = (high - low).clamp(min=1).tolist()
    shifted = screen - torch.cat([low, low.new_zeros(1)])
    seen = rasterize_exactly(shifted[None], faces, lines, columns)
    a, b, c = screen[faces[seen.face], :2].unbind(1)
    outside = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    pixel = seen.pixel[outside]
    depth = seen.depth.flatten()[pixel]
    shade = depth
    if len(depth):
        near, far = depth.aminmax()
        shade = 1 - _DEPTH_RANGE * (depth - near) / (far - near).clamp(min=1e-6)
    return _Hand(torch.stack([pixel % columns, pixel // columns], -1) + low, depth, shade, joints)


def _padded(surface: torch.Tensor, joints: torch.Tensor) -> slice:
    """The padded extent of a hand along one axis, whole pixels, from its surface's pixels and its joints."""
    first = min(int(surface.min()), int(joints.min()))
    last = max(int(surface.max()), int(joints.max()))
    padding = max(int((last - first + 1) * BOX_PADDING), MIN_BOX_PADDING)
    return slice(max(first - padding, 0), max(last + padding + 1, 0))
