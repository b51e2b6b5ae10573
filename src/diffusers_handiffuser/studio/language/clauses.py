"""What the hands of a scene do, in words: the deed, the side, the view, with a note of all that is claimed."""

import random
import re
from typing import Any

from ..gestures import gesture_by_name
from ..scenes import Scene
from .finger_words import finger_deed, finger_shape
from .inflection import conjugate, inflect, without_article
from .lexicon import LEXICON
from .marks import extend_last_mark, mark, marked_parts
from .sayings import QUOTES, SAYING_VERBS, SAYINGS
from .sides_and_views import (
    BOTH_PHRASES,
    BOTH_VIEWS,
    FRONTED_SIDES,
    HAND_VIEWS,
    SIDE_OF_FINGER_PHRASES,
    SIDE_PHRASES,
    VIEWS,
    turn_phrase,
)
from .subjects import Subject
from .wording import Wording
from .wording import words as _words

_THUMBS = {"thumbs_up": "up", "thumbs_down": "down"}
_OF_TURNS = re.compile(
    r"\b(?:up|upwards?|upright|rais\w+|lift\w*|high|air|sky|down|downwards?|"
    r"sideways|to the side|horizontal\w*|vertical\w*)\b"
)
"""Words that say or imply where a hand or a part of it points."""
# The fingers that stand say all there is to say of these.
_SAID_BY_FINGERS = frozenset(_words("pointing three_fingers four_fingers horns l_sign call_me love_you pinky_up"))
_ENDS_WITH_FINGER = re.compile(r"(fingers?|fingertips|thumb|pinky|pinkie|index|forefinger)$")
# A deed for "... with both hands" says no other means of doing it, and no occasion.
_NOT_SHORT = re.compile(r"!$|hand|,| with (?!the (?:fingers|thumb|middle))| on \{his\}|~.*~")
_ASIDES = tuple(phrase for phrase in SIDE_PHRASES if phrase.startswith((",", "(")))


class HandClauses:
    """The words for the hands of one scene; `claims` notes what they say, `brief` asks for few of them.

    Args:
        scene ([`Scene`]): with one or two raised hands.
        rng (`random.Random`): chooses the words.
    """

    def __init__(self, scene: Scene, rng: random.Random):
        self.rng = rng
        self.sides = list(scene.gestures)
        if len(self.sides) == 2 and rng.random() < 0.5:
            self.sides.reverse()
        self.names = [scene.gestures[side] for side in self.sides]
        self.views = [scene.views[side] for side in self.sides]
        self.claims: list[dict[str, Any]] = [
            {"gesture": name, **({"turn": _THUMBS[name]} if name in _THUMBS else {})} for name in self.names
        ]
        self.turn = next(iter(scene.turns.values()), None)
        self.has_occasion = False
        self.contradict_turn = False
        self.brief = False

    @property
    def both_alike(self) -> bool:
        """Whether two hands make the same gesture."""
        return len(self.names) == 2 and self.names[0] == self.names[1]

    @property
    def says_views(self) -> bool:
        """Whether a view has been said."""
        return any("view" in claim for claim in self.claims)

    @property
    def has_noun(self) -> bool:
        """Whether the first gesture has a noun that a hand can make."""
        words = LEXICON.get(self.names[0])
        return words is not None and any("hand" not in noun for _, noun in words.nouns)

    def role(self) -> tuple[str, str] | None:
        """A person and a deed that imply the gesture of the only hand."""
        words = LEXICON.get(self.names[0])
        if words is None or len(self.names) == 2 or self.turn:
            return None
        return self.rng.choice(words.roles)

    def predicate(self, subject: Subject, form: str, deed: str | None = None) -> str:
        """What the person does with the hands, conjugated (see `inflect`): "holds up two fingers of her left hand"."""
        if self.both_alike:
            words = self._both_alike()
        elif len(self.names) == 2:
            words = self._one_each()
        else:
            words = (
                self._with_side(deed or self._deed(0), 0)
                if self._says_side()
                else self._without_side(deed or self._deed(0))
            )
            words = self._noted(words) + self._view(0)
        return mark(subject.fill(conjugate(self._noted(words), form)))

    def saying(self, subject: Subject) -> str | None:
        """Of the only hand: "'perfect', says the chef, making an OK sign", or nothing where nothing is ever said."""
        if len(self.names) == 2 or self.names[0] not in SAYINGS:
            return None
        before, after = self.rng.choice(QUOTES)
        words = mark(before + self.rng.choice(SAYINGS[self.names[0]]) + after)
        verb = self.rng.choice(SAYING_VERBS)
        who = subject.text.rstrip(",")
        said = f"I {verb}" if subject.first_person else f"{inflect(verb, 's')} {who}"
        return f"{words}, {said}, {self.predicate(subject, 'ing')}"

    def alone(self) -> str:
        """Nothing but the hands, as short as people type it: "fist", "left hand, thumbs down"."""
        rng = self.rng
        if self.both_alike:
            for i in range(2):
                self.side_of(i)
            return mark(
                rng.choice(("both hands: {}", "{}, both hands", "two hands, {}", "{}, two hands")).format(self.tag(0))
            )
        if len(self.names) == 2:
            parts = [f"{self.side_of(i)}hand {self.tag(i)}" for i in range(2)]
            return mark(rng.choice((", ", " and ", " + ", "; ")).join(parts))
        words = LEXICON.get(self.names[0])
        # The first names of a gesture are the usual ones.
        usual = rng.random() < 0.5
        tag = without_article(rng.choice(words.nouns[:3])[1].format(hand="hand")) if words and usual else self.tag(0)
        hand = f"{self.maybe_side_of(0, 0.5)}hand"
        if hand == "hand":
            longer = (f"hand, {tag}", f"{tag}, one hand", f"a hand, {tag}")
            text = rng.choice((tag, tag, tag, *(longer if "hand" not in tag else ())))
        else:
            text = rng.choice((f"{hand}, {tag}", f"{tag}, {hand}", f"{hand}: {tag}", f"{tag} ({hand})"))
        return mark(text + self._hand_view(0, 0.2))

    def fronted(self, subject: Subject, form: str) -> tuple[str, str]:
        """Of the only hand: the side for the front of the clause, and the predicate without it."""
        self.claims[0]["side"] = self.sides[0]
        front = self.rng.choice(FRONTED_SIDES).replace("#", self.sides[0])
        words = self._noted(self._deed(0, with_slot=False)) + self._view(0)
        return mark(subject.fill(front)), mark(subject.fill(conjugate(words, form)))

    def passive(self) -> tuple[str, str] | None:
        """Of the only hand: the gesture as a noun, and "is made"; nothing for gestures without a noun."""
        words = LEXICON.get(self.names[0])
        if words is None or len(self.names) == 2:
            return None
        verbs, noun = self.rng.choice(words.nouns)
        if "{hand}" in noun:
            return None
        verb, _, particle = self.rng.choice(verbs).partition(" ")
        return mark(noun), f"{inflect(verb, 'en')} {particle}".strip()

    def raised(self, subject: Subject) -> str:
        """Of the only hand: ", left hand up, two fingers in a V" behind the person."""
        side = f"{self.sides[0]} " if self._says_side() else ""
        his = self.rng.choice(("{his} ", "", "the ", "with {his} ", "with the "))
        up = self.rng.choice(
            ("raised", "up", "lifted", "in the air", "held up", "in front of the camera", "up high", "in view")
        )
        lead = f"{his}{side}hand {up}"
        comma = " " if lead.startswith("with") else ", "
        return mark(subject.fill(f"{comma}{lead}, {self.shape(0)}{self._view(0)}"))

    def of_hand(self, index: int, with_view: bool = True) -> str:
        """What a hand does, behind "a left hand": "making a fist", "with two fingers in a V", and the view."""
        words = LEXICON.get(self.names[index])
        nouns = [entry for entry in words.nouns if "hand" not in entry[1]] if words else []
        if not nouns or self.rng.random() < 0.45:
            act = self.rng.choice(("with {}", "with {}", ", {}", "raised with {}", "held up with {}")).format(
                self.shape(index)
            )
        else:
            verbs, noun = self.rng.choice(nouns)
            act = self._noun_act(self.rng.choice(verbs), noun)
        view = self._hand_view(index) if with_view else ""
        return (act if act.startswith(",") else f" {act}") + view

    def noun(self, index: int) -> str:
        """The gesture as a noun with its article, or as a shape of the fingers."""
        words = LEXICON.get(self.names[index])
        if words is None:
            return self.shape(index)
        nouns = [noun for _, noun in words.nouns if "hand" not in noun]
        return self.rng.choice(nouns) if nouns else self.shape(index)

    def tag(self, index: int) -> str:
        """The gesture as a tag of a prompt."""
        words = LEXICON.get(self.names[index])
        way = self.rng.random()
        if words is None or way < 0.25:
            return self.shape(index)
        if way < 0.75:
            return without_article(self.rng.choice(words.nouns)[1].replace("{hand}", "hand"))
        return conjugate(self._short_deed(index), "ing").replace("{his}", self.rng.choice(("the", "his", "her")))

    def shape(self, index: int) -> str:
        """The state of the fingers."""
        name = self.names[index]
        words = LEXICON.get(name)
        if words is None or (name in _SAID_BY_FINGERS and self.rng.random() < 0.4):
            return finger_shape(gesture_by_name(name).extended, self.rng)
        return self.rng.choice(words.shapes)

    def say_turn(self, text: str) -> str:
        """The sentence with where the hand points: always of a turned hand, now and then of one that points up.

        Sets `contradict_turn` if the sentence says already that a turned hand is held another way.
        """
        fingers = gesture_by_name(self.names[0]).extended - {"thumb"}
        turn = self.turn
        if turn:
            self.contradict_turn = bool(_OF_TURNS.search(" ".join(marked_parts(text)).lower()))
        elif len(self.names) == 1 and gesture_by_name(self.names[0]).extended != {"thumb"}:
            turn = "up" if self.rng.random() < 0.07 else None
        if turn is None:
            return text
        self.claims[0]["turn"] = turn
        of_fingers = bool(fingers) and self.rng.random() < 0.5
        phrase = turn_phrase(turn, fingers, of_fingers, self.rng)
        if not phrase.startswith(","):
            # Behind "palm out" or "(left hand)" a phrase of its own.
            phrase = f"{',' if re.search('[,():]', marked_parts(text)[-1]) else ''} {phrase}"
        return extend_last_mark(text, phrase)

    def side_of(self, index: int) -> str:
        """`"left "` or `"right "`, noted as said."""
        self.claims[index]["side"] = self.sides[index]
        return f"{self.sides[index]} "

    def maybe_side_of(self, index: int, chance: float = 0.75) -> str:
        """The side, or nothing."""
        return self.side_of(index) if self.rng.random() < chance else ""

    def view_of_both(self, chance: float = 0.35) -> str:
        """The view of two hands that are seen alike, behind a comma, or nothing."""
        if self.views[0] != self.views[1] or self.rng.random() > chance:
            return ""
        for claim in self.claims:
            claim["view"] = self.views[0]
        return ", " + self.rng.choice(BOTH_VIEWS[self.views[0]])

    def _says_side(self) -> bool:
        if self.rng.random() < (0.5 if self.brief else 0.72):
            self.claims[0]["side"] = self.sides[0]
            return True
        return False

    def _noted(self, deed: str) -> str:
        if deed.endswith("!"):
            self.has_occasion = True
            return deed[:-1]
        return deed

    def _deed(self, index: int, with_slot: bool = True) -> str:
        """Something a person does, as the lexicon writes it."""
        name, rng = self.names[index], self.rng
        if self.brief and rng.random() < 0.8:
            return self._short_deed(index)
        words = LEXICON.get(name)
        if words is None or (name in _SAID_BY_FINGERS and rng.random() < 0.12):
            extended = gesture_by_name(name).extended
            if with_slot and rng.random() < 0.3:
                hold = rng.choice(("~hold up", "~hold up", "~keep"))
                return f"{hold} {{his}} {{hand}} with {finger_shape(extended, rng)}"
            return finger_deed(extended, rng)
        way = rng.random()
        if with_slot and way < 0.13:
            lead = rng.choice(
                ("~hold up {his} {hand}", "~raise {his} {hand}", "~lift {his} {hand}", "~show {his} {hand}")
            )
            return f"{lead}{rng.choice((' with ', ', '))}{rng.choice(words.shapes)}"
        if way < 0.52:
            verbs, noun = rng.choice(words.nouns)
            deed = f"~{rng.choice(verbs)} {noun}"
        else:
            deed = rng.choice(words.verbs)
        if not with_slot and ("hand" in deed or " on {his}" in deed):
            plain = [verb for verb in words.verbs if "hand" not in verb and " on {his}" not in verb]
            return rng.choice(plain) if plain else f"~keep {rng.choice(words.shapes)}"
        return deed

    def _short_deed(self, index: int) -> str:
        """A deed that says no hand and no occasion, for sentences with two of them."""
        words = LEXICON.get(self.names[index])
        if words is None:
            return finger_deed(gesture_by_name(self.names[index]).extended, self.rng)
        return self.rng.choice(_short_deeds(words, self.names[index]))

    def _with_side(self, deed: str, index: int) -> str:
        side, rng = self.sides[index], self.rng
        if "{hand}" in deed:
            return deed.replace("{hand}", f"{side} hand")
        occasion = deed.endswith("!")
        bare = deed.rstrip("!")
        if " hand" in bare or " on {his}" in bare:
            phrase = rng.choice(_ASIDES)
        elif _ENDS_WITH_FINGER.search(bare) and " with " not in bare and rng.random() < 0.75:
            phrase = rng.choice(SIDE_OF_FINGER_PHRASES)
        elif " with " in bare or " on " in bare or bare.startswith("~give"):
            phrase = rng.choice([p for p in SIDE_PHRASES if not p.startswith(("with", "on"))])
        else:
            phrase = rng.choice(SIDE_PHRASES)
        phrase = phrase.replace("#", side)
        return f"{bare}{'' if phrase.startswith(',') else ' '}{phrase}{'!' if occasion else ''}"

    def _without_side(self, deed: str) -> str:
        return deed.replace("{hand}", "hand")

    def _view(self, index: int, chance: float = 0.33) -> str:
        """The view behind a deed, with its comma, or nothing."""
        rng, view = self.rng, self.views[index]
        if rng.random() > (chance / 3 if self.brief else chance):
            return ""
        self.claims[index]["view"] = view
        phrase = rng.choice(VIEWS[view])
        if phrase.startswith(("palm ", "knuckles ", "back ")) and "side to" not in phrase and rng.random() < 0.3:
            return f" with {rng.choice(('{his}', 'the'))} {phrase}"
        return f", {phrase}"

    def _hand_view(self, index: int, chance: float = 0.36) -> str:
        if self.rng.random() > (chance / 3 if self.brief else chance):
            return ""
        self.claims[index]["view"] = self.views[index]
        return ", " + self.rng.choice(HAND_VIEWS[self.views[index]])

    def _both_alike(self) -> str:
        for i in range(2):
            self.side_of(i)
        words, rng = LEXICON.get(self.names[0]), self.rng
        if words is not None and rng.random() < 0.5:
            return rng.choice(words.doubles) + self.view_of_both()
        phrase = rng.choice(BOTH_PHRASES)
        return f"{self._short_deed(0)}{'' if phrase.startswith(',') else ' '}{phrase}{self.view_of_both()}"

    def _one_each(self) -> str:
        rng = self.rng
        deeds = [self._short_deed(i) for i in range(2)]
        way = rng.random()
        if way < 0.2:
            one, other = rng.choice(
                (("one hand", "the other"), ("one hand", "the other hand"), ("one of {his} hands", "the other one"))
            )
            return f"{deeds[0]} with {one} and {deeds[1]} with {other}"
        first, second = (self.side_of(i).strip() for i in range(2))
        if way < 0.7:
            his = rng.choice(("{his}", "{his}", "the"))
            end = rng.choice((f"{his} {second}", f"{his} {second} hand"))
            joint = rng.choice(("and", "and", "while also", "and, at the same time,"))
            last = re.sub(r"^~(\w+)", lambda m: inflect(m[1], "ing"), deeds[1]) if joint == "while also" else deeds[1]
            return f"{deeds[0]} with {his} {first} hand {joint} {last} with {end}"
        nouns = [self.noun(i) for i in range(2)]
        return rng.choice(
            (
                f"~raise both hands, {nouns[0]} on the {first} and {nouns[1]} on the {second}",
                f"~show {nouns[0]} on the {first} hand, {nouns[1]} on the {second}",
                f"~hold up both hands: {first} hand {nouns[0]}, {second} hand {nouns[1]}",
                f"~combine {nouns[0]} ({first} hand) with {nouns[1]} ({second} hand)",
            )
        )

    def _noun_act(self, verb: str, noun: str) -> str:
        way = self.rng.random()
        if way < 0.7:
            return f"{conjugate('~' + verb, 'ing')} {noun}"
        return self.rng.choice(
            (f"forming {noun}", f"posed as {noun}", f"that {conjugate('~' + verb, 's')} {noun}", f"gesturing {noun}")
        )


_SHORT: dict[str, list[str]] = {}


def _short_deeds(words: Wording, name: str) -> list[str]:
    if name not in _SHORT:
        deeds = [f"~{verb} {noun}" for verbs, noun in words.nouns for verb in verbs] + list(words.verbs)
        short = [d for d in deeds if not _NOT_SHORT.search(d) and len(d.split()) <= 7]
        _SHORT[name] = short
    return _SHORT[name]
