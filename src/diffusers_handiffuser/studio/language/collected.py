"""Whole sentences that were written one by one, each for one gesture, beside those that the grammar builds."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...hands.skeleton import SIDES
from ..gestures import gesture_by_name
from ..scenes import TURNS, VIEWS, Scene
from . import surroundings
from .sides_and_views import HAND_VIEWS, turn_phrase
from .typing_habits import typed

_FOLDER = Path(__file__).parent / "collected"
_HANDLESS = "none"
_SHORT = 12
"""Words of a sentence that stands beside another."""
_TAGS = re.compile(r"\[([a-z ]*)\] *(.*)")
_SAID = {"side": SIDES, "view": VIEWS, "turn": ("up", *TURNS), "both": ("both",)}


@dataclass(frozen=True)
class CollectedSentence:
    """A sentence with what it says of the hand, each None where it does not say.

    Args:
        text (`str`): the sentence.
        side (`str`, *optional*): `"left"` or `"right"`.
        view (`str`, *optional*): `"palm"`, `"back"` or `"side"`.
        turn (`str`, *optional*): `"up"`, `"down"` or `"sideways"`.
        both (`bool`): whether two hands do the same.
    """

    text: str
    side: str | None = None
    view: str | None = None
    turn: str | None = None
    both: bool = False

    def is_true_of(self, scene: Scene) -> bool:
        """Whether a scene whose hands all make the sentence's gesture is as the sentence says.

        Where a turned hand points has to be said.
        """
        if self.both != (len(scene.gestures) == 2):
            return False
        side = next(iter(scene.gestures))
        turn = scene.turn_of(side)
        return (
            self.side in (None, side)
            and all(self.view in (None, view) for view in scene.views.values())
            and (self.turn == turn if scene.turns else self.turn in (None, turn))
        )


@cache
def collected_sentences(gesture: str | None) -> tuple[CollectedSentence, ...]:
    """The sentences for a gesture, or those without hands for None; none for an unknown gesture.

    Raises:
        ValueError: a line's bracket holds an unknown word or two of a kind, or is not closed, or nothing follows it;
            the message names file and line.
    """
    path = _FOLDER / f"{gesture or _HANDLESS}.txt"
    return tuple(_read(path)) if path.is_file() else ()


def _read(path: Path) -> Iterator[CollectedSentence]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _TAGS.fullmatch(line)
        words, text = (match[1].split(), match[2]) if match else ([], line)
        said = {name: [word for word in words if word in known] for name, known in _SAID.items()}
        one_of_each = all(len(found) <= 1 for found in said.values()) and sum(map(len, said.values())) == len(words)
        if not text.strip() or text.startswith("[") or not one_of_each:
            raise ValueError(f"{path.name}, line {number}: not a sentence with what it says in brackets: {line!r}")
        side, view, turn, both = (next(iter(found), None) for found in said.values())
        yield CollectedSentence(text, side, view, turn, both is not None)


def collected_caption(scene: Scene, rng: random.Random) -> str | None:
    """A collected sentence that is true of a scene's hands, often with more about hand, place or light behind it.

    Of a scene without hands only that there are none is true. Two hands that differ take a short sentence each.

    Args:
        scene ([`Scene`]): the scene.
        rng (`random.Random`): chooses the words.

    Returns:
        `str` or None: None if there is none for the scene's gestures.
    """
    gestures = set(scene.gestures.values())
    if len(gestures) > 1:
        return _two_hands_apart(scene, rng)
    fitting = [
        sentence
        for sentence in collected_sentences(next(iter(gestures), None))
        if not gestures or sentence.is_true_of(scene)
    ]
    if not fitting:
        return None
    sentence = rng.choice(fitting)
    parts = [sentence.text.rstrip(".") if rng.random() < 0.5 else sentence.text]
    if len(scene.gestures) == 1:
        parts += _more_of_the_hand(scene, sentence, rng)
    if rng.random() < 0.35:
        parts.append(rng.choice((surroundings.place, surroundings.camera, surroundings.light_mood))(rng))
    if len(parts) == 1:
        return typed(parts[0], rng)
    parts[0] = parts[0].rstrip(".!?")
    return typed(", ".join(parts), rng)


def _two_hands_apart(scene: Scene, rng: random.Random) -> str | None:
    """Short sentences about either hand, with the sides where they do not say them; None if a hand has none."""
    parts = []
    for side, gesture in scene.gestures.items():
        fitting = [
            sentence
            for sentence in collected_sentences(gesture)
            if len(sentence.text.split()) <= _SHORT
            and not sentence.both
            and sentence.side in (None, side)
            and sentence.view in (None, scene.views[side])
            and sentence.turn in (None, scene.turn_of(side))
        ]
        if not fitting:
            return None
        sentence = rng.choice(fitting)
        text = sentence.text.rstrip(".!")
        if sentence.side is None:
            text = rng.choice(("{0} hand: {1}", "{0}: {1}", "{1} with the {0} hand", "{1} ({0} hand)")).format(
                side, text
            )
        parts.append(text)
    rng.shuffle(parts)
    joint = rng.choice((", ", "; ", " and ", " / ", ", and ", ". ", ", while "))
    return typed(rng.choice(("", "", "", "two hands: ", "one person: ")) + joint.join(parts), rng)


def _more_of_the_hand(scene: Scene, sentence: CollectedSentence, rng: random.Random) -> list[str]:
    """Tags that say what the sentence does not: side, view, where an upright hand points."""
    (side, gesture), *_ = scene.gestures.items()
    tags = []
    if sentence.side is None and rng.random() < 0.35:
        tags.append(
            rng.choice(("{} hand", "{} hand", "the {} hand", "with the {} hand", "{} hand raised")).format(side)
        )
    if sentence.view is None and rng.random() < 0.2:
        tags.append(rng.choice(HAND_VIEWS[scene.views[side]]))
    extended = gesture_by_name(gesture).extended
    if sentence.turn is None and not scene.turns and extended != {"thumb"} and rng.random() < 0.05:
        tags.append(turn_phrase("up", extended - {"thumb"}, True, rng).lstrip(", "))
    return tags
