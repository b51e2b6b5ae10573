"""The image before, the hands that were fitted to it, and the image after, side by side."""

from PIL import Image, ImageDraw, ImageOps

from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from ..rendering.drawing import draw_overlay
from ..utils.images import upright_rgb
from .output import RepairOutput

_MAX_SIDE = 800
"""Of each of the three, pixels."""
_COLORS = {
    "repaired": (60, 170, 80),
    "not_improved": (220, 60, 50),
    "left_alone": (150, 150, 150),
    "not_found": (220, 60, 50),
    "to_repair": (240, 160, 40),
}
"""Of the boxes, by decision."""


def draw_repair(
    before: Image.Image, output: RepairOutput, body_model: HandBodyModel | None = None, max_side: int = _MAX_SIDE
) -> Image.Image:
    """Before, fits and after: three images side by side.

    The fits are drawn over the image before, and boxes around the hands: green where they were repaired, orange where
    a dry run would, grey where they were left alone, red where they could not be found or improved.

    Args:
        before (`PIL.Image.Image`): the image that was repaired, of any mode.
        output ([`RepairOutput`]): what became of it.
        body_model ([`HandBodyModel`], *optional*): that was fitted; by default the procedural one.
        max_side (`int`): larger images are drawn smaller, pixels.

    Returns:
        `PIL.Image.Image`, RGB.
    """
    body_model = procedural_body() if body_model is None else body_model
    original = upright_rgb(before)
    images = [_contained(image, max_side) for image in (original, original, upright_rgb(output.image))]
    fits = [hand.before for hand in output.hands if hand.before is not None]
    if fits:
        images[1] = draw_overlay(images[1], HandParams.cat(fits), body_model)
    pen, scale = ImageDraw.Draw(images[1]), images[1].width / original.width
    for hand in output.hands:
        left, top, right, bottom = (scale * edge for edge in hand.box)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=_COLORS[hand.decision], width=2)
    sheet = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    place = 0
    for image in images:
        sheet.paste(image, (place, 0))
        place += image.width
    return sheet


def _contained(image: Image.Image, max_side: int) -> Image.Image:
    return ImageOps.contain(image, (max_side, max_side)) if max(image.size) > max_side else image.copy()
