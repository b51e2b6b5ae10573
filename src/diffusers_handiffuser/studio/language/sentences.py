"""Sentences about scenes, as people write them when they ask for an image."""

import random
from dataclasses import dataclass, field
from typing import Any

from ..scenes import Scene
from . import people, settings, surroundings
from .clauses import HandClauses
from .handless import handless_text
from .inflection import conjugate, with_article, without_article
from .marks import frame_of, mark, without_marks
from .prompts import prompt_style
from .subjects import Subject, draw_subject, subject_of_role
from .typing_habits import typed

_LONGEST = 60


@dataclass(frozen=True)
class Sentence:
    """A sentence with what it claims.

    Args:
        text (`str`): the sentence.
        says (`dict`): its claims. `"hands"`: for every raised hand, in the order of the sentence, a dictionary with
            `"gesture"` and, where said, `"side"`, `"view"` and `"turn"` (`"up"`, `"down"` or `"sideways"`: where the
            thumb points if it alone is extended, and the fingers otherwise);
            empty if the sentence has no hands. `"framing"` (`"close-up"` or `"waist-up"`), `"skin"`, `"sleeve"`,
            `"background"`, `"texture"` and `"light"` where said, in the scene's words.
        frame (`str`): the sentence without its hands: the words for gesture, side and view replaced by a line, lower
            case, no punctuation. A line alone if the sentence says nothing else.
    """

    text: str
    says: dict[str, Any] = field(hash=False)
    frame: str


def natural_caption(scene: Scene, rng: random.Random) -> str:
    """The text of [`natural_sentence`].

    Args:
        scene ([`Scene`]): the scene to describe.
        rng (`random.Random`): chooses the words.
    """
    return natural_sentence(scene, rng).text


def natural_sentence(scene: Scene, rng: random.Random) -> Sentence:
    """Describes a scene as people write prompts, in at most 60 words; now and then only the hands.

    The gesture of every raised hand is said, and where a turned hand points; the rest more or less often. What is said
    of hands, framing, skin, sleeve, background and direction of light is true of the scene; who it is and where, the
    mood of the light, camera and style are free.

    Args:
        scene ([`Scene`]): the scene to describe.
        rng (`random.Random`): chooses the words.

    Returns:
        [`Sentence`]: the same for the same scene and state of `rng`.
    """
    if not scene.gestures:
        return handless_sentence(rng, scene)
    while True:
        says: dict[str, Any] = {}
        hands = HandClauses(scene, rng)
        marked = _marked_sentence(scene, hands, rng, says)
        text = without_marks(marked)
        if len(text.split()) <= _LONGEST and not hands.contradict_turn:
            return Sentence(text, {"hands": hands.claims, **says}, frame_of(marked))


def handless_caption(rng: random.Random, scene: Scene | None = None) -> str:
    """The text of [`handless_sentence`]."""
    return handless_sentence(rng, scene).text


def handless_sentence(rng: random.Random, scene: Scene | None = None) -> Sentence:
    """A sentence with no hand to draw: a landscape, an animal, a thing, a portrait, a person whose hands are hidden.

    Many have words that mean a gesture elsewhere: "a second-hand bookshop", "the horns of a goat".

    Args:
        rng (`random.Random`): chooses the words.
        scene ([`Scene`], *optional*): of a kind without hands, of which the sentence is true. Without one the sentence
            is free.
    """
    text, says = handless_text(rng, scene)
    return Sentence(text, {"hands": [], **says}, frame_of(text))


def _marked_sentence(scene: Scene, hands: HandClauses, rng: random.Random, says: dict[str, Any]) -> str:
    way = rng.random()
    if way < 0.02:
        return typed(hands.say_turn(hands.alone()), rng)
    if way < 0.15:
        return typed(hands.say_turn(_terse(hands, rng)), rng)
    if way < 0.37:
        return prompt_style(scene, hands, rng, says)
    hands.brief = rng.random() < 0.35
    hand_alone = rng.random() < (0.06 if scene.kind == "person" else 0.5)
    clause = (_about_hands if hand_alone else _about_a_person)(scene, hands, rng, says)
    return typed(hands.say_turn(_with_surroundings(clause, scene, hands, rng, says)), rng)


@dataclass(frozen=True)
class _Clause:
    """A clause, whether it can stand behind "in the kitchen,", and who does it, if not a hand alone."""

    text: str
    can_follow: bool = False
    subject: Subject | None = None


def _terse(hands: HandClauses, rng: random.Random) -> str:
    """Hardly more than somebody and a deed."""
    hands.brief = True
    subject = draw_subject(rng, unnamed=True)
    who = subject.text
    way = rng.random()
    if way < 0.2:
        return f"{who} {hands.predicate(subject, 's')}"
    if way < 0.37:
        return f"{who} {hands.predicate(subject, 'ing')}"
    if way < 0.5:
        return f"{who} is {hands.predicate(subject, 'ing')}"
    if way < 0.6:
        return f"{who} {rng.choice(people.ADVERBS)} {hands.predicate(subject, 's')}"
    if way < 0.7:
        return f"{surroundings.medium(rng, 0.2)} of {who} {hands.predicate(subject, 'ing')}"
    if way < 0.75 or len(hands.names) == 2:
        return f"{hands.predicate(subject, 'ing')}, {surroundings.place(rng, 1.0)}, {rng.choice(settings.TIMES)}"
    if way < 0.9:
        hand = mark(f"{hands.maybe_side_of(0)}hand{hands.of_hand(0)}")
        return f"{rng.choice(people.HAND_LOOKS)} {hand} {surroundings.place(rng, 1.0)}"
    hand = mark(f"{hands.maybe_side_of(0)}hand, {hands.tag(0)}")
    return f"{without_article(who)}, {hand}, {rng.choice(settings.CAMERAS)}"


def _about_a_person(scene: Scene, hands: HandClauses, rng: random.Random, says: dict[str, Any]) -> _Clause:
    """A clause whose subject is a person."""
    role = hands.role() if rng.random() < 0.12 else None
    if role:
        subject, deed = subject_of_role(role[0], rng), role[1]
    else:
        subject, deed = draw_subject(rng), None
    subject = _described(subject, scene, rng, says)
    way = rng.random()
    one_hand = len(hands.names) == 1
    who, verb = subject.text, ("base" if subject.first_person else "s")
    if rng.random() < 0.04 and not role:
        saying = hands.saying(subject)
        if saying:
            return _Clause(saying, False, subject)
    if way < 0.06 and one_hand and not role:
        # The hand of the person is the subject.
        side = hands.maybe_side_of(0, 0.85)
        owner = _owner(subject, rng, f"{side}hand", hands)
        return _Clause(f"{owner}{mark(hands.of_hand(0))}", True, subject)
    if way < 0.13 and one_hand and not role:
        lead = f"{surroundings.medium(rng)} of " if rng.random() < 0.5 else ""
        return _Clause(f"{lead}{subject.objective}{hands.raised(subject)}", False, subject)
    if way < 0.19 and one_hand and not role:
        front, predicate = hands.fronted(subject, verb)
        return _Clause(f"{front}, {who} {predicate}", False, subject)
    if way < 0.23 and one_hand and not role:
        passive = hands.passive()
        if passive:
            noun, made = passive
            side = mark(subject.fill(f" with {{his}} {hands.side_of(0)}hand")) if rng.random() < 0.6 else ""
            return _Clause(
                f"{noun} {rng.choice(('is', 'is being', ''))} {made} by {subject.objective}{side}".replace("  ", " "),
                False,
                subject,
            )
    if way < 0.43:
        opening = surroundings.medium(rng) if way < 0.37 else f"{rng.choice(settings.OPENINGS)} {subject.objective}"
        lead = f"{opening} of {subject.objective}" if way < 0.37 else opening
        joint = rng.choice((" ", " ", " ", ", ", " who is "))
        if joint == " who is " and not subject.first_person:
            return _Clause(f"{lead} who is {hands.predicate(subject, 'ing', deed)}", False, subject)
        return _Clause(
            f"{lead}{', ' if joint == ', ' else ' '}{hands.predicate(subject, 'ing', deed)}", False, subject
        )
    if way < 0.56:
        be = "am" if subject.first_person else "is"
        return _Clause(f"{who} {be} {hands.predicate(subject, 'ing', deed)}", True, subject)
    if way < 0.66:
        act = rng.choice(people.OTHER_ACTS)
        acts, doing = conjugate(act, verb), conjugate(act, "ing")
        pattern, form, can_follow = rng.choice(
            (
                (f"{who} {acts} and {{}}", verb, True),
                (f"while {doing}, {who} {{}}", verb, False),
                (f"{who.rstrip(',')}, {doing}, {{}}", verb, True),
                (f"{who} {{}} while {doing}", verb, True),
                (f"{subject.objective} {doing} and {{}}", "ing", False),
                (f"{who} {acts}, {{}}", "ing", True),
            )
        )
        text = pattern.format(hands.predicate(subject, form, deed))
        return _Clause(text, can_follow, subject)
    if way < 0.72:
        return _Clause(f"{who} {hands.predicate(subject, 'ed', deed)}", True, subject)
    if way < 0.83:
        seen = rng.choice(
            ("", "", ", caught ", ", photographed ", ", seen here ", ", pictured ", " can be seen ", ", filmed while ")
        )
        doer = subject.objective if not seen.startswith(" can") else who
        return _Clause(f"{doer}{seen or ' '}{hands.predicate(subject, 'ing', deed)}", False, subject)
    adverb = f"{rng.choice(people.ADVERBS)} " if rng.random() < 0.3 else ""
    return _Clause(f"{who} {adverb}{hands.predicate(subject, verb, deed)}", True, subject)


def _described(subject: Subject, scene: Scene, rng: random.Random, says: dict[str, Any]) -> Subject:
    """The person with their clothes or their skin, now and then."""
    if subject.first_person or subject.text.endswith(","):
        return subject
    text = subject.text
    if rng.random() < 0.07:
        text += " " + surroundings.skin(scene, rng, says)
    if rng.random() < 0.16:
        text += f" {surroundings.clothes(scene, rng, says)}"
    return Subject(subject.fill(text), subject.he, subject.short and text == subject.text)


def _owner(subject: Subject, rng: random.Random, hand: str, hands: HandClauses) -> str:
    if subject.first_person:
        return mark(f"my {hand}")
    if subject.short and rng.random() < 0.7:
        s = "'" if subject.text.endswith("s") else "'s"
        return f"{subject.text}{s} {mark(hand)}"
    the = rng.choice(("the", "the", "the" if hands.turn else "the raised"))
    return f"{the} {mark(hand)} of {subject.text.rstrip(',')}"


def _about_hands(scene: Scene, hands: HandClauses, rng: random.Random, says: dict[str, Any]) -> _Clause:
    """A clause whose subject is a hand, or two."""
    looks = f"{rng.choice(people.HAND_LOOKS)} " if rng.random() < 0.65 else ""
    lead = ""
    way = rng.random()
    if way < 0.3:
        lead = f"{with_article(surroundings.framing(scene, rng, says))} of "
    elif way < 0.6:
        lead = f"{surroundings.medium(rng)} of "
    elif way < 0.7:
        lead = f"{rng.choice(settings.OPENINGS)} "
    if hands.both_alike:
        for i in range(2):
            hands.side_of(i)
        subject = rng.choice(
            (
                f"two {looks}hands",
                f"a pair of {looks}hands",
                f"both {looks}hands of {draw_subject(rng).objective.rstrip(',')}",
            )
        )
        act = hands.of_hand(0, with_view=False)
        each = f", each{act}" if not act.startswith(",") else act
        return _Clause(f"{lead}{subject}{mark(each + hands.view_of_both())}")
    if len(hands.names) == 2:
        clauses = [f"a {hands.side_of(i)}hand{hands.of_hand(i, with_view=rng.random() < 0.3)}" for i in range(2)]
        joint = rng.choice((" and ", ", ", " next to ", " beside ", "; "))
        return _Clause(f"{lead}{mark(joint.join(clauses))}")
    side = hands.maybe_side_of(0)
    if rng.random() < 0.14 and hands.has_noun:
        # The gesture first: "a peace sign made by a left hand".
        noun = mark(hands.noun(0))
        by = rng.choice(("by", "made by", "from", "shown by", "formed by"))
        hand = with_article(f"{looks}{mark(side + 'hand')}")
        return _Clause(f"{lead}{noun}, {by} {hand}")
    det = rng.choice(("a", "a", "a", "the", "one", "somebody's"))
    words = f"{looks}{mark(side + 'hand')}"
    subject = with_article(words) if det == "a" else f"{det} {words}"
    if "'s" not in subject and rng.random() < 0.25:
        subject += f" of {draw_subject(rng).objective.rstrip(',')}"
    elif rng.random() < 0.25:
        subject += f" {rng.choice(people.HAND_EXTRAS)}"
    return _Clause(f"{lead}{subject}{mark(hands.of_hand(0))}")


def _with_surroundings(
    clause: _Clause, scene: Scene, hands: HandClauses, rng: random.Random, says: dict[str, Any]
) -> str:
    """The clause with place, time, light, camera and style around it."""
    where = "" if hands.has_occasion else _where(scene, rng, says)
    extras = _extras(scene, rng, says, clause.subject)
    if not extras and (not clause.subject or not where):
        extras.append(rng.choice(settings.TIMES) if where and rng.random() < 0.5 else surroundings.camera(rng))
    if not clause.subject and len(extras) + bool(where) < 2:
        extras.append(rng.choice(settings.STYLES))
    text = clause.text
    if where and clause.can_follow and rng.random() < 0.2:
        text = f"{where}, {text}"
    elif where:
        space = not hands.says_views and rng.random() < (0.75 if clause.subject else 0.45)
        text = f"{text}{' ' if space else ', '}{where}"
    for extra in extras:
        if len(f"{text} {extra}".split()) <= _LONGEST:
            text += f", {extra}"
    return text


def _where(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """A place or a background, or neither."""
    way = rng.random()
    if way < 0.6:
        return surroundings.place(rng)
    return surroundings.background(scene, rng, says) if way < 0.85 else ""


def _extras(scene: Scene, rng: random.Random, says: dict[str, Any], subject: Subject | None) -> list[str]:
    extras = []
    busy = rng.choice((0.0, 0.0, 0.0, 0.5, 1.3))

    def sometimes(chance: float) -> bool:
        return rng.random() < busy * chance

    if subject:
        if sometimes(0.25):
            extras.append(subject.fill(rng.choice(people.EXPRESSIONS)))
        if sometimes(0.2):
            extras.append(rng.choice(settings.ONLOOKERS))
    else:
        if sometimes(0.28):
            extras.append(surroundings.sleeve(scene, rng, says))
        if sometimes(0.28) and "skin" not in says:
            extras.append(surroundings.skin(scene, rng, says))
    if sometimes(0.2):
        extras.append(rng.choice(settings.TIMES))
    if sometimes(0.06):
        distractor = rng.choice(settings.DISTRACTORS)
        extras.append(subject.fill(distractor) if subject else distractor.replace("{his}", "somebody's"))
    if sometimes(0.1) and "framing" not in says:
        extras.append(surroundings.framing(scene, rng, says))
    if sometimes(0.1):
        extras.append(surroundings.light_direction(scene, rng, says))
    elif sometimes(0.18):
        extras.append(surroundings.light_mood(rng))
    if sometimes(0.15):
        extras.append(surroundings.camera(rng))
    if sometimes(0.12):
        extras.append(rng.choice(settings.STYLES))
    if sometimes(0.06):
        extras.append(rng.choice(settings.QUALITIES))
    return extras
