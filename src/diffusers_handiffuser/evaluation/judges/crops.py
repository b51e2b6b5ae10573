"""Hand crops, by one rule for every metric that looks at hands.

Published scripts crop the centre of the image, or around detections: the first cuts hands off, the second leaves out
the worst hands. Here the crop is around the joints that an image was conditioned on.
"""

import torch
from PIL import Image

from ...data.geometry import are_inside
from ...utils.moved import renamed_argument

MARGIN = 0.25
"""Margin on each side of the joints' box, relative to its longer side: joints lie inside the flesh."""


def hand_boxes(
    joints: torch.Tensor, width: int, height: int, margin: float = MARGIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """The square around each hand.

    Its centre is that of the joints' bounding box (joints outside the image are clamped to its edge), its side the
    longer side of that box plus a margin on both sides. A square that leaves the image is moved back inside; one that
    is larger than the image is clipped to the image's width or height, so that a hand inside the image is never cut.

    Args:
        joints (`torch.Tensor` of shape `(..., 21, 2)`): (x, y) in pixels.
        width (`int`): of the image, in pixels.
        height (`int`): of the image, in pixels.
        margin (`float`): on each side, relative to the box's longer side.

    Returns:
        `tuple`: boxes `(..., 4)`: left, top, right, bottom in whole pixels (int64), and whether a hand has a joint in
        the image, `(...)` bool; the box of a hand without one is meaningless.

    Raises:
        ValueError: if `joints` has another shape or `margin` is negative.
    """
    if joints.shape[-2:] != (21, 2):
        raise ValueError(f"`joints` must have shape (..., 21, 2), got {tuple(joints.shape)}.")
    if margin < 0:
        raise ValueError(f"`margin` must not be negative, got {margin}.")
    limits = torch.tensor([width, height])
    points = joints.cpu().double().clamp(min=torch.zeros(2), max=limits)
    low, high = points.amin(-2), points.amax(-2)
    side = ((high - low).amax(-1, keepdim=True) * (1 + 2 * margin)).ceil().clamp(min=1)
    side = torch.minimum(side.expand_as(low), limits.to(low))
    corner = ((low + high - side) / 2).round().clamp(min=torch.zeros(2, dtype=low.dtype), max=limits - side)
    return torch.cat([corner, corner + side], -1).long(), are_inside(joints.cpu(), width, height).any(-1)


@renamed_argument("pictures", "images")
def hand_crops(
    images: torch.Tensor, joints: torch.Tensor, visible: torch.Tensor, size: int, margin: float = MARGIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """Square crops of the visible hands, resized with antialiasing.

    Args:
        images (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): RGB.
        joints (`torch.Tensor` of shape `(N, 2, 21, 2)`): (x, y) in pixels, [left, right].
        visible (`torch.Tensor` of shape `(N, 2)`, bool): which hands are wanted.
        size (`int`): pixels per side of the crops.
        margin (`float`): see `hand_boxes`.

    Returns:
        `tuple`: crops `(M, size, size, 3)` uint8, and `(M, 2)`: the index of each one's image, and its side. A wanted
        hand without a joint in its image has no crop.

    Raises:
        ValueError: if `images` has another dtype or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"`images` must be uint8 of shape (N, H, W, 3), got {images.dtype} {tuple(images.shape)}.")
    height, width = images.shape[1:3]
    boxes, inside = hand_boxes(joints, width, height, margin)
    places = (visible.cpu() & inside).nonzero()
    crops = torch.empty(len(places), size, size, 3, dtype=torch.uint8)
    for number, (row, side) in enumerate(places.tolist()):
        image = Image.fromarray(images[row].cpu().numpy())
        box = tuple(boxes[row, side].tolist())
        crops[number] = as_tensor(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return crops, places


def as_tensor(image: Image.Image) -> torch.Tensor:
    """An image as RGB `(H, W, 3)` uint8."""
    data = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return data.view(image.height, image.width, 3)
