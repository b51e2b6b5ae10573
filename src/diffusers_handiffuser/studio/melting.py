"""Melts a part of an image, as image generators do with hands that they do not resolve."""

import torch
import torch.nn.functional as F

_CELLS = 7
"""Of the noise, per side of the hand."""
_SHIFT = 0.055
_BLUR = 0.022
_EDGE = 0.03
"""Of the hand's size: standard deviations of the shift, of the blur, and of the transition at the hand's edge."""


def melted(image: torch.Tensor, hand: torch.Tensor, amount: float, seed: int) -> torch.Tensor:
    """Warps a hand by smooth noise and blurs it.

    Args:
        image (`torch.Tensor` of shape `(3, size, size)`): in `[0, 1]`.
        hand (`torch.Tensor` of shape `(size, size)`): 1 where the hand is visible, else 0.
        amount (`float`): factor of shift and blur.
        seed (`int`): of the noise.

    Returns:
        `torch.Tensor` of shape `(3, size, size)`, equal to the image if no hand is visible.
    """
    size = image.shape[-1]
    rows, columns = hand.nonzero().unbind(1)
    if not len(rows):
        return image
    extent = float(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
    # As fine for a small hand as for a large one.
    cells = max(4, min(64, round(_CELLS * size / extent)))
    noise = torch.randn(1, 2, cells, cells, generator=torch.Generator().manual_seed(seed))
    flow = F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    soft = (2.5 * _blurred(hand[None], _EDGE * extent)[0]).clamp(0, 1)
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    shift = 2 * _SHIFT * amount * extent / size * soft[..., None] * flow
    source = (torch.stack([u, v], -1) + shift)[None]
    warped = F.grid_sample(image[None], source, mode="bilinear", padding_mode="border", align_corners=False)[0]
    return torch.lerp(image, _blurred(warped, _BLUR * amount * extent), soft)


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of an image `(C, H, W)`; `sigma` in pixels."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 0.3)) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]
