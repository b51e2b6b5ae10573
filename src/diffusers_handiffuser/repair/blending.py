"""Pasting a drawn square back into its image: colour and light matched, a soft edge, all other pixels untouched."""

import numpy as np
import torch
import torch.nn.functional as F

from .regions import dilate, erode
from .squares import Square

_FEATHER = 0.02
"""Of the square's side: half the width of the soft edge."""
_LARGEST_SHIFT = 48.0
"""Of 255: the most that a colour is changed to match."""
_OUTLIER = 12.0
"""Of 255: a pixel that differs by more from the rest of the seam counts less, in proportion (Huber)."""
_ROUNDS = 8


def soft_mask(mask: torch.Tensor) -> np.ndarray:
    """The weights of what was drawn, `(S, S)`, uint8: 0 wherever the mask is not set, rising to 255 inside of it.

    Args:
        mask (`torch.Tensor` of shape `(S, S)`, bool): what was drawn anew.
    """
    radius = max(1, round(_FEATHER * len(mask) / 2))
    weights = erode(mask, 2 * radius).float()[None, None]
    for _ in range(2):  # each widens the edge by the radius
        weights = F.avg_pool2d(weights, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    return (255 * weights[0, 0]).round().byte().numpy()


def matched_colors(drawn: np.ndarray, original: np.ndarray, mask: torch.Tensor) -> np.ndarray:
    """What was drawn, in the colour and light of the image at the seam: `(S, S, 3)`, float32.

    For each channel a plane, an offset and a slope, is fitted to the differences along the seam, robustly, as some of
    it crosses the wrist. So shading within the hand stays.

    Args:
        drawn (`np.ndarray` of shape `(S, S, 3)`, uint8): what was drawn.
        original (`np.ndarray` of shape `(S, S, 3)`, uint8): the image before.
        mask (`torch.Tensor` of shape `(S, S)`, bool): what was drawn anew.
    """
    size = len(mask)
    width = max(1, _FEATHER * size)
    seam = mask & ~erode(mask, width)
    beyond = dilate(mask, width) & ~mask
    drawn = drawn.astype(np.float32)
    seam = seam if seam.any() else mask
    if not np.array_equal(drawn[beyond.numpy()], original[beyond.numpy()]):
        seam = seam | beyond  # the painter has drawn around the mask, too: what a VAE does to colours shows there
    rows, columns = np.nonzero(seam.numpy())
    if len(rows) < 3:
        return drawn
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    terms = np.stack([np.ones(len(rows), np.float32), axis[columns], axis[rows]], 1)
    grid = np.stack(np.broadcast_arrays(np.float32(1), axis[None, :], axis[:, None]), -1)
    difference = original[rows, columns].astype(np.float32) - drawn[rows, columns]
    for channel in range(3):
        plane = _robust_plane(terms, difference[:, channel])
        drawn[..., channel] += np.clip(grid @ plane, -_LARGEST_SHIFT, _LARGEST_SHIFT)
    return drawn.clip(0, 255)


def paste(pixels: np.ndarray, drawn: np.ndarray, weights: np.ndarray, square: Square) -> None:
    """Blends a drawn square into an image in place; where a weight is 0, not a bit changes.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3 or 4)`, uint8): the image; its transparency stays.
        drawn (`np.ndarray` of shape `(S, S, 3)`): numbers from 0 to 255.
        weights (`np.ndarray` of shape `(S, S)`, uint8): of what was drawn.
        square ([`Square`]): where it belongs.
    """
    part, own = pixels[square.inside][..., :3], square.inside_of_square
    weight = weights[own].astype(np.float32)[..., None] / 255
    blended = np.rint(part * (1 - weight) + drawn[own] * weight).astype(np.uint8)
    np.copyto(part, blended, where=weight > 0)


def _robust_plane(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients of the terms `(N, K)` for values `(N,)`, by iteratively reweighted least squares."""
    weights = np.ones(len(values), np.float32)
    plane: np.ndarray = np.zeros(terms.shape[1], np.float32)
    ridge = 1e-3 * len(values) * np.diag([0.0, 1.0, 1.0]).astype(np.float32)
    for _ in range(_ROUNDS):
        weighted = terms * weights[:, None]
        solved = np.linalg.solve(weighted.T @ terms + ridge + 1e-6 * np.eye(len(plane)), weighted.T @ values)
        plane = solved.astype(np.float32)
        weights = _OUTLIER / np.maximum(_OUTLIER, np.abs(values - terms @ plane))
    return plane
