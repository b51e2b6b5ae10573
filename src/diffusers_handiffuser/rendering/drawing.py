"""Images of hand parameters for people to look at: shaded meshes and 2D skeletons, without OpenGL or a display."""

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..hands.body_model import HandBodyModel
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from ..hands.skeleton import OPENPOSE_HAND_EDGES, SIDES
from ..utils.images import upright_rgb
from .meshes import join_meshes, visible_meshes
from .rasterizer import rasterize, vertex_normals

FINGER_COLORS = ((230, 60, 60), (240, 160, 40), (80, 190, 90), (70, 160, 230), (160, 90, 220))
"""Thumb, index, middle, ring, pinky."""
_PAPER = (240, 240, 242)
_SUPERSAMPLING = 2


@torch.no_grad()
def draw_hand_mesh(
    hand_params: HandParams, body_model: HandBodyModel, height: int = 256, width: int | None = None
) -> list[Image.Image]:
    """The visible hands as shaded 3D meshes, seen through the parameters' own camera.

    Args:
        hand_params ([`HandParams`]): any batch shape; every row is drawn.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`, *optional*): of the images, pixels; defaults to `height`.

    Returns:
        `list` of `PIL.Image.Image`: one per row, blank if no hand is visible.
    """
    width = height if width is None else width
    _check_size(height, width)
    device = body_model.device
    cameras = hand_params.camera.to(device).reshape(-1, 3)
    images = []
    for meshes, camera in zip(visible_meshes(hand_params, body_model), cameras, strict=True):
        image = np.array(Image.new("RGB", (width, height), _PAPER))
        _blend(image, *_render(*join_meshes(meshes, device), camera, height, width))
        images.append(Image.fromarray(image))
    return images


def draw_skeleton(image: Image.Image, joints_2d: torch.Tensor, hand_visible: torch.Tensor) -> Image.Image:
    """Draws the 2D joints of the visible hands on a copy of an image, each finger in its own colour.

    The wrist is white, a disc on the left hand and a square on the right.

    Args:
        image (`PIL.Image.Image`): the image, turned upright if its EXIF says so; it is not changed.
        joints_2d (`torch.Tensor` of shape `(2, 21, 2)`): in `[-1, 1]` over the image's square, as in [`HandGeometry`].
        hand_visible (`torch.Tensor` of shape `(2,)`, `bool`): [left, right].

    Returns:
        `PIL.Image.Image`, RGB.
    """
    if tuple(joints_2d.shape) != (2, 21, 2):
        raise ValueError(f"`joints_2d` must be of one row, of shape (2, 21, 2), got {tuple(joints_2d.shape)}.")
    if tuple(hand_visible.shape) != (2,):
        raise ValueError(f"`hand_visible` must have shape (2,), got {tuple(hand_visible.shape)}.")
    image = upright_rgb(image)
    pen = ImageDraw.Draw(image)
    points = square_to_pixels(joints_2d.detach().float().cpu(), image.height, image.width).tolist()
    unit = max(1.0, min(image.size) / 128)
    for hand, (side, visible) in enumerate(zip(SIDES, hand_visible.tolist(), strict=True)):
        if not visible:
            continue
        for bone, (start, end) in enumerate(OPENPOSE_HAND_EDGES):
            ends = [tuple(points[hand][start]), tuple(points[hand][end])]
            pen.line(ends, fill=FINGER_COLORS[bone // 4], width=max(1, round(1.2 * unit)))
        for joint, (x, y) in enumerate(points[hand]):
            color = (255, 255, 255) if joint == 0 else FINGER_COLORS[(joint - 1) // 4]
            radius = (1.6 if joint == 0 else 1.0) * unit
            box = (x - radius, y - radius, x + radius, y + radius)
            if joint == 0 and side == "right":
                pen.rectangle(box, fill=color, outline=(0, 0, 0))
            else:
                pen.ellipse(box, fill=color, outline=(0, 0, 0) if joint == 0 else None)
    return image


@torch.no_grad()
def draw_overlay(
    image: Image.Image, hand_params: HandParams, body_model: HandBodyModel, opacity: float = 0.75
) -> Image.Image:
    """The visible hands of all rows as shaded meshes over an image, through the parameters' own cameras.

    Args:
        image (`PIL.Image.Image`): the image; it is not changed.
        hand_params ([`HandParams`]): any batch shape.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        opacity (`float`): of the meshes, 0 to 1.

    Returns:
        `PIL.Image.Image`, RGB, of the image's size.
    """
    image = upright_rgb(image)
    pixels = np.array(image)
    cameras = hand_params.camera.to(body_model.device).reshape(-1, 3)
    for meshes, camera in zip(visible_meshes(hand_params, body_model), cameras, strict=True):
        place, color = _render(*join_meshes(meshes, body_model.device), camera, image.height, image.width)
        if place.numel():  # the rest of a large image need not be touched
            low, high = place.amin(1) // _SUPERSAMPLING, place.amax(1) // _SUPERSAMPLING + 1
            part = pixels[low[0] : high[0], low[1] : high[1]]
            _blend(part, place - _SUPERSAMPLING * low[:, None], color, opacity)
    return Image.fromarray(pixels)


@torch.no_grad()
def draw_preview(
    images: Image.Image | list[Image.Image], hand_params: HandParams, body_model: HandBodyModel, size: int = 256
) -> Image.Image:
    """The image, the 3D hands, and the image with its skeleton, side by side; one line per row.

    Args:
        images (`PIL.Image.Image` or list): `B` images.
        hand_params ([`HandParams`]): `B` rows.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        size (`int`): height of a line, pixels.

    Returns:
        `PIL.Image.Image`, RGB: `B` lines, as wide as the widest.
    """
    _check_size(size, size)
    images = [upright_rgb(image) for image in ([images] if isinstance(images, Image.Image) else images)]
    rows = hand_params.reshape(-1)
    if not images:
        raise ValueError("`images` must hold at least one image.")
    if len(images) != len(rows):
        raise ValueError(f"`images` must be as many as `hand_params` has rows ({len(rows)}), got {len(images)}.")
    lines = []
    joints_2d = body_model(rows.to(body_model.device)).joints_2d
    for i, image in enumerate(images):
        width = max(1, round(size * image.width / image.height))
        resized = image.resize((width, size), Image.Resampling.BICUBIC)
        mesh = draw_hand_mesh(rows[i], body_model, size, width)[0]
        lines.append([resized, mesh, draw_skeleton(resized, joints_2d[i], rows.hand_visible[i])])
    preview = Image.new("RGB", (max(sum(image.width for image in line) for line in lines), size * len(lines)))
    for row, line in enumerate(lines):
        left = 0
        for image in line:
            preview.paste(image, (left, row * size))
            left += image.width
    return preview


def _render(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    vertex_colors: torch.Tensor,
    camera: torch.Tensor,
    height: int,
    width: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels of a supersampled image that show a mesh: their rows and columns `(2, N)`, and colours `(N, 3)`.

    The mesh has vertices `(V, 3)`, metres, faces `(F, 3)` and colours `(V, 3)` in `[0, 1]`. It is seen
    by a camera `(3,)` in an image of this height and width.
    """
    if not len(faces):
        return torch.empty(2, 0, dtype=torch.long), torch.empty(0, 3)
    height, width = height * _SUPERSAMPLING, width * _SUPERSAMPLING
    points = square_to_pixels(project_weak_perspective(vertices, camera), height, width)
    seen = rasterize(torch.cat([points, vertices[:, 2:]], -1)[None], faces, height, width)
    normal = seen.interpolate(vertex_normals(vertices[None], faces), faces)
    light = torch.nn.functional.normalize(vertices.new_tensor([-0.35, -0.6, -1.0]), dim=0)
    brightness = 0.35 + 0.65 * (normal @ light).clamp(0, 1)
    color = seen.interpolate(vertex_colors[None], faces) * brightness[:, None]
    return torch.stack([seen.pixel // width, seen.pixel % width]).cpu(), color.clamp(0, 1).cpu()


def _blend(image: np.ndarray, place: torch.Tensor, color: torch.Tensor, opacity: float = 1.0) -> None:
    """Blends what `_render` returns into an image `(H, W, 3)`, uint8, in place."""
    fine = torch.from_numpy(image.repeat(_SUPERSAMPLING, 0).repeat(_SUPERSAMPLING, 1)) / 255
    rows, columns = place
    fine[rows, columns] = torch.lerp(fine[rows, columns], color, opacity)
    drawn = Image.fromarray((fine * 255).round().byte().numpy())
    image[:] = drawn.resize(image.shape[1::-1], Image.Resampling.BOX)


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"`height` and `width` must be at least 1 pixel, got {height} and {width}.")
