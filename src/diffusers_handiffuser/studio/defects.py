"""Defects of hands as image generators draw them, by name."""

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ..hands.skeleton import SIDES
from .gestures import LONG_FINGERS, gesture_by_name
from .scenes import Scene

DEFECTS = (
    "extra_finger",
    "missing_finger",
    "fused_fingers",
    "bent_backwards",
    "too_long",
    "swapped_side",
    "blurred",
)
_FINGERS = ("thumb", *LONG_FINGERS)
_FINGERS_OF: dict[str, tuple[str, ...]] = {
    "extra_finger": _FINGERS,
    "missing_finger": _FINGERS,
    "fused_fingers": LONG_FINGERS[:-1],
    "bent_backwards": LONG_FINGERS,
    "too_long": _FINGERS,
    "swapped_side": (),
    "blurred": (),
}
_AMOUNTS = {
    "extra_finger": (0.85, 1.0),
    "missing_finger": (0.3, 1.0),
    "fused_fingers": (0.85, 1.0),
    "bent_backwards": (60.0, 100.0),
    "too_long": (1.5, 1.75),
    "swapped_side": (1.0, 1.0),
    "blurred": (0.7, 1.3),
}
_SEEN_ON_OPEN_HANDS = ("missing_finger", "fused_fingers")


@dataclass(frozen=True)
class Defect:
    """One defect of one hand of a scene.

    Args:
        kind (`str`): one of `DEFECTS`.
        side (`str`): of the arm whose hand it is, `"left"` or `"right"`.
        finger (`str`, *optional*): `"thumb"`, `"index"`, `"middle"`, `"ring"` or `"pinky"`: the finger that is copied
            (the copy lies next to it, on the little finger's side of a long finger), missing, bent or too long, or
            that is fused with the next one towards the little finger. Thumbs are neither fused nor bent, little
            fingers are fused by name of the ring finger. `None` if the whole hand is the other side's or blurred.
        amount (`float`): length of the copy, as a factor; how far the others close the gap of a missing finger, 0 to
            1; how far the gap between fused fingers is closed, 0 to 1; degrees by which a joint is bent backwards;
            factor of a finger that is too long; strength of blur, about 1. No meaning for `"swapped_side"`.
        seed (`int`): determines the details.

    Raises a `ValueError` that names the field for a word that is not in these tables.
    """

    kind: str
    side: str
    finger: str | None = None
    amount: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_kinds([self.kind])
        if self.side not in SIDES:
            raise ValueError(f"`side` must be one of {SIDES}, got {self.side!r}.")
        fingers = _FINGERS_OF[self.kind]
        if self.finger not in (fingers or (None,)):
            raise ValueError(f"`finger` of {self.kind!r} must be one of {fingers or (None,)}, got {self.finger!r}.")
        if not self.amount > 0:
            raise ValueError(f"`amount` must be positive, got {self.amount}.")

    def to_dict(self) -> dict[str, Any]:
        """The `defect` column of a data set row; `Defect(**row["defect"])` restores the defect."""
        return asdict(self)


def check_kinds(kinds: Iterable[str]) -> None:
    """Raises a `ValueError` unless all of some kinds are among `DEFECTS`."""
    for kind in kinds:
        if kind not in DEFECTS:
            raise ValueError(f"A kind of defect must be one of {', '.join(DEFECTS)}, got {kind!r}.")


def sample_defect(scene: Scene, rng: random.Random, kind: str | None = None) -> Defect:
    """Draws a defect of one of a scene's raised hands.

    Fingers that the gesture extends are preferred, since those that are folded may be hidden. For the same reason,
    missing and fused fingers are drawn by themselves only for gestures that extend three fingers.

    Args:
        scene ([`Scene`]): with at least one raised hand.
        rng (`random.Random`): draws everything.
        kind (`str`, *optional*): one of `DEFECTS`; by default one that such a hand shows is drawn.

    Returns:
        [`Defect`].
    """
    if not scene.gestures:
        raise ValueError(f"`scene` must raise a hand, but is {scene.kind!r}.")
    if kind is not None:
        check_kinds([kind])
    side = rng.choice([side for side in SIDES if side in scene.gestures])
    extended = gesture_by_name(scene.gestures[side]).extended
    if kind is None:
        kind = rng.choice([kind for kind in DEFECTS if len(extended) >= 3 or kind not in _SEEN_ON_OPEN_HANDS])
    fingers = _FINGERS_OF[kind]
    if kind == "fused_fingers":
        straight = [a for a, b in pairwise(LONG_FINGERS) if {a, b} <= extended]
        alike = [a for a, b in pairwise(LONG_FINGERS) if (a in extended) == (b in extended)]
        fingers = tuple(straight or alike or fingers)
    else:
        fingers = tuple(finger for finger in fingers if finger in extended) or fingers
    low, high = _AMOUNTS[kind]
    return Defect(
        kind=kind,
        side=side,
        finger=rng.choice(fingers) if fingers else None,
        amount=round(rng.uniform(low, high), 3),
        seed=rng.getrandbits(31),
    )
