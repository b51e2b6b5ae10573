"""Points, bones and limbs in the pixels that OpenCV lights: openpose ControlNets were trained on its strokes.

Coordinates are those of pixels, `(x, y)`; what lies outside of the image is cut off. A canvas is an array `(H, W, 3)`,
uint8, which is drawn on in place.
"""

import math
from collections.abc import Sequence

import numpy as np

Color = Sequence[int]
Pixel = tuple[int, int]
Spans = tuple[int, np.ndarray, np.ndarray]
"""The first row, and the leftmost and rightmost pixel of this row and those below."""


def draw_disc(canvas: np.ndarray, centre: Pixel, radius: int, color: Color) -> None:
    """As `cv2.circle(..., thickness=-1)`."""
    rows = np.arange(-radius, radius + 1)
    reach = np.floor(np.sqrt(radius**2 - rows**2)).astype(int)
    _fill(canvas, (centre[1] - radius, centre[0] - reach, centre[0] + reach), color)


def draw_bone(canvas: np.ndarray, start: Pixel, end: Pixel, color: Color) -> None:
    """As `cv2.line(..., thickness=2)`: a strip one pixel to either side, and a small disc at each end."""
    along = np.subtract(end, start)
    length = math.hypot(*along)
    if length > 0:
        across = np.array([-along[1], along[0]]) / length
        corners = np.array([start + across, start - across, end - across, end + across])
        _fill(canvas, _polygon(corners), color)
    draw_disc(canvas, start, 1, color)
    draw_disc(canvas, end, 1, color)


def draw_limb(canvas: np.ndarray, start: Sequence[float], end: Sequence[float], half_width: int, color: Color) -> None:
    """As `cv2.ellipse2Poly` and `cv2.fillConvexPoly` with whole centres, lengths and degrees, as in public code."""
    (x0, y0), (x1, y1) = start, end
    centre = (int((x0 + x1) / 2), int((y0 + y1) / 2))
    half_length = int(math.hypot(x1 - x0, y1 - y0) / 2)
    angle = math.radians(int(math.degrees(math.atan2(y0 - y1, x0 - x1))))
    turn = np.radians(np.arange(361))
    along, across = half_length * np.cos(turn), half_width * np.sin(turn)
    x = centre[0] + along * math.cos(angle) - across * math.sin(angle)
    y = centre[1] + along * math.sin(angle) + across * math.cos(angle)
    _fill(canvas, _polygon(np.rint(np.stack([x, y], 1))), color)


def _polygon(corners: np.ndarray) -> Spans:
    """The outline of a convex polygon `(N, 2)` and what is between its sides."""
    ends = np.roll(corners, -1, 0)
    x, y = np.concatenate([_outline(corners, ends), _sides(corners, ends)], 1)
    first = int(y.min())
    left = np.full(int(y.max()) - first + 1, np.iinfo(np.int64).max)
    right = np.full(len(left), np.iinfo(np.int64).min)
    np.minimum.at(left, y - first, x)
    np.maximum.at(right, y - first, x)
    return first, left, right


def _outline(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Pixels `(2, N)` along edges: one for each column of a flat one and each row of a steep one, and the corners."""
    extent = np.abs(ends - starts)
    steep = extent[:, 1] >= extent[:, 0]
    rising = (ends - starts)[:, 0] * (ends - starts)[:, 1] < 0
    flat = _steps(starts[~steep], ends[~steep], rising[~steep])
    upright = _steps(starts[steep][:, ::-1], ends[steep][:, ::-1], np.zeros(steep.sum(), bool))
    return np.concatenate([flat, upright[::-1], np.floor(starts.T + 0.5).astype(int)], 1)


def _sides(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Pixels `(2, N)` where edges between corners in the middles of rows cross the middles of rows."""
    starts, ends = starts.copy(), ends.copy()
    starts[:, 1], ends[:, 1] = np.floor(starts[:, 1] + 0.5), np.floor(ends[:, 1] + 0.5)
    level = starts[:, 1] == ends[:, 1]
    return _steps(starts[~level][:, ::-1], ends[~level][:, ::-1], np.ones((~level).sum(), bool))[::-1]


def _steps(starts: np.ndarray, ends: np.ndarray, half_up: np.ndarray) -> np.ndarray:
    """Pixels `(2, N)` along segments `(M, 2)` in steps of one in the first coordinate, with the nearest second one.

    They begin at the lower end, rounded in the first coordinate alone. Of two nearest ones `half_up` `(M,)` takes the
    larger.
    """
    swapped = starts[:, :1] > ends[:, :1]
    low, high = np.where(swapped, ends, starts), np.where(swapped, starts, ends)
    extent = high - low
    counts = np.floor(extent[:, 0]).astype(int) + 1
    segment = np.repeat(np.arange(len(low)), counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    slope = extent[:, 1] / np.where(extent[:, 0] > 0, extent[:, 0], 1)
    second = low[segment, 1] + slope[segment] * step
    second = np.where(half_up[segment], np.floor(second + 0.5), np.ceil(second - 0.5))
    return np.stack([np.floor(low[segment, 0] + 0.5) + step, second]).astype(int)


def _fill(canvas: np.ndarray, spans: Spans, color: Color) -> None:
    first, left, right = spans
    height, width = canvas.shape[:2]
    top, bottom = max(first, 0), min(first + len(left), height)
    begin, end = max(int(left.min()), 0), min(int(right.max()) + 1, width)
    if top >= bottom or begin >= end:
        return
    columns = np.arange(begin, end)
    rows = slice(top - first, bottom - first)
    lit = (columns >= left[rows, None]) & (columns <= right[rows, None])
    canvas[top:bottom, begin:end][lit] = color
