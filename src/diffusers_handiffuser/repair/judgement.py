"""The interface of judges, which say whether a hand of an image is drawn wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..detection import DetectedHand
from ..hands import HandParams


@dataclass(frozen=True)
class HandJudgement:
    """Whether a hand is drawn wrong.

    Args:
        bad (`bool`): whether it should be repaired.
        reason (`str`): why, or why not, for people: a short phrase that begins in lower case.
        scores (`Mapping[str, float]`): what the judgement rests on, by name.
    """

    bad: bool
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)


class HandJudge(Protocol):
    """Judges one hand of an image.

    It gets the image, `(H, W, 3)`, uint8, RGB, upright; the hand as detected; and the hand as fitted: [`HandParams`]
    of batch shape `(1,)`, in the camera of the image, in which this hand alone is visible.
    """

    def __call__(self, image: np.ndarray, hand: DetectedHand, hand_params: HandParams, /) -> HandJudgement: ...
