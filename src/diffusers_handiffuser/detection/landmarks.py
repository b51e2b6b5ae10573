"""The old names of [`DetectedHand`] and [`fit_hands`], kept for one release."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from ..hands import HandBodyModel
from ..hands.body_model import procedural_body
from .detector import DetectedHand
from .fit import STEPS, check_hand, check_sizes, place_people
from .fitted_hands import FittedHands as FittedHands
from .mediapipe_hands import mediapipe_hands as mediapipe_hands
from .single_hands import fit_single_hands


class LandmarkHand(DetectedHand):
    """The old name of [`DetectedHand`], with other names of its fields.

    Args:
        side (`str`): `"left"` or `"right"`, of the person.
        pixels (`torch.Tensor` of shape `(21, 2)`): (x, y) in the image; an array or a list will do.
        metres (`torch.Tensor` of shape `(21, 3)`, *optional*): in a frame with x right, y down, z away from the
            camera; the origin does not matter.
    """

    def __init__(self, side: str, pixels: Any, metres: Any = None):
        warnings.warn("`LandmarkHand` is now `diffusers_handiffuser.DetectedHand`.", FutureWarning, stacklevel=2)
        super().__init__(side, pixels, landmarks_3d=metres)


def fit_landmarks(
    people: Sequence[DetectedHand | Sequence[DetectedHand]],
    image_sizes: Sequence[tuple[int, int]] | tuple[int, int],
    body_model: HandBodyModel | None = None,
    steps: int = STEPS,
) -> FittedHands:
    """The old form of [`fit_hands`], for people whose hands and sides are known.

    Args:
        people (sequence): for each person one hand, or a list of one or two hands of different sides.
        image_sizes (sequence of `(width, height)`): of the images, or one for all.
        body_model ([`HandBodyModel`], *optional*): the body whose hands are fitted; by default the procedural one.
        steps (`int`): of Levenberg-Marquardt.

    Returns:
        [`FittedHands`]: one row for each person; row i is said to be of image i.

    Raises:
        ValueError: if a person has no hand or two of one side, or points are not finite or all the same.
    """
    warnings.warn(
        "`fit_landmarks(people, ...)` is now `diffusers_handiffuser.fit_hands(people, ..., trust_sides=True)`.",
        FutureWarning,
        stacklevel=2,
    )
    groups = [[hands] if isinstance(hands, DetectedHand) else list(hands) for hands in people]
    if not groups or any(len({hand.side for hand in hands}) != len(hands) or not hands for hands in groups):
        raise ValueError("`people` must hold one hand, or two of different sides, for each of at least one person.")
    sizes = check_sizes(image_sizes, len(groups))
    flat = [check_hand(hand) for hands in groups for hand in hands]
    starts = [0]
    for hands in groups:
        starts.append(starts[-1] + len(hands))
    indices = [list(range(start, end)) for start, end in itertools.pairwise(starts)]
    index = torch.tensor([row for row, hands in enumerate(groups) for _ in hands])
    body_model = procedural_body() if body_model is None else body_model
    single = fit_single_hands(flat, body_model, steps, trust_sides=True)
    return place_people(flat, single, indices, index, sizes, body_model)
