"""Do images show the background, the skin and the hands that they were conditioned on?

Only colours are compared, without a network: the studio's colour words have known values, and the hands that an image
was conditioned on have a known outline. The scores therefore hold for studio captions and not for photographs. The
data set's own images give the upper bound. The paper reports no such numbers.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...hands import HandBodyModel, HandParams
from ...hands.palms import palm_share
from ...studio import Scene
from ...studio.scenes import COLORS, SKIN_TONES
from ...studio.skin import skin_tones

METRICS = ("background", "skin", "skin_within_one", "hand_iou")

_STRIP = 8
"""The background is measured in the upper eighth of the image."""
_LIT_PART = 0.85
_LIT_SHADE = 1.1
"""Skin is measured in the brightest 15 % of the hand, where it is this much brighter than its tone."""
_PALM_PART = 0.75
"""Part of a palm-facing hand's skin that has the palm's colour. All three are fitted to the studio's own images."""
_BOX_MARGIN = 0.25


def score_images(
    images: torch.Tensor, hand_params: HandParams, scenes: Sequence[Scene], body_model: HandBodyModel | None = None
) -> dict[str, torch.Tensor]:
    """Scores images against the scenes that their captions describe and the hands that they were conditioned on.

    Args:
        images (`torch.Tensor` of shape `(N, H, W, 3)`): RGB in [0, 1].
        hand_params (`HandParams` of batch shape `(N,)`): what the images were conditioned on.
        scenes (`Sequence[Scene]`): N.
        body_model (`HandBodyModel`, *optional*): the procedural body by default.

    Returns:
        `dict`, each `(N,)`: `"background"` (1 if the upper eighth of the image is on average nearest to the named
        one of the 11 colours), `"skin"` (1 if the bright part of the hands' outline is nearest to the named one of
        the 8 tones, as its palms or backs look, depending on how the hands are turned), `"skin_within_one"` (the same
        or a neighbour in the table: under varying light, neighbours look alike) and `"hand_iou"` (of the hands'
        outline and the pixels near it whose colour is nearer to the hand's than to the background's). The last three
        are NaN where no hand is visible inside the image.

    Raises:
        ValueError: if `images` has another shape.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) != len(scenes):
        raise ValueError(f"`images` must have shape ({len(scenes)}, H, W, 3), got {tuple(images.shape)}.")
    images = images.float().cpu()
    height, width = images.shape[1:3]
    body_model = body_model or HandBodyModel.procedural()
    masks: Any = hand_params.to_condition("mask", (width, height), body_model=body_model)
    colors = torch.tensor(list(COLORS.values()))
    tones = skin_tones(_PALM_PART * _visible_palm(hand_params, body_model))
    wanted = torch.tensor([list(SKIN_TONES).index(scene.skin) for scene in scenes])

    backgrounds = images[:, : max(1, height // _STRIP)].flatten(1, 2).mean(1)
    background = _nearest(backgrounds, colors) == torch.tensor(
        [list(COLORS).index(scene.background) for scene in scenes]
    )
    distance, overlap = torch.full((2, len(scenes)), torch.nan)
    for row, mask in enumerate(masks):
        inside = torch.from_numpy(np.array(mask)) > 127
        if inside.any():
            skin = _bright_part(images[row][inside]) / _LIT_SHADE
            distance[row] = (_nearest(skin, tones[row]) - wanted[row]).abs()
            overlap[row] = _hand_iou(images[row], inside, backgrounds[row])
    unseen = distance.isnan()
    return {
        "background": background.float(),
        "skin": (distance == 0).float().masked_fill(unseen, torch.nan),
        "skin_within_one": (distance <= 1).float().masked_fill(unseen, torch.nan),
        "hand_iou": overlap,
    }


def named_in_caption(text: str, scene: Scene) -> dict[str, bool]:
    """Whether the caption of a studio scene names its `"background"` colour and its tone of `"skin"`."""
    return {
        "background": re.search(rf"\b{scene.background}\b( \w+)? background\b", text) is not None,
        "skin": f"{scene.skin} skin" in text,
    }


@torch.no_grad()
def _visible_palm(hand_params: HandParams, body_model: HandBodyModel) -> torch.Tensor:
    """How much the visible hands show their palms, `(N,)`, the mean over hands; 0 if none is visible."""
    visible = hand_params.hand_visible.float().cpu()
    share = palm_share(body_model(hand_params.to(body_model.device)).joints_2d).cpu()
    return (share * visible).sum(-1) / visible.sum(-1).clamp_min(1)


def _nearest(color: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Index of the nearest colour in a table `(K, 3)`, for colours `(..., 3)`."""
    return (color[..., None, :] - table).norm(dim=-1).argmin(-1)


def _bright_part(pixels: torch.Tensor) -> torch.Tensor:
    """The mean of the brightest of `pixels` `(N, 3)`."""
    brightness = pixels.mean(-1)
    return pixels[brightness >= brightness.quantile(_LIT_PART)].mean(0)


def _hand_iou(image: torch.Tensor, inside: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Intersection over union of the outline and the hand-coloured pixels, in the outline's box with a margin."""
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    box = []
    for places, limit in ((rows, inside.shape[0]), (columns, inside.shape[1])):
        first, last = int(places[0]), int(places[-1]) + 1
        margin = round(_BOX_MARGIN * (last - first))
        box.append(slice(max(0, first - margin), min(limit, last + margin)))
    hand = image[inside].median(0).values
    near = (image[tuple(box)] - hand).norm(dim=-1) < (image[tuple(box)] - background).norm(dim=-1)
    outline = inside[tuple(box)]
    return (near & outline).sum() / (near | outline).sum()
