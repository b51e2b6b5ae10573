"""The default judge: says whether a hand of an image is drawn wrong.

A detector's 21 landmarks always have five fingers, so the judge looks at the image. Its judgement rests on geometry: a
further finger along the outline of a hand that stands out in colour from what is around it and on which all five
fitted fingertips lie, or a finger joint that is bent far beyond its anatomical limits. All else is left alone, so few
hands are found to be bad. A network trained on the studio's pairs of good and defective hands may have a say, too, on
images that it finds like the studio's; none comes with the package. No photograph has chosen a weight or a threshold.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch

from ..detection import DetectedHand
from ..detection.detector import check_image
from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from .defect_network import NEAR_REACH, WIDE_REACH, HandDefectNetwork
from .fit_signs import SIGNS, fit_signs
from .judgement import HandJudge, HandJudgement
from .outline import Outline, trace_outline
from .upright_views import FittedHand, fitted_hand, place_view, view_image, view_mesh

_OUTLINE_SIZE, _OUTLINE_REACH = 128, 2.0
_TIPS = 5
_LIES_ON_LANDMARKS = 5.0
"""Hundredths of the hand's size: the mean error up to which a fit can be compared with the image."""
_FAR_BEYOND = 0.5
"""Radians beyond the anatomical limits: more than errors of landmarks explain."""

REASONS: Mapping[str, str] = {
    "extra_finger": "it seems to have a finger too many",
    "missing_finger": "a finger seems to be missing",
    "fused_fingers": "fingers seem to be fused",
    "bent_backwards": "a finger seems to be bent backwards",
    "too_long": "a finger seems to be too long",
    "swapped_side": "it seems to be the other side's hand",
    "blurred": "it seems to be blurred or smeared",
}
"""What is said of each kind of defect that the network names."""


def default_judge(body_model: HandBodyModel | None = None, network: HandDefectNetwork | None = None) -> HandJudge:
    """The judge that repairs use by default.

    Args:
        body_model ([`HandBodyModel`], *optional*): the body that hands were fitted with; by default the procedural
            one.
        network ([`HandDefectNetwork`], *optional*): of `tools/train_judge.py`, in evaluation mode; by default none.

    Returns:
        [`HandJudge`]: it may be called from several threads.

    Examples:
        ```py
        >>> import torch
        >>> from diffusers_handiffuser import find_hands, fit_hands
        >>> from diffusers_handiffuser.detection.finding import read_photograph
        >>> from diffusers_handiffuser.repair import default_judge

        >>> image = read_photograph("drawn.png")
        >>> hand = find_hands(image)[0]
        >>> fitted = fit_hands([hand], image.shape[1::-1])
        >>> default_judge()(image, hand, fitted.hand_params).reason
        ```
    """
    return GeometricHandJudge(procedural_body() if body_model is None else body_model, network)


class GeometricHandJudge:
    """A [`HandJudge`] of geometry and, if there is one, of a network trained on the studio's images.

    The scores of a judgement are the fit's [`SIGNS`]; `"further_fingers"` and `"fingertips"`, see [`Outline`], missing
    where the hand does not stand out from what is around it; and with a network `"defect"`, its probability of a
    defect, and `"studio"`, how like the studio's images it finds this one (below 0 its word does not count).

    Args:
        body_model ([`HandBodyModel`]): the body that hands were fitted with.
        network ([`HandDefectNetwork`], *optional*): in evaluation mode, on the CPU.
    """

    def __init__(self, body_model: HandBodyModel, network: HandDefectNetwork | None = None):
        self.body_model, self.network = body_model, network

    @torch.no_grad()
    def __call__(self, image: np.ndarray, hand: DetectedHand, hand_params: HandParams, /) -> HandJudgement:
        check_image(image)
        fitted = fitted_hand(hand_params, self.body_model, *image.shape[:2])
        signs = fit_signs(hand, hand_params, fitted)
        outline = _outline(image, fitted)
        scores = dict(zip(SIGNS, signs.tolist(), strict=True))
        if outline is not None:
            scores |= {"further_fingers": float(outline.further), "fingertips": float(outline.tips)}
        reason = _geometric_reason(scores)
        if self.network is not None:
            defect, studio, kind = _ask_network(self.network, image, fitted, signs)
            scores |= {"defect": defect, "studio": studio}
            if reason is None and studio >= 0 and defect >= self.network.config.threshold:
                reason = REASONS.get(kind, "it seems to be drawn wrong")
        return HandJudgement(reason is not None, reason or "no clear sign that it is drawn wrong", scores)


def _ask_network(
    network: HandDefectNetwork, image: np.ndarray, fitted: FittedHand, signs: torch.Tensor
) -> tuple[float, float, str]:
    """The probability of a defect, how like the studio's the image is, and the likeliest kind of defect."""
    config = network.config
    near = place_view(fitted, config.near_size, NEAR_REACH, upright=True)
    wide = place_view(fitted, config.wide_size, WIDE_REACH, upright=False)
    near_view = torch.cat([view_image(image, near), view_mesh(fitted, near)])
    wide_view = torch.cat([view_image(image, wide), view_mesh(fitted, wide)[:1]])
    output = network(near_view[None] / 255, wide_view[None] / 255, signs[None])
    likely = output.logits[0].softmax(-1)
    kind = config.kinds[int(likely[1:].argmax())]
    return 1 - float(likely[0]), float(output.studio[0]) - config.studio_threshold, kind


def _outline(image: np.ndarray, fitted: FittedHand) -> Outline | None:
    placement = place_view(fitted, _OUTLINE_SIZE, _OUTLINE_REACH, upright=True)
    joints = placement.points(fitted.joints.double()).float()
    return trace_outline(view_image(image, placement), view_mesh(fitted, placement), joints)


def _geometric_reason(scores: Mapping[str, float]) -> str | None:
    """What geometry alone says against a hand, if anything."""
    if scores["beyond_limits"] > _FAR_BEYOND:
        return "a finger joint is bent far beyond its limits"
    comparable = scores.get("fingertips") == _TIPS and scores["pixel_error"] <= math.log(_LIES_ON_LANDMARKS)
    if comparable and scores["further_fingers"]:
        return "six fingers along the outline"
    return None
