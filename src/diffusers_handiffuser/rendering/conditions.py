"""Condition images of hands for public ControlNets and T2I-Adapters: skeleton, depth, normals, mask.

All are drawn through the parameters' own camera, from the meshes of the visible hands. The rest of the body, which
HanDiffuser does not model reliably, is left out except for the limbs of the skeleton.
"""

import colorsys
import functools
import math
import numbers
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from ..hands.skeleton import JOINT_NAMES, OPENPOSE_HAND_EDGES
from .meshes import join_meshes, visible_meshes
from .rasterizer import Fragments, rasterize, vertex_normals

Point = Sequence[float]
Color = tuple[int, ...]

HAND_EDGE_COLORS = tuple(
    tuple(int(255 * channel) for channel in colorsys.hsv_to_rgb(edge / len(OPENPOSE_HAND_EDGES), 1.0, 1.0))
    for edge in range(len(OPENPOSE_HAND_EDGES))
)
"""Of the twenty bones of a hand: once around the hue circle."""
HAND_POINT_COLOR = (0, 0, 255)

BODY_POINTS = {
    1: ("left_shoulder", "right_shoulder"),
    2: ("right_shoulder",),
    3: ("right_elbow",),
    4: ("right_wrist",),
    5: ("left_shoulder",),
    6: ("left_elbow",),
    7: ("left_wrist",),
    8: ("right_hip",),
    9: ("right_knee",),
    10: ("right_ankle",),
    11: ("left_hip",),
    12: ("left_knee",),
    13: ("left_ankle",),
}
"""OpenPose's COCO points that SMPL-H has, each a mean of joints: all but nose, eyes and ears."""
BODY_LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13))
"""In OpenPose's order, which determines their colours."""
BODY_COLORS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
)
"""Of the points 0 to 13; limbs take them in order, darkened to 60 %."""

FARTHEST = 51
"""Brightness of the farthest visible point in a depth image, which separates hands from the black background."""
_REFERENCE_SIZE = 512


@torch.no_grad()
def draw_openpose(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, hands_only: bool = False
) -> list[Image.Image]:
    """Skeletons on black as controlnet_aux and DWPose draw them, for the openpose ControlNets.

    Drawn are 21 points of each visible hand (blue, bones in twenty hues) and, unless `hands_only`, the body's neck,
    arms and legs in OpenPose's colours. The face has no joints in SMPL-H and is not drawn. As with a detector, points
    outside the image are missing with their bones, and so are points of the body without any bone left. Line widths
    and radii are for 512 pixels and scale with the shorter side.
    """
    _check_size(height, width)
    rows = hand_params.to(body_model.device).reshape(-1)
    hands = square_to_pixels(body_model(rows).joints_2d, height, width).tolist()
    bodies: list = [None] * len(rows)
    if not hands_only:
        joints = project_weak_perspective(body_model.full_mesh(rows).joints, rows.camera)
        bodies = square_to_pixels(joints, height, width).tolist()
    images = []
    for body, pair, visible in zip(bodies, hands, rows.hand_visible.tolist(), strict=True):
        image = Image.new("RGB", (width, height))
        pen = _Pen(image)
        if body is not None:
            pen.body({point: _mean(body, names) for point, names in BODY_POINTS.items()})
        for hand, shown in zip(pair, visible, strict=True):
            if shown:
                pen.hand(hand)
        images.append(image)
    return images


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


CONDITIONS = {"openpose": draw_openpose, "depth": draw_depth, "normal": draw_normal, "mask": draw_mask}


def draw_condition(
    hand_params: HandParams,
    kind: str,
    size: int | tuple[int, int],
    body_model: HandBodyModel | None = None,
    hands_only: bool = False,
) -> Image.Image | list[Image.Image]:
    """See `HandParams.to_condition`; `hands_only` leaves out the limbs of the skeleton."""
    if kind not in CONDITIONS:
        raise ValueError(f"`kind` must be one of {', '.join(CONDITIONS)}, got {kind!r}.")
    width, height = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    if isinstance(width, (tuple, list)):
        raise ValueError(f"`size` must be the side of a square or (width, height), in pixels, got {size!r}.")
    body_model = procedural_body() if body_model is None else body_model
    draw = functools.partial(draw_openpose, hands_only=True) if hands_only and kind == "openpose" else CONDITIONS[kind]
    images = draw(hand_params, body_model, height, width)
    return images if hand_params.batch_shape else images[0]


class _Pen:
    """Draws points and bones on an image; `points` are `(x, y)` in pixels."""

    def __init__(self, image: Image.Image):
        self.size = image.size
        self.draw = ImageDraw.Draw(image)
        self.unit = min(image.size) / _REFERENCE_SIZE

    def hand(self, points: list[Point]) -> None:
        for (start, end), color in zip(OPENPOSE_HAND_EDGES, HAND_EDGE_COLORS, strict=True):
            if self.has(points[start]) and self.has(points[end]):
                ends = [tuple(points[start]), tuple(points[end])]
                self.draw.line(ends, fill=color, width=max(1, round(2 * self.unit)))
        for point in filter(self.has, points):
            self.disc(point, HAND_POINT_COLOR)

    def body(self, points: dict[int, Point]) -> None:
        limbs = [
            (limb, color)
            for limb, color in zip(BODY_LIMBS, BODY_COLORS, strict=False)
            if all(self.has(points[end]) for end in limb)
        ]
        for (start, end), color in limbs:
            self.limb(points[start], points[end], tuple(int(0.6 * channel) for channel in color))
        for index in sorted({end for limb, _ in limbs for end in limb}):
            self.disc(points[index], BODY_COLORS[index])

    def has(self, point: Point) -> bool:
        return 0 <= point[0] < self.size[0] and 0 <= point[1] < self.size[1]

    def disc(self, point: Point, color: Color) -> None:
        self.draw.circle(point, 4 * self.unit, fill=color)

    def limb(self, start: Point, end: Point, color: Color) -> None:
        """An ellipse from point to point, eight pixels thick."""
        centre = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        along = [(b - a) / 2 for a, b in zip(start, end, strict=True)]
        length = math.hypot(*along)
        if length == 0:
            return
        across = [-along[1] / length * 4 * self.unit, along[0] / length * 4 * self.unit]
        angles = [math.tau * step / 48 for step in range(48)]
        outline = [
            tuple(c + math.cos(t) * a + math.sin(t) * b for c, a, b in zip(centre, along, across, strict=True))
            for t in angles
        ]
        self.draw.polygon(outline, fill=color)


def _rasterized(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int
) -> Iterator[tuple[Fragments, torch.Tensor, torch.Tensor]]:
    """For every row, the fragments of the visible hands with their vertices and faces.

    Back faces are drawn as well: a hand mesh is open at the wrist, where its inside may be visible.
    """
    _check_size(height, width)
    cameras = hand_params.camera.to(body_model.device).reshape(-1, 3)
    for meshes, camera in zip(visible_meshes(hand_params, body_model), cameras, strict=True):
        vertices, faces, _ = join_meshes(meshes, camera.device)
        points = square_to_pixels(project_weak_perspective(vertices, camera), height, width)
        screen = torch.cat([points, vertices[:, 2:]], -1)[None]
        seen = rasterize(screen, faces, height, width, cull_backfaces=False)
        yield seen, vertices, faces


def _mean(points: list[Point], names: tuple[str, ...]) -> Point:
    chosen = [points[JOINT_NAMES.index(name)] for name in names]
    return tuple(sum(axis) / len(chosen) for axis in zip(*chosen, strict=True))


def _to_image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.round().clamp(0, 255).byte().cpu().numpy())


def _check_size(height: int, width: int) -> None:
    for value in (height, width):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`size` must be whole numbers of at least 1 pixel, got {width!r} x {height!r}.")
