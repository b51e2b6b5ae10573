"""Upright squares of an image, in whole pixels: what is drawn anew, and where detectors look closer."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..hands import HandParams, ImageCrop, map_camera

Box = tuple[float, float, float, float]
"""Left, top, right, bottom: pixels of the upright image, whose first pixel covers 0 to 1."""


@dataclass(frozen=True)
class Square:
    """A square of an image.

    Args:
        left, top (`int`): its first pixel, which may lie outside of the image.
        side (`int`): pixels.
        image_size (`tuple[int, int]`): width and height of the image.
    """

    left: int
    top: int
    side: int
    image_size: tuple[int, int]

    @classmethod
    def around(cls, box: Box, factor: float, image_size: tuple[int, int], smallest: int = 8) -> "Square":
        """The square about a box, as many times as large as the box's longer side.

        It is moved into the image where it fits in; else it is centred in that direction, and reaches out of it.
        """
        left, top, right, bottom = box
        side = max(smallest, round(factor * max(right - left, bottom - top)))
        corner = [
            _inside(round((low + high - side) / 2), side, length)
            for low, high, length in zip((left, top), (right, bottom), image_size, strict=True)
        ]
        return cls(corner[0], corner[1], side, image_size)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the image that it covers."""
        width, height = self.image_size
        return (
            slice(max(self.top, 0), max(0, min(self.top + self.side, height))),
            slice(max(self.left, 0), max(0, min(self.left + self.side, width))),
        )

    @property
    def inside_of_square(self) -> tuple[slice, slice]:
        """The same rows and columns, counted in the square."""
        rows, columns = self.inside
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The square `(side, side, C)` of an image `(H, W, C)`; beyond the image, its edge is repeated."""
        width, height = self.image_size
        rows = np.arange(self.top, self.top + self.side).clip(0, height - 1)
        columns = np.arange(self.left, self.left + self.side).clip(0, width - 1)
        return pixels[rows[:, None], columns]

    def resized(self, pixels: np.ndarray, size: int) -> Image.Image:
        """The square of an image `(H, W, 3)`, resized to `size` x `size` pixels."""
        cut = Image.fromarray(self.cut(pixels))
        return cut if size == self.side else cut.resize((size, size), Image.Resampling.LANCZOS)

    def to_square(self, hand_params: HandParams, size: int) -> HandParams:
        """Hands in the camera of the image, as the square of `size` x `size` pixels shows them."""
        box = (self.left, self.top, self.left + self.side, self.top + self.side)
        crop = ImageCrop(self.image_size, box, (size, size))
        return hand_params.replace(camera=map_camera(hand_params.camera, crop))

    def points_to_image(self, points: np.ndarray, size: int) -> np.ndarray:
        """Points `(..., 2)` in pixels of the square of that size, as pixels of the image."""
        return points * (self.side / size) + np.array([self.left, self.top])


def _inside(start: int, side: int, length: int) -> int:
    """The start of a side, moved as little as needed to lie within the length, or centred if it is longer."""
    return (length - side) // 2 if side >= length else min(max(start, 0), length - side)
