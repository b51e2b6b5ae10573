"""Images of the surfaces of visible hands, for public ControlNets: depth, normals and mask.

All are drawn through the parameters' own camera, from the meshes of the visible hands. The rest of the body, which
HanDiffuser does not model reliably, is left out.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from PIL import Image

from ..hands.body_model import HandBodyModel
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from .meshes import join_meshes, visible_meshes
from .rasterizer import Fragments, rasterize, vertex_normals

FARTHEST = 51
"""Brightness of the farthest visible point in a depth image, which separates hands from the black background."""


@torch.no_grad()
def draw_depth(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> list[Image.Image]:
    """Nearness on black, for the depth ControlNets, which were trained on MiDaS' inverse depth.

    The nearest visible point is white, the farthest has brightness 51 of 255, and nearness is linear in between: a
    weak-perspective camera is infinitely far away, where inverse depth is linear in depth. Each image is normalised
    separately, as MiDaS' are.
    """
    images = []
    for seen, vertices, _ in _rasterized(hand_params, body_model, height, width):
        nearness = torch.zeros(height * width, device=vertices.device)
        if len(seen.pixel):
            depth = seen.depth.flatten()[seen.pixel]
            near, far = depth.min(), depth.max()
            nearness[seen.pixel] = 255 - (255 - FARTHEST) * (depth - near) / (far - near).clamp(min=1e-6)
        images.append(_to_image(nearness.view(height, width, 1).expand(-1, -1, 3)))
    return images


@torch.no_grad()
def draw_normal(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> list[Image.Image]:
    """Surface normals for the normal-BAE ControlNet of Stable Diffusion 1.5 (ScanNet's convention).

    Red grows towards the left of the image, green upwards and blue towards the viewer, each from 0 (away) over 128
    (sideways) to 255. The background faces the viewer, (128, 128, 255), like a wall behind the hands.
    """
    images = []
    for seen, vertices, faces in _rasterized(hand_params, body_model, height, width):
        colors = vertices.new_tensor([127.5, 127.5, 255.0]).repeat(height * width, 1)
        if len(seen.pixel):
            normals = F.normalize(seen.interpolate(vertex_normals(vertices[None], faces), faces), dim=-1)
            a, b, c = vertices[faces[seen.face]].unbind(1)
            inside = torch.linalg.cross(b - a, c - a)[:, 2:] > 0  # of a hand, visible at the wrist
            normals = torch.where(inside, -normals, normals)
            colors[seen.pixel] = 127.5 * (
                1 - normals
            )  # x right, y down, z forward: left, up and towards the viewer are negative
        images.append(_to_image(colors.view(height, width, 3)))
    return images


@torch.no_grad()
def draw_mask(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, margin: float = 0.0
) -> list[Image.Image]:
    """Silhouettes of the visible hands, white on black, mode "L": the area for an inpainting pipeline to repaint.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is drawn.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        margin (`float`): dilates the silhouettes by so many metres at the hands' own scale, in a square neighbourhood.
    """
    rows = hand_params.reshape(-1)
    images = []
    for i, (seen, vertices, _) in enumerate(_rasterized(rows, body_model, height, width)):
        mask = torch.zeros(height * width, device=vertices.device)
        mask[seen.pixel] = 255.0
        mask = mask.view(1, height, width)
        pixels = math.ceil(margin * float(rows.camera[i, 0]) * min(height, width) / 2)
        pixels = min(pixels, max(height, width))
        for size, padding in (((2 * pixels + 1, 1), (pixels, 0)), ((1, 2 * pixels + 1), (0, pixels))):
            mask = F.max_pool2d(mask, size, stride=1, padding=padding) if pixels else mask
        images.append(_to_image(mask[0]))
    return images


def _rasterized(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int
) -> Iterator[tuple[Fragments, torch.Tensor, torch.Tensor]]:
    """For every row, the fragments of the visible hands with their vertices and faces.

    Back faces are drawn as well: a hand mesh is open at the wrist, where its inside may be visible.
    """
    cameras = hand_params.camera.to(body_model.device).reshape(-1, 3)
    for meshes, camera in zip(visible_meshes(hand_params, body_model), cameras, strict=True):
        vertices, faces, _ = join_meshes(meshes, camera.device)
        points = square_to_pixels(project_weak_perspective(vertices, camera), height, width)
        screen = torch.cat([points, vertices[:, 2:]], -1)[None]
        seen = rasterize(screen, faces, height, width, cull_backfaces=False)
        yield seen, vertices, faces


def _to_image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.round().clamp(0, 255).byte().cpu().numpy())
