"""Skeletons on black, as the images are on which public openpose ControlNets were trained."""

import colorsys
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..hands.body_model import HandBodyModel
from ..hands.params import HandParams
from ..hands.skeleton import OPENPOSE_HAND_EDGES
from .keypoints import LIMBS, PARTS, OpenPoseKeypoints, keypoints_of
from .meshes import rows_of_images
from .strokes import draw_bone, draw_disc, draw_limb

Point = Sequence[float]
Color = tuple[int, ...]

STYLES = ("dwpose", "xinsir", "scaled")


def _hues(whole: Callable[[float], int]) -> tuple[Color, ...]:
    """Twenty colours, once around the hue circle, each channel made a whole number."""
    count = len(OPENPOSE_HAND_EDGES)
    return tuple(tuple(whole(255 * value) for value in colorsys.hsv_to_rgb(i / count, 1.0, 1.0)) for i in range(count))


HAND_EDGE_COLORS = _hues(round)
"""Of the bones of a hand, rounded as OpenCV does, halves to even numbers."""
SCALED_HAND_EDGE_COLORS = _hues(int)
"""The same of the style "scaled", rounded down."""
HAND_POINT_COLOR = (0, 0, 255)
BODY_COLORS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the points; limbs take them in order, darkened to 60 %."""
LIMB_COLORS = tuple(tuple(int(0.6 * channel) for channel in color) for color in BODY_COLORS[: len(LIMBS)])

LIMB_HALF_WIDTH = 4
POINT_RADIUS = 4
_REFERENCE_SIZE = 512


def draw_openpose(
    hand_params: HandParams,
    body_model: HandBodyModel,
    height: int,
    width: int,
    *,
    style: str = "dwpose",
    parts: Sequence[str] | None = None,
    people: bool = False,
) -> list[Image.Image]:
    """Skeletons on black for the openpose ControlNets.

    Drawn are 21 points of each visible hand (blue, bones in twenty hues), and the body with nose, eyes and ears in
    OpenPose's colours. As with a detector, points outside of the image are missing with their bones and limbs. Left
    out is also a body that no arm in the image connects with a visible hand, as in a close-up of hands.

    Args:
        hand_params ([`HandParams`]): any batch shape.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        height (`int`): of the images, pixels.
        width (`int`): of the images, pixels.
        style (`str`): `"dwpose"` draws limbs 8 pixels thick, bones 2 and points of radius 4, whatever the size, as
            controlnet_aux, DWPose and ComfyUI do, pixel by pixel. `"xinsir"` draws thicker limbs in images of 500
            pixels and more, as xinsir's ControlNets for SDXL want them. `"scaled"` draws in proportion to the shorter
            side, as `"dwpose"` at 512 pixels, and also draws the assumed body of a close-up.
        parts (sequence of `str`, *optional*): some of `"body"`, `"hands"` and `"face"`; by default all, but no face in
            the style `"scaled"`.
        people (`bool`): draws all rows of the last batch axis into one image.

    Returns:
        `list` of `PIL.Image.Image`, RGB.
    """
    scaled = style == "scaled"
    if parts is None:
        parts = ("body", "hands") if scaled else PARTS
    rows = hand_params.reshape(math.prod(hand_params.batch_shape))
    points = keypoints_of(rows, body_model, height, width, parts=parts, only_connected=not scaled)
    numbers = [len(group) for group in rows_of_images(hand_params, people)]
    images = []
    for body, hands in zip(points.body.split(numbers), points.hands.split(numbers), strict=True):
        image = OpenPoseKeypoints(body, hands, points.size)
        images.append(_draw_scaled(image, height, width) if scaled else draw_keypoints(image, height, width, style))
    return images


def draw_keypoints(keypoints: OpenPoseKeypoints, height: int, width: int, style: str = "dwpose") -> Image.Image:
    """Key points as controlnet_aux, DWPose and ComfyUI draw them; see [`draw_openpose`] for `"dwpose"`, `"xinsir"`.

    Points with a confidence of 0 are missing. Points of hands in the first row or column are not drawn, nor are their
    bones, as in public code.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    bodies, longer_side = keypoints.body.tolist(), max(height, width)
    half_width = LIMB_HALF_WIDTH
    if style == "xinsir" and longer_side >= 500:
        half_width *= min(2 + longer_side // 1000, 7)
    for (start, end), color in zip(LIMBS, LIMB_COLORS, strict=True):
        for body in bodies:
            if body[start][2] and body[end][2]:
                draw_limb(canvas, body[start][:2], body[end][:2], half_width, color)
    for point, color in enumerate(BODY_COLORS):
        for body in bodies:
            if body[point][2]:
                draw_disc(canvas, _pixel(body[point]), POINT_RADIUS, color)
    for hand in keypoints.hands.transpose(0, 1).flatten(0, 1).tolist():
        points = [_pixel(point) if point[2] else (0, 0) for point in hand]
        for (start, end), color in zip(OPENPOSE_HAND_EDGES, HAND_EDGE_COLORS, strict=True):
            if min(*points[start], *points[end]) > 0:
                draw_bone(canvas, points[start], points[end], color)
        for pixel in points:
            if min(pixel) > 0:
                draw_disc(canvas, pixel, POINT_RADIUS, HAND_POINT_COLOR)
    return Image.fromarray(canvas)


def _pixel(point: Point) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _draw_scaled(keypoints: OpenPoseKeypoints, height: int, width: int) -> Image.Image:
    """The skeletons in proportion to the shorter side; points of the body without a limb are left out."""
    image = Image.new("RGB", (width, height))
    pen = _Pen(image)
    for body in keypoints.body.tolist():
        pen.body(body)
    for hand in keypoints.hands.flatten(0, 1).tolist():
        pen.hand(hand)
    return image


class _Pen:
    """Draws points and bones on an image; `points` are `(x, y, confidence)`, x and y in pixels."""

    def __init__(self, image: Image.Image):
        self.draw = ImageDraw.Draw(image)
        self.unit = min(image.size) / _REFERENCE_SIZE

    def hand(self, points: list[Point]) -> None:
        for (start, end), color in zip(OPENPOSE_HAND_EDGES, SCALED_HAND_EDGE_COLORS, strict=True):
            if points[start][2] and points[end][2]:
                ends = [tuple(points[start][:2]), tuple(points[end][:2])]
                self.draw.line(ends, fill=color, width=max(1, round(2 * self.unit)))
        for point in points:
            if point[2]:
                self.disc(point, HAND_POINT_COLOR)

    def body(self, points: list[Point]) -> None:
        limbs = [
            (limb, color)
            for limb, color in zip(LIMBS, LIMB_COLORS, strict=True)
            if all(points[end][2] for end in limb)
        ]
        for (start, end), color in limbs:
            self.limb(points[start][:2], points[end][:2], color)
        for index in sorted({end for limb, _ in limbs for end in limb}):
            self.disc(points[index], BODY_COLORS[index])

    def disc(self, point: Point, color: Color) -> None:
        self.draw.circle(point[:2], POINT_RADIUS * self.unit, fill=color)

    def limb(self, start: Point, end: Point, color: Color) -> None:
        """An ellipse from point to point, eight pixels thick."""
        centre = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        along = [(b - a) / 2 for a, b in zip(start, end, strict=True)]
        length = math.hypot(*along)
        if length == 0:
            return
        half_width = LIMB_HALF_WIDTH * self.unit
        across = [-along[1] / length * half_width, along[0] / length * half_width]
        angles = [math.tau * step / 48 for step in range(48)]
        outline = [
            tuple(c + math.cos(t) * a + math.sin(t) * b for c, a, b in zip(centre, along, across, strict=True))
            for t in angles
        ]
        self.draw.polygon(outline, fill=color)
