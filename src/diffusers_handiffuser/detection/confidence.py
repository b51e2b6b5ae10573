"""How likely a fitted hand is right: a logistic regression on what the fit shows, calibrated on images of the studio.

A hand is right if its side is, and if its 21 joints in 3D, about their middle and at the scale of the image, are on
average less than a tenth of the hand's size (the largest distance of two joints) from the truth. The coefficients are
printed by `tools/calibrate_fit.py`; hands with 3D landmarks and hands without have their own. The page "Hands from a
photograph" has the table of what was promised and what held.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..hands.skeleton import SIDES
from .detector import DetectedHand, box_size
from .single_hands import SingleHands


class Regression(NamedTuple):
    """Coefficients, one for each of `FEATURES`, for features with these means and a constant."""

    means: tuple[float, ...]
    weights: tuple[float, ...]
    constant: float


FEATURES = ("log_error", "log_error_ratio", "side_agrees", "log_pixel_error", "facing", "log_size", "score")
"""In this order: log of the error to the 3D landmarks per 5 mm; log of the other side's error per this one's; whether
the detector names the side; log of the error in the image per hundredth of the longer side of the hand's box; how far
the palm or the back faces the camera, 0 edge-on to 1; log of that side per 100 pixels; the detector's confidence.
Values beyond those of the studio's images count as the nearest of them."""

WITH_DEPTH = Regression(
    means=(0.204, 0.576, 0.983, 1.0, 0.802, -0.104, 0.865),
    weights=(-0.717, 0.277, 3.943, -3.617, 1.658, 0.764, -0.424),
    constant=-0.775,
)
WITHOUT_DEPTH = Regression(
    means=(0.0, 0.0, 1.0, 0.168, 0.73, -0.104, 0.865),
    weights=(0.0, 0.0, 0.0, 0.068, 1.992, 0.003, -0.274),
    constant=-1.419,
)


def confidences(
    hands: Sequence[DetectedHand], single: SingleHands, chosen: torch.Tensor, error_pixels: torch.Tensor
) -> torch.Tensor:
    """Probabilities `(M,)` that hands are right.

    Args:
        hands (sequence of [`DetectedHand`]): N hands.
        single ([`SingleHands`]): their fits.
        chosen (`torch.Tensor` of shape `(M,)`, int64): some of them.
        error_pixels (`torch.Tensor` of shape `(M,)`): of the chosen ones on their person.
    """
    values = features(hands, single, chosen, error_pixels)
    deep = torch.isfinite(single.error_metres[chosen])
    return torch.where(deep, _probability(values, WITH_DEPTH), _probability(values, WITHOUT_DEPTH))


def features(
    hands: Sequence[DetectedHand], single: SingleHands, chosen: torch.Tensor, error_pixels: torch.Tensor
) -> torch.Tensor:
    """The `FEATURES` `(M, 7)` of [`confidences`]; NaN where one is not known."""
    picked = [hands[row] for row in chosen.tolist()]
    sizes = torch.tensor([box_size(hand) for hand in picked])
    error, other = single.error_metres[chosen], single.other_error_metres[chosen]
    scores = torch.tensor([torch.nan if hand.confidence is None else float(hand.confidence) for hand in picked])
    agrees = torch.tensor([SIDES.index(hand.side) for hand in picked]) == single.sides[chosen]
    return torch.stack(
        [
            (error / 0.005).clamp_min(0.6).log(),
            (other / error).log().clamp(-0.2, 1.5),
            agrees.float(),
            (100 * error_pixels / sizes).clamp_min(1).log(),
            single.rotations[chosen][:, 2, 1].abs(),
            (sizes / 100).clamp(0.1, 10).log(),
            scores,
        ],
        -1,
    )


def _probability(values: torch.Tensor, regression: Regression) -> torch.Tensor:
    """What is not known counts as its mean."""
    centred = (values - torch.tensor(regression.means)).nan_to_num(0.0)
    return torch.sigmoid(centred @ torch.tensor(regression.weights) + regression.constant)
