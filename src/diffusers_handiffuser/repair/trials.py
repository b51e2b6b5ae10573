"""One hand drawn anew, again and again until a look at the result shows a better one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..detection import HandDetector
from ..hands import HandBodyModel, HandParams
from .agreement import Agreement, agreement
from .blending import matched_colors, paste, soft_mask
from .found_hands import FoundHand, fit_each, hand_at, joints_in_pixels, look_closer
from .judgement import HandJudge
from .masks import repaint_mask
from .painting import HandCrop, HandPainter, PaintingError
from .squares import Box, Square

CROP = 1.6
"""Times the longer side of the box around landmarks and meshes: the side of the square that is drawn anew."""

_MASK_SIZE = 256
"""Pixels per side at which masks are made, at most."""


@dataclass(frozen=True)
class Tools:
    """What every hand is repaired with.

    Args:
        painter ([`HandPainter`]): draws.
        detector ([`HandDetector`]): looks again.
        judge ([`HandJudge`]): must not call the result bad.
        body_model ([`HandBodyModel`]): is fitted.
        prompt (`str`, *optional*): of the whole image; by default it names the hand's side.
        negative_prompt (`str`, *optional*): likewise.
        strengths (sequence of `float`): of the tries.
        seed (`int`): of the first try.
        advance (`Callable`): called after each try.
    """

    painter: HandPainter
    detector: HandDetector
    judge: HandJudge
    body_model: HandBodyModel
    prompt: str | None
    negative_prompt: str | None
    strengths: Sequence[float]
    seed: int
    advance: Callable[[], Any]


@dataclass(frozen=True)
class Trial:
    """The outcome of the tries at one hand.

    Args:
        before ([`Agreement`]): of the old hand with the one that is wanted.
        after ([`Agreement`], *optional*): of the accepted one, or of the best that was not.
        hand ([`FoundHand`], *optional*): the accepted one.
        drawn (`np.ndarray` of shape `(S, S, 3)`, *optional*): what is pasted, numbers from 0 to 255.
        weights (`np.ndarray` of shape `(S, S)`, uint8, *optional*): of what is pasted.
        reason (`str`): why it was accepted, or why nothing was.
    """

    before: Agreement
    after: Agreement | None
    hand: FoundHand | None
    drawn: np.ndarray | None
    weights: np.ndarray | None
    reason: str


def try_repairs(
    pixels: np.ndarray,
    square: Square,
    hand: FoundHand,
    wanted: HandParams,
    others: Sequence[HandParams],
    tools: Tools,
) -> Trial:
    """Draws a hand until it is accepted: it agrees better with the one wanted, and the judge does not call it bad.

    Args:
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8): the image, which is not changed.
        square ([`Square`]): what is drawn anew.
        hand ([`FoundHand`]): the old hand.
        wanted ([`HandParams`] of batch shape `(1,)`): in the camera of the image.
        others (sequence of [`HandParams`]): hands that are left alone.
        tools ([`Tools`]): the rest.
    """
    body_model, size = tools.body_model, tools.painter.size
    before = agreement(pixels, square, hand, wanted, body_model)
    small = min(size, _MASK_SIZE)
    old, new, *left_alone = (square.to_square(one, small) for one in (hand.fit, wanted, *others))
    mask = repaint_mask(np.asarray(square.resized(pixels, small)), old, new, left_alone, body_model)
    crop, mask_image = square.resized(pixels, size), _to_image(mask, size)
    weights, original = _weights(mask, square), square.cut(pixels)
    joints = joints_in_pixels(wanted, body_model, square.image_size)
    trial, best, reasons = pixels.copy(), None, []
    for number, strength in enumerate(tools.strengths):
        task = HandCrop(
            crop,
            mask_image,
            square.to_square(wanted, size),
            f"a {hand.side} hand" if tools.prompt is None else tools.prompt,
            tools.negative_prompt,
            float(strength),
            tools.seed + number,
        )
        try:
            painted = _checked(tools.painter(task), tools.painter)
        except PaintingError as error:
            reasons.append((-1.0, str(error)))
            tools.advance()
            continue
        painted = painted.resize((square.side,) * 2, Image.Resampling.LANCZOS) if size != square.side else painted
        drawn = matched_colors(np.array(painted), original, _resized(mask, square.side))
        trial[square.inside] = pixels[square.inside]
        paste(trial, drawn, weights, square)
        found = _look_again(trial, square, joints, tools)
        tools.advance()
        if found is None:
            reasons.append((-1.0, "no hand was found in what was drawn"))
            continue
        after = agreement(trial, square, found, wanted, body_model)
        best = after if best is None or after.value > best.value else best
        if after.value <= before.value:
            what = (
                f"what was drawn agrees no better with the hand wanted: {after.value:.2f}, before {before.value:.2f}"
            )
            reasons.append((after.value, what))
            continue
        judgement = tools.judge(trial, found.detected, found.fit)
        if not judgement.bad:
            reason = f"agrees better with the hand wanted: {after.value:.2f}, before {before.value:.2f}"
            return Trial(before, after, found, drawn, weights, reason)
        reasons.append((after.value, f"what was drawn is bad, too: {judgement.reason}"))
    return Trial(before, best, None, None, None, max(reasons, key=lambda reason: reason[0])[1])


def _weights(mask: torch.Tensor, square: Square) -> np.ndarray:
    """The soft weights `(side, side)` of what is drawn, 0 along the square's edges within the image."""
    large = _resized(mask, square.side)
    (width, height), last = square.image_size, square.side - 1
    right, bottom = square.left + square.side, square.top + square.side
    for is_inner, rows, columns in (
        (square.left > 0, slice(None), 0),
        (right < width, slice(None), last),
        (square.top > 0, 0, slice(None)),
        (bottom < height, last, slice(None)),
    ):
        if is_inner:
            large[rows, columns] = False
    return soft_mask(large)


def _to_image(mask: torch.Tensor, size: int) -> Image.Image:
    image = Image.fromarray(mask.numpy().astype(np.uint8) * 255)
    return image.resize((size, size), Image.Resampling.NEAREST)


def _resized(mask: torch.Tensor, size: int) -> torch.Tensor:
    return torch.from_numpy(np.array(_to_image(mask, size))) > 0


def _checked(painted: Any, painter: HandPainter) -> Image.Image:
    """What a painter returned, in mode RGB; refuses what is no image of its size."""
    name, size = type(painter).__name__, painter.size
    if not isinstance(painted, Image.Image):
        raise TypeError(f"painter {name} must return a PIL image, got {type(painted).__name__}.")
    if painted.size != (size, size):
        raise ValueError(
            f"painter {name} must return an image of its size, {size} x {size} pixels, got "
            f"{painted.width} x {painted.height}."
        )
    return painted.convert("RGB")


def _look_again(pixels: np.ndarray, square: Square, joints: np.ndarray, tools: Tools) -> FoundHand | None:
    """The hand that is found now where it was drawn."""
    box: Box = (square.left, square.top, square.left + square.side, square.top + square.side)
    detected = hand_at(look_closer(pixels, tools.detector, box, 1.0), joints)
    found = fit_each([detected] if detected else [], square.image_size, tools.body_model)
    return found[0] if found else None
