"""What a text says about hands, and how a caption of the studio is read for it."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...hands.skeleton import SIDES
from ...studio import GESTURES, Scene, gesture_by_name

EITHER = "either"
"""Stands for a side that the text leaves open."""

_HANDS = re.compile(r"\b(?:(?P<side>left|right) hand|(?P<both>both|two|pair of) hands|a hand)\b")
_VIEWS = {
    "palm": re.compile(r"\bpalm (?:facing|side)\b|\bshowing the palm\b"),
    "back": re.compile(r"\bseen from the back\b|\bback of the hand\b"),
    "side": re.compile(r"\bseen from the side\b|\bin side view\b"),
}
_FINGER_TURN = re.compile(r"\b(?:fingers? (?:pointing |turned )?|pointing )(up|down|sideways)(?:wards)?\b")
_SHOTS_OF_FRAMINGS = {"close-up": "close_up", "waist-up": "person"}
_SHOTS = {"close_up": re.compile(r"\bclose-up\b"), "person": re.compile(r"\b(?:person|someone)\b")}


@dataclass(frozen=True)
class HandFacts:
    """What a text says about one hand.

    Args:
        gestures (`tuple` of `str`): names that [`gesture_by_name`] knows, any of which the fingers may make; empty
            where the text says nothing of the fingers.
        view (`str`, *optional*): `"palm"`, `"back"` or `"side"`: what the viewer sees of the hand.
        turn (`str`, *optional*): `"up"`, `"down"` or `"sideways"`: where the thumb points if it alone is extended, and
            where the fingers point otherwise.
    """

    gestures: tuple[str, ...] = ()
    view: str | None = None
    turn: str | None = None

    @property
    def turned_part(self) -> str:
        """`"thumb"` or `"fingers"`: what `turn` is about."""
        extended = {gesture_by_name(name).extended for name in self.gestures}
        return "thumb" if extended == {frozenset({"thumb"})} else "fingers"


@dataclass(frozen=True)
class TextFacts:
    """What a text says about the hands in its image; whatever it leaves open is None.

    Args:
        hands (`dict` of `str` to [`HandFacts`]): by `"left"` and `"right"`, or one hand under `"either"`.
        number (`int`, *optional*): how many hands the image shows; 0 if it shows none.
        shot (`str`, *optional*): `"close_up"` of a hand, or a `"person"`.
    """

    hands: Mapping[str, HandFacts] = field(default_factory=dict)
    number: int | None = None
    shot: str | None = None

    def __post_init__(self) -> None:
        if set(self.hands) - set(SIDES) and set(self.hands) != {EITHER}:
            raise ValueError(f"`hands` must be keyed by {SIDES}, or by {EITHER!r} alone, got {tuple(self.hands)}.")
        if self.number is not None and self.number not in (0, 1, 2):
            raise ValueError(f"`number` must be 0, 1 or 2, got {self.number}.")

    @property
    def side(self) -> str | None:
        """The one side that the text names."""
        return next(iter(self.hands)) if len(self.hands) == 1 and EITHER not in self.hands else None


def read_caption(text: str, scene: Scene | None = None) -> TextFacts:
    """Reads a caption of the studio.

    Args:
        text (`str`): a caption of [`describe`]. Other texts are read where they have the same phrases.
        scene ([`Scene`], *optional*): what the caption describes. If the text names no gesture in the studio's words,
            the gestures are the scene's, as every caption names them, and all else is left open.
    """
    if scene is not None and not scene.gestures:
        return TextFacts(number=0)
    mentions = list(_HANDS.finditer(text))
    sides = [match["side"] for match in mentions if match["side"]]
    keys = SIDES if any(match["both"] for match in mentions) else tuple(dict.fromkeys(sides))
    if not keys and mentions:
        keys = (EITHER,)
    gestures = _named_gestures(text, keys)
    if not gestures and scene is not None:
        return _facts_of_scene(scene)
    turns = {match[1] for match in _FINGER_TURN.finditer(text)}
    view = _only([name for name, pattern in _VIEWS.items() if pattern.search(text)])
    said = HandFacts(view=view, turn=_only(sorted(turns)))
    return TextFacts(
        {key: _with_gesture(said, gestures.get(key)) for key in keys},
        len(keys) or None,
        _only([name for name, pattern in _SHOTS.items() if pattern.search(text)]),
    )


def read_claims(says: Mapping[str, Any]) -> TextFacts:
    """Reads what a natural sentence claims, the column `says` of a studio row.

    Args:
        says (`Mapping`): `says` of a [`Sentence`]. Two hands whose sides it leaves open count by their number alone.

    Raises:
        ValueError: it is something else.
    """
    try:
        hands = says["hands"]
        facts = [HandFacts((hand["gesture"],), hand.get("view"), hand.get("turn")) for hand in hands]
        sides = [hand.get("side") or EITHER for hand in hands]
        shot = _SHOTS_OF_FRAMINGS.get(says.get("framing", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"`says` must be what a sentence of the studio claims, got {says!r}.") from error
    for fact in facts:
        gesture_by_name(fact.gestures[0])
    is_unclear = len(sides) == 2 and EITHER in sides
    return TextFacts({} if is_unclear else dict(zip(sides, facts, strict=True)), len(hands), shot)


def _named_gestures(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """The gesture of each hand, if the text names as many as there are hands, or one for all."""
    names = _gesture_phrases()
    found = [names[match[0]] for match in _phrase_pattern().finditer(text)]
    if len(set(found)) == 1:
        return dict.fromkeys(keys, found[0])
    return dict(zip(keys, found, strict=True)) if len(found) == len(keys) else {}


def _facts_of_scene(scene: Scene) -> TextFacts:
    """The gestures of a scene, and nothing else."""
    single = len(scene.gestures) == 1
    hands = {EITHER if single else side: _with_gesture(HandFacts(), name) for side, name in scene.gestures.items()}
    return TextFacts(hands)


def _with_gesture(said: HandFacts, name: str | None) -> HandFacts:
    if name is None:
        return said
    up = gesture_by_name(name).thumb_up
    turn = {1.0: "up", -1.0: "down"}.get(up, said.turn)
    return replace(said, gestures=(name,), turn=turn)


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


@functools.cache
def _gesture_phrases() -> dict[str, str]:
    """The gesture that each phrase names."""
    combinations = [gesture_by_name(f"fingers_{number:05b}") for number in range(32)]
    return {phrase: gesture.name for gesture in (*combinations, *GESTURES.values()) for phrase in gesture.phrases}


@functools.cache
def _phrase_pattern() -> re.Pattern:
    """Finds phrases of gestures, of two at one place the longer."""
    phrases = sorted(_gesture_phrases(), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b")
