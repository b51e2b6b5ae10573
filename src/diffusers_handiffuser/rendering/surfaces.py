"""Images of the surfaces of visible hands, for public ControlNets: depth, normals and masks.

All are drawn through the parameters' own camera. Hands end in a closed wrist; forearms and the rest of the body, which
HanDiffuser does not model reliably, are drawn on demand.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image

from ..hands.body_model import HandBodyModel
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from .meshes import rows_of_images
from .parts import Surface, join_surfaces, visible_surfaces
from .rasterizer import Fragments, rasterize_exactly

FARTHEST = 51
"""Brightness of the farthest visible point in a depth image, which separates hands from the black background."""
_COARSE = 96
"""The shorter side of the image in which it is looked what hides hands, pixels."""
_TOUCHING = 0.01
"""What is so much nearer than a hand hides it, metres."""


@torch.no_grad()
def draw_depth(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    *,
    parts: Sequence[str] = ("hands",),
    people: bool = False,
) -> list[Image.Image]:
    """Nearness on black, for the depth ControlNets, which were trained on MiDaS' inverse depth.

    The nearest visible point of the skin is white, the farthest has brightness 51 of 255, and nearness is linear in
    between: a weak-perspective camera is infinitely far away, where inverse depth is linear in depth. Each image is
    normalised separately, as MiDaS' are.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is drawn.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        parts (sequence of `str`): some of `"hands"`, `"forearms"` (of visible hands) and `"body"` (all but hands).
        people (`bool`): draws all rows of the last batch axis into one image. Nearer surfaces hide farther ones; how
            far people stand from each other is not known, so their pelvises are taken to be at the same depth.
    """
    images = []
    for scene in _scenes(hand_params, body_model, height, width, parts, people):
        seen = scene.seen
        nearness = torch.zeros(height * width, device=body_model.device)
        if len(seen.pixel):
            depth = seen.depth.flatten()[seen.pixel]
            skin = scene.surface.skin[seen.face]
            near, far = (depth[skin] if skin.any() else depth).aminmax()
            nearer = 255 - (255 - FARTHEST) * (depth - near) / (far - near).clamp(min=1e-6)
            nearness[seen.pixel] = nearer.clamp(FARTHEST, 255)
        images.append(to_image(nearness.view(height, width)).convert("RGB"))
    return images


@torch.no_grad()
def draw_normal(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    *,
    parts: Sequence[str] = ("hands",),
    people: bool = False,
) -> list[Image.Image]:
    """Surface normals for the normal-BAE ControlNet of Stable Diffusion 1.5 (ScanNet's convention).

    Red grows towards the left of the image, green upwards and blue towards the viewer, each from 0 (away) over 128
    (sideways) to 255. The background faces the viewer, (128, 128, 255), like a wall behind the hands.

    The arguments are those of [`draw_depth`].
    """
    images = []
    for scene in _scenes(hand_params, body_model, height, width, parts, people):
        seen, surface = scene.seen, scene.surface
        colors = surface.vertices.new_tensor([127.5, 127.5, 255.0]).repeat(height * width, 1)
        normals = F.normalize(seen.interpolate(surface.normals()[None], surface.faces), dim=-1)
        # x right, y down, z forward: left, up and towards the viewer are negative.
        colors[seen.pixel] = 127.5 * (1 - normals)
        images.append(to_image(colors.view(height, width, 3)))
    return images


@torch.no_grad()
def draw_mask(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    margin: float = 0.0,
    *,
    parts: Sequence[str] = ("hands",),
    people: bool = False,
) -> list[Image.Image]:
    """Silhouettes of the visible hands, white on black, mode "L": the area for an inpainting pipeline to repaint.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is drawn.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        margin (`float`): dilates the silhouettes by so many metres at the hands' own scale, in a square neighbourhood.
        parts (sequence of `str`): as in [`draw_depth`].
        people (`bool`): draws all rows of the last batch axis into one image.
    """
    rows = hand_params.reshape(-1)
    silhouettes = (
        _dilated(scene.seen, height, width, margin * scale * min(height, width) / 2)
        for scale, scene in zip(
            rows.camera[:, 0].tolist(), _scenes(rows, body_model, height, width, parts), strict=True
        )
    )
    images = []
    for group in rows_of_images(hand_params, people):
        mask = torch.zeros(height, width, device=body_model.device)
        for silhouette in islice(silhouettes, len(group)):
            mask = mask.maximum(silhouette)
        images.append(to_image(255 * mask))
    return images


@torch.no_grad()
def hidden_by_body(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, parts: Sequence[str]
) -> torch.Tensor:
    """How much of the visible hands of each row its own `parts` hide, from 0 to 1; 0 where no hand is in the image.

    Stage 1 knows where a hand is in the image, but not how far in front of the body.

    Returns:
        `torch.Tensor` of shape `(N,)`: of the N rows of any batch shape, seen in a small image of the same aspect.
    """
    scale = min(1.0, _COARSE / min(height, width))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    rows = hand_params.reshape(-1)
    shares = [torch.zeros(0)]
    for alone, all_parts in zip(
        _scenes(rows, body_model, height, width, ("hands",)),
        _scenes(rows, body_model, height, width, parts),
        strict=True,
    ):
        pixel = alone.seen.pixel
        behind = alone.seen.depth.flatten()[pixel] > all_parts.seen.depth.flatten()[pixel] + _TOUCHING
        shares.append(behind.cpu().float().mean().nan_to_num()[None])
    return torch.cat(shares)


def on_screen(
    vertices: torch.Tensor, camera: torch.Tensor, height: int, width: int, scale: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Vertices `(V, 3)` seen by a camera `(3,)`: x and y in pixels, and the depth in metres times `scale`."""
    points = square_to_pixels(project_weak_perspective(vertices, camera), height, width)
    return torch.cat([points, vertices[:, 2:] * scale], -1)


class _Scene(NamedTuple):
    """All surfaces of an image, and what is seen of them."""

    surface: Surface
    seen: Fragments


def _scenes(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    parts: Sequence[str],
    people: bool = False,
) -> Iterator[_Scene]:
    """The scene of every image."""
    device = body_model.device
    surfaces = visible_surfaces(hand_params, body_model, parts)
    for rows in rows_of_images(hand_params.to(device), people):
        persons = list(islice(surfaces, len(rows)))
        screens = [torch.empty(0, 3, device=device)]
        for person, camera in zip(persons, rows.camera, strict=True):
            screens.append(on_screen(person.vertices, camera, height, width, camera[0] / rows.camera[0, 0]))
        surface = join_surfaces(persons, device)
        # Back faces are never in front, but at the outline they cover pixels whose centres front faces just miss.
        seen = rasterize_exactly(torch.cat(screens)[None], surface.faces, height, width)
        yield _Scene(surface, seen)


def _dilated(seen: Fragments, height: int, width: int, pixels: float) -> torch.Tensor:
    """The silhouette `(H, W)`, 0 or 1, dilated by so many pixels in a square neighbourhood."""
    mask = torch.zeros(height * width, device=seen.pixel.device)
    mask[seen.pixel] = 1.0
    mask = mask.view(1, height, width)
    radius = min(math.ceil(pixels), max(height, width))
    for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        mask = F.max_pool2d(mask, size, stride=1, padding=padding) if radius else mask
    return mask[0]


def to_image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.round().clamp(0, 255).byte().cpu().numpy())
