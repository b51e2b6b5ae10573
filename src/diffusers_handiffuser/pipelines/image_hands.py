"""The hands that an image shows: found and fitted, and whether they lie under its mask."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor

from ..detection import fit_hands
from ..detection.finding import AnyDetector, open_detector
from ..hands import HandBodyModel, HandParams
from ..rendering.surfaces import draw_mask
from .images import Images, ResultCounts, hard_masks, image_sizes, repeat_per_result


def fit_hands_of_images(
    images: Images, mask_image: Any, detector: AnyDetector, body_model: HandBodyModel, counts: ResultCounts
) -> HandParams:
    """The hands of the person in each image, fitted to what a detector finds.

    Of several people it is the one whose hands the mask marks.

    Args:
        images: 1, one per prompt or one per result.
        mask_image: as diffusers takes it, one for all or one per result, *optional*.
        detector ([`HandDetector`], `str` or `Path`, *optional*): see `fit_hands`.
        body_model ([`HandBodyModel`]): whose hands are fitted.
        counts ([`ResultCounts`]): of the call.

    Returns:
        [`HandParams`]: one row per result, in the camera of its image.

    Raises:
        ValueError: no hands are found in an image, or those of several people and the mask does not say whose.
        ImportError, OSError: as `fit_hands`.
    """
    pixels = _eight_bit(images)
    fitted = fit_hands(pixels, detector=open_detector(detector, "`hand_detector`"), body_model=body_model)
    people = [fitted.hand_params[fitted.image_index == i] for i in range(len(pixels))]
    numbers = repeat_per_result("image", list(range(len(pixels))), len(pixels), counts)
    rows = []
    for result in range(counts.results):
        number = numbers[result % len(numbers)]
        candidates = people[number]
        if len(candidates) > 1 and mask_image is not None:
            sizes = image_sizes(pixels[number : number + 1])
            under_mask = hands_under_mask(candidates, mask_image, sizes, body_model, result)
            candidates = candidates[torch.tensor(under_mask)]
        if len(candidates) != 1:
            raise ValueError(_what_was_found(number, len(people[number]), len(candidates), mask_image is not None))
        rows.append(candidates)
    return HandParams.cat(rows)


def hands_under_mask(
    hand_params: HandParams,
    mask_image: Any,
    sizes: Sequence[tuple[int, int]],
    body_model: HandBodyModel,
    result: int | None = None,
) -> list[bool]:
    """Whether a mask marks a pixel of the visible hands of each row.

    Args:
        hand_params ([`HandParams`] of batch shape `(B,)`): in the cameras of the images.
        mask_image: as diffusers takes it, one for all or one per result.
        sizes (sequence of `tuple[int, int]`): width and height of the image of all rows, or of each.
        body_model ([`HandBodyModel`]): that is drawn.
        result (`int`, *optional*): the result that all rows are of; by default, row i is of result i.
    """
    marked = []
    for row, hands in enumerate(hand_params):
        width, height = sizes[row % len(sizes)]
        masks = hard_masks(mask_image, height, width)
        mask = masks[(row if result is None else result) % len(masks)].cpu().numpy()
        (outline,) = draw_mask(hands, body_model, height, width)
        marked.append(bool((mask & (np.asarray(outline) > 0)).any()))
    return marked


def _what_was_found(number: int, num_people: int, num_candidates: int, masked: bool) -> str:
    """The error of an image that does not show the hands of one person."""
    if not num_people:
        found, remedy = "none were found", "give them as `hand_params`, or another `hand_detector`"
    elif not masked:
        found = f"those of {num_people} people were found"
        remedy = "mark one of them by `mask_image`, or choose a row of `fit_hands(image).hand_params`"
    else:
        found = f"of {num_people} people with hands, `mask_image` marks {num_candidates}"
        remedy = "mark one of them, or choose a row of `fit_hands(image).hand_params`"
    return f"`hand_params='fit'` takes the hands of one person per image, but in image {number} {found}; {remedy}."


def _eight_bit(images: Images) -> list[np.ndarray]:
    """Images as arrays `(H, W, 3)`, uint8, in which hands are looked for."""
    if isinstance(images, list):
        return [np.asarray(image) for image in images]
    pixels = VaeImageProcessor(vae_scale_factor=1, do_resize=False, do_normalize=False).preprocess(images)
    if pixels.min() < 0:
        pixels = pixels / 2 + 0.5  # in [-1, 1], which diffusers still takes
    return list((pixels.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
