"""Hands as the pictures that public ControlNets and T2I-Adapters were trained on: skeleton, depth, normals, mask.

All are drawn through the parameters' own camera, from the meshes of the visible hands; the rest of the body, of which
HanDiffuser says nothing certain, is left out but for the limbs of the skeleton.
"""

import colorsys
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
"""Of the twenty bones of a hand: the hue goes once round."""
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
"""OpenPose's COCO points that SMPL-H has, each the mean of joints. The nose, the eyes and the ears are missing."""
BODY_LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13))
"""In OpenPose's order, which decides their colours."""
BODY_COLORS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
)
"""Of the points 0 to 13; the limbs take them in their order, darkened to six tenths."""

FARTHEST = 51
"""Brightness of the farthest visible point in a depth picture: a hand stays apart from the black behind it."""
_REFERENCE_SIZE = 512


@torch.no_grad()
def draw_openpose(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> list[Image.Image]:
    """Skeletons on black as controlnet_aux and DWPose draw them, for the openpose ControlNets.

    21 points of each visible hand (blue, bones in twenty hues), and of the body the neck, arms and legs in OpenPose's
    colours. The face has no joints in SMPL-H and is not drawn. Points outside the picture are missing, with the bones
    that end there, as for a detector, and so are points of the body that this leaves without a bone. Sizes are those
    of a 512-pixel picture and scale with the shorter side.
    """
    _check_size(height, width)
    rows = hand_params.to(body_model.device).reshape(-1)
    hands = square_to_pixels(body_model(rows).joints_2d, height, width).tolist()
    joints = project_weak_perspective(body_model.full_mesh(rows).joints, rows.camera)
    bodies = square_to_pixels(joints, height, width).tolist()
    pictures = []
    for body, pair, visible in zip(bodies, hands, rows.hand_visible.tolist(), strict=True):
        picture = Image.new("RGB", (width, height))
        pen = _Pen(picture)
        pen.body({point: _mean(body, names) for point, names in BODY_POINTS.items()})
        for hand, shown in zip(pair, visible, strict=True):
            if shown:
                pen.hand(hand)
        pictures.append(picture)
    return pictures


@torch.no_grad()
def draw_depth(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> list[Image.Image]:
    """Nearness on black, for the depth ControlNets, which were trained on MiDaS' inverse depth.

    The nearest visible point is white, the farthest has brightness 51 of 255, and nearness is linear in between: a
    weak-perspective camera is infinitely far away, where inverse depth is linear in depth. Each picture is normalised
    by itself, as MiDaS' are.
    """
    pictures = []
    for seen, vertices, _ in _rasterized(hand_params, body_model, height, width):
        nearness = torch.zeros(height * width, device=vertices.device)
        if len(seen.pixel):
            depth = seen.depth.flatten()[seen.pixel]
            near, far = depth.min(), depth.max()
            nearness[seen.pixel] = 255 - (255 - FARTHEST) * (depth - near) / (far - near).clamp(min=1e-6)
        pictures.append(_to_picture(nearness.view(height, width, 1).expand(-1, -1, 3)))
    return pictures


@torch.no_grad()
def draw_normal(hand_params: HandParams, body_model: HandBodyModel, height: int, width: int) -> list[Image.Image]:
    """Surface normals as the normal-BAE ControlNet of Stable Diffusion 1.5 knows them (ScanNet's convention).

    Red grows towards the left of the picture, green upwards and blue towards the viewer, each from 0 (away) over 128
    (sideways) to 255. The background faces the viewer, (128, 128, 255), like a wall behind the hands.
    """
    pictures = []
    for seen, vertices, faces in _rasterized(hand_params, body_model, height, width):
        colors = vertices.new_tensor([127.5, 127.5, 255.0]).repeat(height * width, 1)
        if len(seen.pixel):
            normals = F.normalize(seen.interpolate(vertex_normals(vertices[None], faces), faces), dim=-1)
            a, b, c = vertices[faces[seen.face]].unbind(1)
            inside = torch.linalg.cross(b - a, c - a)[:, 2:] > 0  # of a hand, seen at the wrist
            normals = torch.where(inside, -normals, normals)
            colors[seen.pixel] = 127.5 * (1 - normals)  # x right, y down, z forward: left, up and front are minus
        pictures.append(_to_picture(colors.view(height, width, 3)))
    return pictures


@torch.no_grad()
def draw_mask(
    hand_params: HandParams, body_model: HandBodyModel, height: int, width: int, margin: float = 0.0
) -> list[Image.Image]:
    """Silhouettes of the visible hands, white on black, mode "L": what an inpainting pipeline is to repaint.

    Args:
        margin (`float`): widens them by so many metres at the hands' own scale, in a square neighbourhood.
    """
    rows = hand_params.reshape(-1)
    pictures = []
    for i, (seen, vertices, _) in enumerate(_rasterized(rows, body_model, height, width)):
        mask = torch.zeros(height * width, device=vertices.device)
        mask[seen.pixel] = 255.0
        mask = mask.view(1, height, width)
        pixels = math.ceil(margin * float(rows.camera[i, 0]) * min(height, width) / 2)
        pixels = min(pixels, max(height, width))
        for size, padding in (((2 * pixels + 1, 1), (pixels, 0)), ((1, 2 * pixels + 1), (0, pixels))):
            mask = F.max_pool2d(mask, size, stride=1, padding=padding) if pixels else mask
        pictures.append(_to_picture(mask[0]))
    return pictures


CONDITIONS = {"openpose": draw_openpose, "depth": draw_depth, "normal": draw_normal, "mask": draw_mask}


def draw_condition(
    hand_params: HandParams, kind: str, size: int | tuple[int, int], body_model: HandBodyModel | None = None
) -> Image.Image | list[Image.Image]:
    """See `HandParams.to_condition`."""
    if kind not in CONDITIONS:
        raise ValueError(f"`kind` must be one of {', '.join(CONDITIONS)}, got {kind!r}.")
    width, height = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    body_model = procedural_body() if body_model is None else body_model
    pictures = CONDITIONS[kind](hand_params, body_model, height, width)
    return pictures if hand_params.batch_shape else pictures[0]


class _Pen:
    """Draws points and bones of one picture; `points` are `(x, y)` in pixels."""

    def __init__(self, picture: Image.Image):
        self.size = picture.size
        self.draw = ImageDraw.Draw(picture)
        self.unit = min(picture.size) / _REFERENCE_SIZE

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
    """For every row what the rasteriser saw of the visible hands, and their vertices and faces.

    Faces that look away count too: a hand ends at the wrist, and there its inside may show.
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


def _to_picture(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.round().clamp(0, 255).byte().cpu().numpy())


def _check_size(height: int, width: int) -> None:
    for value in (height, width):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`size` must be whole numbers of at least 1 pixel, got {width!r} x {height!r}.")
