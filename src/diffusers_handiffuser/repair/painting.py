"""The interface of painters, which draw a hand anew in a square crop of an image."""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from ..hands import HandParams


@dataclass(frozen=True)
class HandCrop:
    """What a painter gets.

    Args:
        image (`PIL.Image.Image`): square, RGB.
        mask (`PIL.Image.Image`): of the same size, mode "L"; white is painted anew.
        hand_params ([`HandParams`] of batch shape `(1,)`): the hand that is wanted, the only visible one, in the
            camera of the crop.
        prompt (`str`): of the whole image.
        negative_prompt (`str`, *optional*): likewise.
        strength (`float`): from 0 to 1; 1 ignores what the mask covers.
        seed (`int`): of the noise.
    """

    image: Image.Image
    mask: Image.Image
    hand_params: HandParams
    prompt: str
    negative_prompt: str | None
    strength: float
    seed: int


class PaintingError(RuntimeError):
    """Raised by a painter that has nothing to paste; the next try follows.

    The message is a reason, as in a [`HandJudgement`]: a short phrase that begins in lower case.
    """


class HandPainter(Protocol):
    """Draws a hand anew: a crop of `size` x `size` pixels in, an RGB image of the same size out.

    Outside the mask it shows the crop, as closely as its model reproduces it.
    """

    size: int

    def __call__(self, crop: HandCrop, /) -> Image.Image: ...
