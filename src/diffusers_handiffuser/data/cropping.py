"""Square crops without padding, and mirroring; the hands stay on their pixels.

The paper's images show black bars where crops extend beyond the photograph. Here a crop lies inside its image, or the
row is refused. The paper does not say how crops are chosen; the rule below is ours.
"""

import math

import numpy as np
import torch
from PIL import Image, ImageOps

from ..hands import HandBodyModel, HandParams, ImageCrop, map_camera
from .captions import swap_sides
from .geometry import are_inside, body_joints_in_pixels, hand_joints_in_pixels

AROUND = ("person", "hands")


class CropRefused(ValueError):
    """No square inside the image contains the required joints; the message says why."""


def square_around(
    needed: np.ndarray, wanted: np.ndarray, width: int, height: int, margin: float = 0.15, min_side: int = 0
) -> tuple[int, int, int, int]:
    """The square inside the image that contains all `needed` points and as many `wanted` ones as fit.

    Args:
        needed (`np.ndarray` of shape `(N, 2)`): (x, y) in pixels, inside the image.
        wanted (`np.ndarray` of shape `(M, 2)`): optional points, inside the image.
        width (`int`): width of the image, pixels.
        height (`int`): height of the image, pixels.
        margin (`float`): space on each side, as a fraction of the points' extent; reduced if the image is too small.
        min_side (`int`): minimum side of the square, pixels; ignored if the image is smaller.

    Returns:
        `tuple`: left, top, right, bottom in whole pixels. Raises [`CropRefused`] if the needed points do not fit.
    """
    largest = min(width, height)
    low, high = np.floor(needed.min(0)), np.ceil(needed.max(0))
    span = int((high - low).max())
    if span > largest:
        raise CropRefused(f"the hands span {span} pixels, but the shorter side of the image has {largest}")
    points = np.concatenate([needed, wanted])
    extent = (points.max(0) - points.min(0)).max()
    side = min(largest, max(math.ceil(extent * (1 + 2 * margin)), min_side, span, 1))
    corner = np.round((points.max(0) + points.min(0)) / 2 - side / 2)
    corner = np.clip(corner, high - side, low)
    left, top = np.clip(corner, 0, [width - side, height - side]).astype(int).tolist()
    return left, top, left + side, top + side


def crop_camera(hand_params: HandParams, box: tuple[int, int, int, int], width: int, height: int) -> HandParams:
    """The hands in the camera of the crop: every joint stays on its pixel, exactly.

    Args:
        hand_params ([`HandParams`]): any batch shape, in the camera of the whole image.
        box (`tuple`): left, top, right, bottom of a square, pixels.
        width (`int`): width of the whole image, pixels.
        height (`int`): height of the whole image, pixels.
    """
    left, top, right, bottom = box
    side = right - left
    if side <= 0 or bottom - top != side:
        raise ValueError(f"`box` must be a square (left, top, right, bottom), got {box}.")
    crop = ImageCrop((width, height), box, (side, side))
    return hand_params.replace(camera=map_camera(hand_params.camera, crop))


def crop_row(
    image: Image.Image,
    hand_params: HandParams,
    body_model: HandBodyModel,
    around: str = "person",
    margin: float = 0.15,
    min_side: int = 0,
    size: int | None = None,
) -> tuple[Image.Image, HandParams, tuple[int, int, int, int]]:
    """Crops a square around one person or that person's hands.

    The crop contains every joint of the visible hands that lies in the image. `around="person"` also includes as many
    of the body's joints as fit; `around="hands"` ignores them.

    Args:
        image (`PIL.Image.Image`): the whole image.
        hand_params ([`HandParams`]): one person, no batch dimension.
        body_model ([`HandBodyModel`]): the body that the parameters pose.
        around (`str`): `"person"` or `"hands"`.
        margin (`float`): see `square_around`.
        min_side (`int`): see `square_around`.
        size (`int`, *optional*): pixels per side to resize the crop to.

    Returns:
        `tuple`: the crop, its [`HandParams`], and the box (left, top, right, bottom) in pixels of `image`. Raises
        [`CropRefused`] if there is no such square.
    """
    if around not in AROUND:
        raise ValueError(f"`around` must be one of {AROUND}, got {around!r}.")
    if hand_params.batch_shape:
        raise ValueError(f"`hand_params` must be of one person, got batch shape {tuple(hand_params.batch_shape)}.")
    hands = hand_joints_in_pixels(hand_params, body_model, *image.size)
    needed = _points_inside(hands[hand_params.hand_visible.cpu()], *image.size)
    if not len(needed):
        raise CropRefused("no visible hand lies in the image")
    wanted = needed[:0]
    if around == "person":
        wanted = _points_inside(body_joints_in_pixels(hand_params, body_model, *image.size), *image.size)
    box = square_around(needed, wanted, *image.size, margin, min_side)
    cropped = crop_camera(hand_params, box, *image.size)
    if size is None:
        return image.crop(box), cropped, box
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box), cropped, box


def mirror_row(image: Image.Image, hand_params: HandParams, text: str) -> tuple[Image.Image, HandParams, str]:
    """Mirrors image, hands and caption: swaps left and right in all three."""
    return ImageOps.mirror(image), hand_params.mirror(), swap_sides(text)


def _points_inside(joints: torch.Tensor, width: int, height: int) -> np.ndarray:
    joints = joints.reshape(-1, 2)
    return joints[are_inside(joints, width, height)].double().numpy()
