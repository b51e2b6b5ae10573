"""The weak-perspective camera of `HandParams`, and what becomes of it when an image is cropped, padded or resized.

A point `(x, y, z)` of the camera frame (x right, y down, z forward, metres, pelvis at the origin) is drawn at
`u = s (x + tx)`, `v = s (y + ty)`. `[-1, 1]` spans the image's square: all of a square image, else the centred square
over the shorter side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

Size = tuple[float, float]
Box = tuple[float, float, float, float]

_MAX_STRETCH = 0.5
"""Pixels of the result by which a mapped camera may miss: sides rounded to whole pixels stretch an image a little."""


@dataclass(frozen=True)
class ImageCrop:
    """A box of an image as an image of its own: cropped, padded or resized, or several of these.

    Args:
        image_size (`tuple[float, float]`): width and height of the image, pixels.
        box (`tuple[float, float, float, float]`): left, top, right and bottom, pixels of the image, whose first pixel
            covers 0 to 1. What lies outside the image is padding.
        size (`tuple[float, float]`): width and height that the box is resized to, pixels. Another aspect than the
            box's stretches the image.

    Raises:
        ValueError: if a number is not finite, or a width or height not positive.

    Examples:
        ```py
        >>> from diffusers_handiffuser import HandParams
        >>> from diffusers_handiffuser.hands import ImageCrop, map_camera

        >>> hands = HandParams.zeros()  # in the camera of an image of 1024 x 768 pixels
        >>> crop = ImageCrop((1024, 768), box=(600, 100, 856, 356), size=(512, 512))
        >>> in_crop = hands.replace(camera=map_camera(hands.camera, crop))
        >>> in_image = hands.replace(camera=map_camera(in_crop.camera, crop.inverse()))
        ```
    """

    image_size: Size
    box: Box
    size: Size

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        sides = {"image_size": self.image_size, "box": (right - left, bottom - top), "size": self.size}
        for name, lengths in sides.items():
            if not all(math.isfinite(length) and length > 0 for length in lengths):
                raise ValueError(f"`{name}` must have a positive width and height, got {getattr(self, name)}.")

    @classmethod
    def resized(cls, image_size: Size, size: Size) -> "ImageCrop":
        """All of an image, resized; to another aspect, it is stretched."""
        return cls(image_size, (0, 0, *image_size), size)

    @classmethod
    def centred_square(cls, width: int, height: int) -> "ImageCrop":
        """The square over the shorter side, in whole pixels: where the sides' difference is odd, half a pixel off."""
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return cls((width, height), (left, top, left + side, top + side), (side, side))

    def inverse(self) -> "ImageCrop":
        """The way back: the image as a crop of this result, padded where the box has left something out."""
        (left, top, right, bottom), (width, height) = self.box, self.size
        across, down = width / (right - left), height / (bottom - top)
        box = (
            -left * across,
            -top * down,
            (self.image_size[0] - left) * across,
            (self.image_size[1] - top) * down,
        )
        return ImageCrop(self.size, box, self.image_size)

    def square_map(self) -> tuple[Size, Size]:
        """From `(u, v)` over the square of the image to `(u, v)` over that of the result: factors, and then shifts."""
        before, after = min(self.image_size), min(self.size)
        (left, top, right, bottom), (width, height) = self.box, self.size
        across, down = after * (right - left), after * (bottom - top)
        factors = (width * before / across, height * before / down)
        shifts = (
            width * (self.image_size[0] - left - right) / across,
            height * (self.image_size[1] - top - bottom) / down,
        )
        return factors, shifts


def project_weak_perspective(points: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Projects points of the camera frame.

    Args:
        points (`torch.Tensor` of shape `(..., N, 3)`): metres, camera frame.
        camera (`torch.Tensor` of shape `(..., 3)`): `(s, tx, ty)`; `s` per metre, `tx` and `ty` metres.

    Returns:
        `torch.Tensor` of shape `(..., N, 2)`: `(u, v)`, in `[-1, 1]` over the image's square.
    """
    if points.shape[-1:] != (3,) or points.ndim < 2:
        raise ValueError(f"`points` must have shape (..., N, 3), got {tuple(points.shape)}.")
    _check_camera(camera)
    scale, shift = camera[..., None, :1], camera[..., None, 1:]
    return scale * (points[..., :2] + shift)


def square_to_pixels(points_2d: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`(u, v)` in `[-1, 1]` to pixels.

    Args:
        points_2d (`torch.Tensor` of shape `(..., 2)`): `(u, v)`.
        height (`int`): of the image, pixels.
        width (`int`): of the image, pixels.

    Returns:
        `torch.Tensor` of shape `(..., 2)`: `(x, y)` in pixels; the first pixel covers 0 to 1, so its centre is at 0.5.
    """
    centre = points_2d.new_tensor([width / 2, height / 2])
    return points_2d * (min(height, width) / 2) + centre


def map_camera(camera: torch.Tensor, crop: ImageCrop | Sequence[ImageCrop]) -> torch.Tensor:
    """The camera of a cropped, padded or resized image: every point stays on its pixel.

    `crop.inverse()` maps it back.

    Args:
        camera (`torch.Tensor` of shape `(..., 3)`): `(s, tx, ty)`, of the whole image.
        crop ([`ImageCrop`] or a sequence of them): one for all, or one per row of the first dimension.

    Returns:
        `torch.Tensor` of shape `(..., 3)`: the camera of the result.

    Raises:
        ValueError: if `crop` stretches the image, as a weak-perspective camera has one scale; `map_points` maps its
            joints. Sides rounded to whole pixels are no stretch: their points stay within half a pixel.
    """
    _check_camera(camera)
    for one in [crop] if isinstance(crop, ImageCrop) else crop:
        (across, down), _ = one.square_map()
        mean = math.sqrt(across * down)
        if max(one.size[0] * abs(mean / across - 1), one.size[1] * abs(mean / down - 1)) / 2 > _MAX_STRETCH:
            raise ValueError(
                f"`crop` must not stretch the image, as a camera has one scale, got {one}; `map_points` maps joints."
            )
    factors, shifts = (values.to(camera.device) for values in _square_maps(crop, camera))
    scale = camera[..., :1] * factors.prod(-1, keepdim=True).sqrt()
    return torch.cat([scale, camera[..., 1:] + shifts / (factors * camera[..., :1])], -1).to(camera.dtype)


def map_points(points_2d: torch.Tensor, crop: ImageCrop | Sequence[ImageCrop]) -> torch.Tensor:
    """Projected points in a cropped, padded, resized or stretched image.

    Args:
        points_2d (`torch.Tensor` of shape `(..., 2)`): `(u, v)` over the square of the whole image.
        crop ([`ImageCrop`] or a sequence of them): one for all, or one per row of the first dimension.

    Returns:
        `torch.Tensor` of shape `(..., 2)`: `(u, v)` over the square of the result.
    """
    factors, shifts = (values.to(points_2d) for values in _square_maps(crop, points_2d))
    return points_2d * factors + shifts


def _check_camera(camera: torch.Tensor) -> None:
    if camera.shape[-1:] != (3,):
        raise ValueError(f"`camera` must have shape (..., 3), got {tuple(camera.shape)}.")


def _square_maps(crop: ImageCrop | Sequence[ImageCrop], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors and shifts, float64, that broadcast with `like` `(..., 2 or 3)`."""
    if isinstance(crop, ImageCrop):
        factors, shifts = torch.tensor(crop.square_map(), dtype=torch.float64)
        return factors, shifts
    if like.ndim < 2 or len(crop) != len(like):
        raise ValueError(f"`crop` must be one for all or one per row, of {tuple(like.shape)}, got {len(crop)}.")
    maps = torch.tensor([one.square_map() for one in crop], dtype=torch.float64)
    factors, shifts = maps.reshape(len(crop), 2, *[1] * (like.ndim - 2), 2).unbind(1)
    return factors, shifts
