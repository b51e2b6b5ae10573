"""What a repair returns: the image, and what became of each hand."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from ..hands import HandParams
from .files import save_image
from .squares import Box

DECISIONS = ("repaired", "not_improved", "left_alone", "not_found", "to_repair")
"""What may become of a hand, see [`RepairedHand`]."""


@dataclass(frozen=True, eq=False)
class RepairedHand:
    """What became of one hand of an image.

    Args:
        box (`tuple[float, float, float, float]`): left, top, right and bottom of its landmarks, pixels of the upright
            image; of a hand that was not found, the box that was given.
        side (`str`, *optional*): `"left"` or `"right"`, of the person; None where no hand was found.
        before ([`HandParams`] of batch shape `(1,)`, *optional*): the fit to the hand of the image, in its camera.
        after ([`HandParams`] of batch shape `(1,)`, *optional*): the fit to the hand that was drawn in its place.
        wanted ([`HandParams`] of batch shape `(1,)`, *optional*): the hand to be drawn; None where nothing was to be.
        scores (`Mapping[str, float]`): what the judge's opinion rests on, by name; `"fit_confidence"`; and where
            something was drawn `"agreement_before"` and `"agreement_after"`, of the last that was looked at.
        mask (`PIL.Image.Image`, *optional*): of the image's size, mode "L": the weights of what was drawn; every pixel
            where it is 0 is as before. None where nothing has changed.
        decision (`str`): `"repaired"`; `"not_improved"`: nothing that was drawn was better, so the image stays;
            `"left_alone"`: it is good, or was not chosen; `"not_found"`: no hand is in the box; `"to_repair"`: it
            would be repaired, in a dry run.
        reason (`str`): why, for people; a short phrase.
    """

    box: Box
    side: str | None
    before: HandParams | None
    after: HandParams | None = None
    wanted: HandParams | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    mask: Image.Image | None = None
    decision: str = "left_alone"
    reason: str = ""

    def __repr__(self) -> str:
        box = tuple(round(edge, 1) for edge in self.box)
        return f"RepairedHand({self.side or 'none'}, box={box}, {self.decision}: {self.reason})"


@dataclass(eq=False)
class RepairOutput:
    """The result of `repair_hands`.

    Args:
        image (`PIL.Image.Image`): upright, mode "RGB" or "RGBA", with EXIF and profile of the original in `info`.
        hands (`list[RepairedHand]`): those that the detector found, then those of the boxes.
    """

    image: Image.Image
    hands: list[RepairedHand]

    @property
    def changed(self) -> bool:
        """Whether any hand was drawn anew."""
        return any(hand.decision == "repaired" for hand in self.hands)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the image with the EXIF and the profile of the original.

        PNG, lossless WebP and TIFF keep every pixel; JPEG has quality 95, and no transparency.
        """
        save_image(self.image, path)
