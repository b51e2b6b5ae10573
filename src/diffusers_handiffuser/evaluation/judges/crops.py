"""Pictures of single hands, cut out by one rule for everything that looks at hands.

Published scripts cut the middle of the picture, or around what a detector found: the first cuts hands off, the second
drops the hands that came out worst. Here the joints that a picture was conditioned on say where its hands are.
"""

import torch
from PIL import Image

from ...data.geometry import are_inside

MARGIN = 0.25
"""Room on each side of the joints' box, as a part of its longer side: joints lie inside the flesh."""


def hand_boxes(
    joints: torch.Tensor, width: int, height: int, margin: float = MARGIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """The square around each hand.

    Its centre is that of the box around the joints (those outside the picture taken to its edge), its side the longer
    side of that box and a margin on both sides. A square that leaves the picture is moved back inside; one that is
    larger than the picture is cut to the picture's width or height, so that a hand inside the picture is never cut.

    Args:
        joints (`torch.Tensor` of shape `(..., 21, 2)`): (x, y) in pixels.
        width, height (`int`): of the picture.
        margin (`float`): of the box's longer side, on each side.

    Returns:
        `tuple`: boxes `(..., 4)`: left, top, right, bottom in whole pixels (int64), and whether a hand has a joint in
        the picture, `(...)` bool; the box of one that has none says nothing.
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


def hand_crops(
    pictures: torch.Tensor, joints: torch.Tensor, visible: torch.Tensor, size: int, margin: float = MARGIN
) -> tuple[torch.Tensor, torch.Tensor]:
    """The visible hands as pictures of their own, resized with a filter as wide as the scale asks for.

    Args:
        pictures (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): RGB.
        joints (`torch.Tensor` of shape `(N, 2, 21, 2)`): (x, y) in pixels, [left, right].
        visible (`torch.Tensor` of shape `(N, 2)`, bool): which hands are wanted.
        size (`int`): pixels per side of the crops.
        margin (`float`): see `hand_boxes`.

    Returns:
        `tuple`: crops `(M, size, size, 3)` uint8, and where they come from, `(M, 2)`: picture and side. A wanted hand
        without a joint in its picture has none.
    """
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise ValueError(
            f"`pictures` must be uint8 of shape (N, H, W, 3), got {pictures.dtype} {tuple(pictures.shape)}."
        )
    height, width = pictures.shape[1:3]
    boxes, inside = hand_boxes(joints, width, height, margin)
    places = (visible.cpu() & inside).nonzero()
    crops = torch.empty(len(places), size, size, 3, dtype=torch.uint8)
    for number, (picture, side) in enumerate(places.tolist()):
        image = Image.fromarray(pictures[picture].cpu().numpy())
        crops[number] = as_tensor(
            image.resize((size, size), Image.Resampling.BICUBIC, box=tuple(boxes[picture, side].tolist()))
        )
    return crops, places


def as_tensor(image: Image.Image) -> torch.Tensor:
    """A picture as `(H, W, 3)` uint8."""
    data = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return data.view(image.height, image.width, 3)
