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
from .sides_and_views import FINGER_TURNS, HAND_VIEWS
from .typing_habits import typed

_FOLDER = Path(__file__).parent / "collected"
_HANDLESS = "none"
_TAGS = re.compile(r"\[([a-z ]*)\] *(.*)")


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
        ValueError: a line's bracket holds an unknown word; the message names file and line.
    """
    path = _FOLDER / f"{gesture or _HANDLESS}.txt"
    return tuple(_read(path)) if path.is_file() else ()


def _read(path: Path) -> Iterator[CollectedSentence]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _TAGS.fullmatch(line)
        words, text = (match[1].split(), match[2]) if match else ([], line)
        if not text.strip() or set(words) - {*SIDES, *VIEWS, *TURNS, "up", "both"}:
            raise ValueError(f"{path.name}, line {number}: not a sentence with what it says in brackets: {line!r}")
        said = {
            name: next((word for word in words if word in known), None)
            for name, known in (("side", SIDES), ("view", VIEWS), ("turn", ("up", *TURNS)))
        }
        yield CollectedSentence(text, **said, both="both" in words)


def collected_caption(scene: Scene, rng: random.Random) -> str | None:
    """A collected sentence that is true of a scene's hands, often with more about hand, place or light behind it.

    Of a scene without hands only that there are none is true.

    Args:
        scene ([`Scene`]): the scene.
        rng (`random.Random`): chooses the words.

    Returns:
        `str` or None: None if there is none for the scene's gestures.
    """
    gestures = set(scene.gestures.values())
    if len(gestures) > 1:
        return None
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
    parts[0] = parts[0].rstrip(".!")
    return typed(", ".join(parts), rng)


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
    if sentence.turn is None and not scene.turns and gesture_by_name(gesture).thumb_up == 0 and rng.random() < 0.05:
        tags.append(rng.choice(FINGER_TURNS["up"]).lstrip(", "))
    return tags
