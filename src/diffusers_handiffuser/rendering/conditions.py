"""Condition images of hands for public ControlNets and T2I-Adapters: skeletons, depth, normals and masks."""

import numbers
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from PIL import Image

from ..hands.body_model import HandBodyModel, procedural_body
from ..hands.params import HandParams
from .hand_depth import draw_hand_depth
from .meshes import rows_of_images
from .parts import PARTS as SURFACE_PARTS
from .skeletons import PARTS as SKELETON_PARTS
from .skeletons import STYLES, draw_openpose
from .surfaces import draw_depth, draw_mask, draw_normal, hidden_by_body

CONDITIONS: dict[str, Callable[..., list[Image.Image]]] = {
    "openpose": draw_openpose,
    "depth": draw_depth,
    "depth_hand": draw_hand_depth,
    "normal": draw_normal,
    "mask": draw_mask,
}
PARTS: dict[str, tuple[str, ...]] = {
    "openpose": SKELETON_PARTS,
    "depth": SURFACE_PARTS,
    "depth_hand": ("hands",),
    "normal": SURFACE_PARTS,
    "mask": SURFACE_PARTS,
}
"""What an image of each kind may show."""
LARGEST_SIDE = 16384
"""Of an image, pixels; larger ones would fill the memory."""
_BACKGROUNDS = (0, (0, 0, 0), (128, 128, 255))
"""Of masks, of skeletons and depth, and of normals."""
_MUCH = 0.25
"""Of a hand that is said to be visible, hidden."""


def draw_condition(
    hand_params: HandParams,
    kind: str,
    size: int | tuple[int, int],
    body_model: HandBodyModel | None = None,
    *,
    style: str = "dwpose",
    parts: Sequence[str] | None = None,
    people: bool = False,
) -> Image.Image | list[Image.Image]:
    """See [`HandParams.to_condition`]."""
    _check_choice("kind", kind, CONDITIONS)
    _check_choice("style", style, STYLES)
    width, height = checked_size(size)
    if max(width, height) > LARGEST_SIDE:
        raise ValueError(f"`size` must be at most {LARGEST_SIDE} pixels per side, got {width} x {height}.")
    chosen = checked_parts(kind, parts)
    if not isinstance(people, bool):
        raise TypeError(f"`people` must be True or False, got {people!r}.")
    _warn_of_no_hand(hand_params, people)
    body_model = procedural_body() if body_model is None else body_model
    if kind in ("depth", "normal") and chosen is not None and {"hands", "body"} <= set(chosen):
        _warn_of_hidden_hands(hidden_by_body(hand_params, body_model, height, width, chosen))
    options: dict[str, Any] = {"people": people}
    if kind != "depth_hand":
        options["parts"] = chosen
    if kind == "openpose":
        options["style"] = style
    images = CONDITIONS[kind](hand_params, body_model, height, width, **options)
    _warn_of_empty_images(images, hand_params, people)
    return images if hand_params.batch_shape[: -1 if people else None] else images[0]


def check_condition(kind: Any, style: Any, parts: Any, people: Any) -> None:
    """Refuses what no condition can be drawn of, whatever the hands.

    Raises:
        TypeError, ValueError: an argument of [`HandParams.to_condition`] is not one of those that there are; the
            message names it and them.
    """
    _check_choice("kind", kind, CONDITIONS)
    _check_choice("style", style, STYLES)
    checked_parts(kind, parts)
    if not isinstance(people, bool):
        raise TypeError(f"`people` must be True or False, got {people!r}.")


def _warn_of_no_hand(hand_params: HandParams, people: bool) -> None:
    visible = hand_params.hand_visible.any(-1)
    if people and visible.ndim:
        visible = visible.any(-1)
    if not visible.all():
        where = f" in {int((~visible).sum())} of {visible.numel()} images" if visible.ndim else ""
        warnings.warn(f"No hand is visible{where}: the condition shows none.", UserWarning, stacklevel=4)


def _warn_of_empty_images(images: Sequence[Image.Image], hand_params: HandParams, people: bool) -> None:
    """Warns of images that are empty although a hand is visible."""
    groups = rows_of_images(hand_params, people)
    empty = sum(bool(rows.hand_visible.any()) and _is_empty(image) for rows, image in zip(groups, images, strict=True))
    if empty:
        where = f" in {empty} of {len(images)} images" if len(images) > 1 else ""
        warnings.warn(
            f"The condition is empty{where}: nothing that it shows lies in the image.", UserWarning, stacklevel=4
        )


def _is_empty(image: Image.Image) -> bool:
    colors = image.getcolors(1)
    return colors is not None and colors[0][1] in _BACKGROUNDS


def _warn_of_hidden_hands(hidden: torch.Tensor) -> None:
    rows = (hidden > _MUCH).nonzero().flatten().tolist()
    if rows:
        which = f" in {len(rows)} of {len(hidden)} rows" if len(hidden) > 1 else ""
        warnings.warn(
            f"The body hides up to {float(hidden.max()):.0%} of the visible hands{which}: how far a sampled or fitted "
            'hand is in front of it is not certain. Without "body" in `parts` it is shown.',
            UserWarning,
            stacklevel=4,
        )


def _check_choice(name: str, value: str, known: Collection[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}.")


def checked_parts(kind: str, parts: Sequence[str] | None) -> tuple[str, ...] | None:
    """The parts in the order of `PARTS`, without repetitions; `None` for those that the style of a skeleton has."""
    if parts is None:
        return None if kind == "openpose" else ("hands",)
    if not isinstance(parts, Iterable):
        raise TypeError(f"`parts` must be a sequence of str, got {type(parts).__name__}.")
    given = (parts,) if isinstance(parts, str) else tuple(parts)
    unknown = [part for part in given if part not in PARTS[kind]]
    if unknown or not given:
        got = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"`parts` of an image of kind {kind!r} must be among {', '.join(PARTS[kind])}, got {got}.")
    return tuple(part for part in PARTS[kind] if part in given)


def checked_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """The width and height of a `size`, checked."""
    width, height = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    if isinstance(width, (tuple, list)):
        raise ValueError(f"`size` must be the side of a square or (width, height), in pixels, got {size!r}.")
    for value in (height, width):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"`size` must be whole numbers of at least 1 pixel, got {width!r} x {height!r}.")
    return width, height
