"""`repair_hands`: one call from an image with bad hands to one with better ones."""

import functools
import numbers
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from tqdm.auto import tqdm

from ..detection.finding import AnyDetector, Photograph, open_detector
from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from .blending import paste
from .drawn_kinds import warn_of_another_kind
from .files import read_image
from .found_hands import FoundHand, box_of_mesh, check_boxes, find_hands_and_boxes, joined
from .judgement import HandJudge
from .output import RepairedHand, RepairOutput
from .painters import painter_for
from .painting import HandPainter
from .posing import check_pose_source, one_for_each, wanted_hand
from .squares import Box, Square
from .stage_1 import sample_hands
from .trials import CROP, Tools, try_repairs


@torch.no_grad()
def repair_hands(
    image: Photograph,
    pipe: DiffusionPipeline | HandPainter | None,
    prompt: str | None = None,
    *,
    negative_prompt: str | None = None,
    hands: str | HandParams = "fit",
    which: str | Sequence[int] = "bad",
    boxes: Sequence[Box] = (),
    tries: int = 3,
    strengths: tuple[float, float] = (0.4, 0.8),
    seed: int = 0,
    detector: AnyDetector = None,
    judge: HandJudge | None = None,
    body_model: HandBodyModel | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> RepairOutput:
    """Repairs the hands of an image: finds and judges them, draws the bad ones anew, and keeps what got better.

    Each hand that is chosen is drawn in a square of 1.6 times its box, at the painter's own size, up to `tries` times.
    Each time the detector looks again. What was drawn is kept if it agrees better with the hand that is wanted than
    the old hand did (`repair.agreement` has the measure), and the judge does not call it bad; else the image stays.
    Hands are taken in order, each in the image with those before it repaired. Outside of the hands' soft masks, every
    pixel is bit for bit that of the image.

    Args:
        image (`str`, `Path`, `PIL.Image.Image` or `np.ndarray`): a file, an image of any mode, whose EXIF orientation
            is applied, or an array `(H, W, 3)`, uint8, RGB. Other than 8-bit RGB or RGBA is converted, with a warning.
        pipe (`DiffusionPipeline` or [`HandPainter`]): any inpainting pipeline, see `repair.painter_for`, which also
            takes its steps and scales; or a painter. None will do for a dry run.
        prompt (`str`, *optional*): of the whole image; by default `"a left hand"` or `"a right hand"`.
        negative_prompt (`str`, *optional*): what not to draw.
        hands (`str` or [`HandParams`]): the pose that is wanted: `"fit"`, that of the hand as it is, within anatomical
            limits; `"sample"`, what stage 1 samples for the prompt, of the pipeline or, where it has none, of the
            bundled checkpoint; or given ones, one row for all hands or one for each. Poses that are sampled or given
            are laid on the hand as it was found: wrist, scale, turn and side stay. Of a row that shows only the other
            hand, its mirror image is taken. To place hands elsewhere, inpaint with `hand_params=`.
        which (`str` or sequence of `int`): `"bad"` repairs what the judge calls bad, `"all"` all hands, and indices
            those of the result's `hands`, which a dry run shows.
        boxes (sequence of four numbers): left, top, right and bottom of hands that the detector misses, pixels of the
            upright image; it is tried again on what is around them.
        tries (`int`): how often a hand is drawn before it is given up.
        strengths (`tuple[float, float]`): of the first try and of the last; higher ones leave less of the old hand.
        seed (`int`): of the noise of the first try; the others follow.
        detector ([`HandDetector`], `str` or `Path`, *optional*): see [`find_hands`]; by default MediaPipe.
        judge ([`HandJudge`], *optional*): by default `repair.default_judge()`.
        body_model ([`HandBodyModel`], *optional*): that is fitted; by default the pipeline's, or the procedural one.
        dry_run (`bool`): finds, fits and judges, and draws nothing.
        progress (`bool`): shows a bar of the tries.

    Returns:
        [`RepairOutput`]: the image, and what became of each hand. Without hands, the image as it is.

    Raises:
        TypeError, ValueError: an argument is not as above, or a box lies outside of the image; the message names it.
        ImportError: if there is no detector, see [`find_hands`].
        OSError: if the image cannot be read.

    Examples:
        ```py
        >>> from diffusers_handiffuser import MINI, HanDiffuserInpaintPipeline, repair_hands

        >>> pipe = HanDiffuserInpaintPipeline.from_pretrained(MINI)
        >>> out = repair_hands("drawn.png", pipe, "a right hand making a peace sign")
        >>> [(hand.side, hand.decision, hand.reason) for hand in out.hands]
        >>> out.save("repaired.png")
        ```
    """
    _check_numbers(tries, strengths, seed)
    check_pose_source(hands)
    _check_which(which)
    if pipe is None and not dry_run:
        raise ValueError("`pipe` must be an inpainting pipeline or a painter; only a dry run draws nothing.")
    painter = None
    if pipe is not None:
        painter = painter_for(pipe, body_model=body_model if isinstance(pipe, DiffusionPipeline) else None)
    opened = read_image(image)
    for note in opened.notes:
        warnings.warn(f"{note}.", UserWarning, stacklevel=3)  # of the function that `no_grad` wraps
    pixels = np.array(opened.pixels)
    size = opened.image.size
    boxes = check_boxes(boxes, size)
    model = getattr(pipe, "pipe", pipe)  # of a painter that calls one
    if body_model is None:
        body_model = getattr(model, "body_model", None) or procedural_body()
    detector = open_detector(detector)
    if judge is None:
        from .judging import default_judge

        judge = default_judge(body_model)

    places = find_hands_and_boxes(pixels, detector, boxes, body_model)
    results = _judged(places, pixels, judge, which)
    chosen = [i for i, result in enumerate(results) if result.decision == "to_repair"]
    rows: Sequence[HandParams | None] = [None] * len(places)
    if not isinstance(hands, str):
        rows = list(one_for_each(hands, len(places)))
    elif hands == "sample" and chosen:
        rows = list(sample_hands(model, prompt, len(places), seed))
    for i in chosen:
        results[i] = replace(results[i], wanted=wanted_hand(_hand(places[i]), rows[i]))
    repaired = np.array(opened.image)
    if chosen and painter is not None and not dry_run:
        warn_of_another_kind(model, pixels)
        others = [_hand(place).fit for i, place in enumerate(places) if results[i].decision == "left_alone"]
        with tqdm(total=tries * len(chosen), desc="hands", disable=not progress) as bar:
            tools = Tools(
                painter,
                detector,
                judge,
                body_model,
                prompt,
                negative_prompt,
                np.linspace(*strengths, tries).tolist(),
                seed,
                bar.update,
            )
            for i in chosen:
                results[i] = _repaired(results[i], _hand(places[i]), others, pixels, repaired, tools)
    result = Image.fromarray(repaired)
    result.info = dict(opened.image.info)
    return RepairOutput(result, results)


def _judged(
    places: Sequence[FoundHand | Box], pixels: np.ndarray, judge: HandJudge, which: str | Sequence[int]
) -> list[RepairedHand]:
    """What is to become of each hand: `"left_alone"`, `"to_repair"` or `"not_found"`."""
    indices = None if isinstance(which, str) else set(which)
    if indices and not max(indices) < len(places):
        raise ValueError(f"`which` names hand {max(indices)}, but there are {len(places)} hands, counted from 0.")
    results = []
    for i, place in enumerate(places):
        if not isinstance(place, FoundHand):
            reason = "no hand was found in the box"
            results.append(RepairedHand(place, None, None, decision="not_found", reason=reason))
            continue
        judgement = judge(pixels, place.detected, place.fit)
        decision, reason = "left_alone", judgement.reason
        if indices is not None and i not in indices:
            reason = f"not chosen; {reason}"
        elif indices is not None or which == "all" or judgement.bad:
            decision = "to_repair"
        scores = {**judgement.scores, "fit_confidence": place.confidence}
        results.append(
            RepairedHand(place.detected.box, place.side, place.fit, scores=scores, decision=decision, reason=reason)
        )
    return results


def _repaired(
    result: RepairedHand,
    hand: FoundHand,
    others: Sequence[HandParams],
    pixels: np.ndarray,
    repaired: np.ndarray,
    tools: Tools,
) -> RepairedHand:
    """What became of a hand that was to be repaired; what was accepted is pasted into both images."""
    size = (pixels.shape[1], pixels.shape[0])
    assert result.wanted is not None
    meshes = (box_of_mesh(hands, tools.body_model, size) for hands in (hand.fit, result.wanted))
    box = functools.reduce(joined, meshes, result.box)
    square = Square.around(box, CROP, size)
    trial = try_repairs(pixels, square, hand, result.wanted, others, tools)
    scores = {**result.scores, "agreement_before": trial.before.value}
    if trial.after is not None:
        scores["agreement_after"] = trial.after.value
    if trial.hand is None:
        return replace(result, scores=scores, decision="not_improved", reason=f"{trial.reason} ({result.reason})")
    assert trial.drawn is not None and trial.weights is not None
    for image in (pixels, repaired):
        paste(image, trial.drawn, trial.weights, square)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[square.inside] = trial.weights[square.inside_of_square]
    return replace(
        result,
        after=trial.hand.fit,
        scores=scores,
        mask=Image.fromarray(mask),
        decision="repaired",
        reason=f"{trial.reason} ({result.reason})",
    )


def _hand(place: FoundHand | Box) -> FoundHand:
    assert isinstance(place, FoundHand)
    return place


def _check_numbers(tries: Any, strengths: Any, seed: Any) -> None:
    for name, value, least in (("tries", tries, 1), ("seed", seed, 0)):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
    if not isinstance(strengths, Sequence) or len(strengths) != 2:
        raise ValueError(f"`strengths` must be two, of the first try and of the last, got {strengths!r}.")
    for strength in strengths:
        if not isinstance(strength, int | float) or not 0 < strength <= 1:
            raise ValueError(f"`strengths` must be above 0 and at most 1, got {strengths!r}.")


def _check_which(which: Any) -> None:
    wanted = "`which` must be 'bad', 'all' or indices of hands"
    if isinstance(which, str):
        if which not in ("bad", "all"):
            raise ValueError(f"{wanted}, got {which!r}.")
        return
    if not isinstance(which, Sequence):
        raise TypeError(f"{wanted}, got {type(which).__name__}.")
    for index in which:
        if not isinstance(index, numbers.Integral) or isinstance(index, bool) or index < 0:
            raise ValueError(f"{wanted}, got {index!r} among them.")
