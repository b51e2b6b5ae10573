"""Skeletons of hands and bodies, as public openpose ControlNets were trained on."""

import colorsys
import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw

from ..hands.body_model import HandBodyModel
from ..hands.camera import project_weak_perspective, square_to_pixels
from ..hands.params import HandParams
from ..hands.skeleton import JOINT_NAMES, OPENPOSE_HAND_EDGES
from .meshes import rows_of_images

STYLES = ("dwpose", "xinsir", "scaled")
PARTS = ("body", "hands", "face")

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

_REFERENCE_SIZE = 512


@torch.no_grad()
def draw_openpose(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    *,
    style: str = "dwpose",
    parts: Sequence[str] = PARTS,
    people: bool = False,
) -> list[Image.Image]:
    """Skeletons on black as controlnet_aux and DWPose draw them, for the openpose ControlNets.

    Drawn are 21 points of each visible hand (blue, bones in twenty hues) and, with the part "body", the body's neck,
    arms and legs in OpenPose's colours. The face has no joints in SMPL-H and is not drawn. As with a detector, points
    outside the image are missing with their bones, and so are points of the body without any bone left. Line widths
    and radii are for 512 pixels and scale with the shorter side.
    """
    images = []
    for rows in rows_of_images(hand_params.to(body_model.device), people):
        image = Image.new("RGB", (width, height))
        pen = _Pen(image)
        if "body" in parts and len(rows):
            joints = project_weak_perspective(body_model.full_mesh(rows).joints, rows.camera)
            for body in square_to_pixels(joints, height, width).tolist():
                pen.body({point: _mean(body, names) for point, names in BODY_POINTS.items()})
        if "hands" in parts and len(rows):
            hands = square_to_pixels(body_model(rows).joints_2d, height, width)
            for hand in hands[rows.hand_visible].tolist():
                pen.hand(hand)
        images.append(image)
    return images


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


def _mean(points: list[Point], names: tuple[str, ...]) -> Point:
    chosen = [points[JOINT_NAMES.index(name)] for name in names]
    return tuple(sum(axis) / len(chosen) for axis in zip(*chosen, strict=True))
