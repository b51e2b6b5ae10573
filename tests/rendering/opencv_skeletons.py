"""Key points drawn by OpenCV, by the calls that controlnet_aux, DWPose and ComfyUI make: the twin of our own drawing.

`python tests/rendering/opencv_skeletons.py` draws the images in `tests/fixtures/skeletons` anew.
"""

import colorsys
import math
from pathlib import Path

import cv2
import numpy as np

from diffusers_handiffuser.rendering.keypoints import OpenPoseKeypoints
from diffusers_handiffuser.rendering.openpose_json import read_openpose_json

RECORDED = Path(__file__).parents[1] / "fixtures" / "skeletons"
LIMBS = (
    *((2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14)),
    *((2, 1), (1, 15), (15, 17), (1, 16), (16, 18)),
)
STYLES = {"close_up": ("dwpose",), "tall": ("dwpose", "xinsir"), "two_people": ("dwpose", "xinsir")}
"""Of the recorded images."""
COLORS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
BONES = [(4 * finger + bone if bone else 0, 4 * finger + bone + 1) for finger in range(5) for bone in range(4)]


def draw(keypoints: OpenPoseKeypoints, height: int, width: int, style: str = "dwpose") -> np.ndarray:
    """`(H, W, 3)`, uint8: limbs on a canvas that is darkened to 60 %, then points, left hands and right hands."""
    canvas = np.zeros((height, width, 3), np.uint8)
    longer_side = max(height, width)
    stick = 4 if style == "dwpose" or longer_side < 500 else 4 * min(2 + longer_side // 1000, 7)
    bodies = keypoints.body.numpy()
    for (one, other), color in zip(LIMBS, COLORS, strict=False):
        for body in bodies:
            (x0, y0, seen0), (x1, y1, seen1) = body[one - 1], body[other - 1]
            if seen0 and seen1:
                length = ((y0 - y1) ** 2 + (x0 - x1) ** 2) ** 0.5
                angle = math.degrees(math.atan2(y0 - y1, x0 - x1))
                centre = (int(np.mean([x0, x1])), int(np.mean([y0, y1])))
                outline = cv2.ellipse2Poly(centre, (int(length / 2), stick), int(angle), 0, 360, 1)
                cv2.fillConvexPoly(canvas, outline, color)
    canvas = (canvas * 0.6).astype(np.uint8)
    for point, color in enumerate(COLORS):
        for body in bodies:
            if body[point][2]:
                cv2.circle(canvas, (int(body[point][0]), int(body[point][1])), 4, color, thickness=-1)
    for side in range(2):
        for hand in keypoints.hands[:, side].numpy():
            points = [(int(x), int(y)) for x, y, _ in hand]
            for bone, (start, end) in enumerate(BONES):
                if min(points[start]) > 0.01 and min(points[end]) > 0.01:
                    color = np.array(colorsys.hsv_to_rgb(bone / len(BONES), 1.0, 1.0)) * 255
                    cv2.line(canvas, points[start], points[end], color, thickness=2)
            for x, y in points:
                if x > 0.01 and y > 0.01:
                    cv2.circle(canvas, (x, y), 4, (0, 0, 255), thickness=-1)
    return canvas


if __name__ == "__main__":
    for path in sorted(RECORDED.glob("*.json")):
        keypoints = read_openpose_json(path)
        assert keypoints.size is not None
        for style in STYLES[path.stem]:
            drawn = draw(keypoints, keypoints.size[1], keypoints.size[0], style)
            cv2.imwrite(str(path.with_suffix(f".{style}.png")), drawn[..., ::-1])
