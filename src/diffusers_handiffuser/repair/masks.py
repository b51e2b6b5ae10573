"""What of a square is drawn anew: the hand that is wanted, the one that was there, and no other."""

from collections.abc import Sequence

import numpy as np
import torch

from ..hands import HandBodyModel, HandParams
from .regions import colored_region, dilate, shape_of

_MARGIN = 0.03
"""Metres around the meshes; a finger is about 0.02 wide."""
_COLORED_MARGIN = 0.015
"""Metres around what is coloured like the hand, for the soft edge."""


def repaint_mask(
    pixels: np.ndarray,
    fit: HandParams,
    wanted: HandParams,
    others: Sequence[HandParams],
    body_model: HandBodyModel,
) -> torch.Tensor:
    """What is drawn anew of a square of S x S pixels: `(S, S)`, bool.

    The outlines of both meshes, widened by a finger and a half, joined with what is coloured like the hand and
    connected with it: a finger too many lies outside of any mesh.

    Args:
        pixels (`np.ndarray` of shape `(S, S, 3)`, uint8): the square.
        fit ([`HandParams`] of batch shape `(1,)`): the hand that is there, in the camera of the square.
        wanted ([`HandParams`] of batch shape `(1,)`): the hand that is to be there.
        others (sequence of [`HandParams`]): hands that are left alone. Their outlines are no part of the mask.
        body_model ([`HandBodyModel`]): the body that was fitted.
    """
    size = len(pixels)
    old, new = shape_of(fit, body_model, size), shape_of(wanted, body_model, size)
    mask = dilate(old.mask | new.mask, _MARGIN * old.pixels_per_metre)
    mask |= dilate(colored_region(pixels, old), _COLORED_MARGIN * old.pixels_per_metre)
    for other in others:
        mask &= ~shape_of(other, body_model, size).mask
    return mask
