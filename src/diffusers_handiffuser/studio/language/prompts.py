"""Prompts of tags with commas: "closeup, hand, peace sign, 8k"."""

import random
from typing import Any

from ..scenes import Scene
from . import people, settings, surroundings
from .clauses import HandClauses
from .inflection import without_article
from .marks import mark
from .sides_and_views import FRAMINGS, HAND_VIEWS, SIDE_TAGS
from .subjects import draw_subject
from .typing_habits import british, misspell


def prompt_style(scene: Scene, hands: HandClauses, rng: random.Random, says: dict[str, Any]) -> str:
    """A scene as a list of tags; the hands marked."""
    tags = [*_who(scene, rng, says), *_of_hands(hands, rng)]
    if rng.random() < 0.4:
        kind = "waist-up" if scene.kind == "person" else "close-up"
        says["framing"] = kind
        tags.insert(rng.randrange(2), rng.choice(FRAMINGS[kind]))
    extras = [surroundings.place(rng, 0.7)] if rng.random() < 0.45 else []
    if not extras and rng.random() < 0.55:
        extras.append(surroundings.background(scene, rng, says, as_tag=True))
    if rng.random() < 0.15:
        extras.append(rng.choice(settings.TIMES))
    if rng.random() < 0.1:
        extras.append(surroundings.skin(scene, rng, says))
    if rng.random() < 0.15:
        extras.append(surroundings.light_direction(scene, rng, says))
    elif rng.random() < 0.35:
        extras.append(rng.choice(settings.LIGHT_MOODS))
    if rng.random() < 0.25:
        extras += surroundings.camera(rng).split(", ")
    if rng.random() < 0.25:
        extras.append(rng.choice(settings.STYLES))
    if rng.random() < 0.1:
        extras.append(without_article(surroundings.medium(rng)))
    extras += rng.sample(settings.QUALITIES, rng.choice((0, 0, 1, 1, 2, 3)))
    if len(extras) < 2:
        extras += [rng.choice(settings.STYLES), rng.choice(settings.CAMERAS)]
    if rng.random() < 0.5:
        rng.shuffle(extras)
    if rng.random() < 0.3:
        # The hands anywhere, not only up front.
        tags += extras
        rng.shuffle(tags)
    else:
        tags += extras
    text = ", ".join(tags) if "light" in says or rng.random() < 0.93 else " ".join(tags)
    text = hands.say_turn(text)
    if rng.random() < 0.4:
        text = british(text)
    if rng.random() < 0.05:
        text = misspell(text, rng)
    return text.lower() if rng.random() < 0.75 else text[0].upper() + text[1:]


def _who(scene: Scene, rng: random.Random, says: dict[str, Any]) -> list[str]:
    """The person, or none where hands stand alone."""
    if scene.kind != "person" and rng.random() < 0.45:
        tags = (
            [rng.choice(("hand", "human hand", f"{rng.choice(people.HAND_LOOKS)} hand"))]
            if scene.kind == "close_up"
            else []
        )
        if rng.random() < 0.3:
            tags.append(surroundings.sleeve(scene, rng, says))
        if rng.random() < 0.3:
            tags.append(rng.choice(people.HAND_EXTRAS))
        return tags
    subject = draw_subject(rng, rich=False)
    tags = ["selfie" if subject.first_person else without_article(subject.text).rstrip(",")]
    if rng.random() < 0.3:
        tags.append(surroundings.clothes(scene, rng, says))
    if rng.random() < 0.25:
        tags.append(subject.fill(rng.choice(people.EXPRESSIONS)))
    return tags


def _of_hands(hands: HandClauses, rng: random.Random) -> list[str]:
    if hands.both_alike:
        for i in range(2):
            hands.side_of(i)
        both = rng.choice(("both hands", "two hands", "pair of hands", "left and right hand", "both hands up"))
        tags = [_emphasized(hands.tag(0), rng), mark(both)]
        view = hands.view_of_both(0.3)
        return tags + ([mark(view[2:])] if view else [])
    if len(hands.names) == 2:
        pairs = [(f"{hands.side_of(i)}hand", hands.tag(i)) for i in range(2)]
        form = rng.choice(("{0}: {1}", "{0} {1}", "{1} with the {0}", "{1} ({0})", "{1} on {0}"))
        return [mark(form.format(*pair)) for pair in pairs]
    tags = [_emphasized(hands.tag(0), rng)]
    if rng.random() < 0.72:
        side = (
            rng.choice(SIDE_TAGS).replace("#", hands.side_of(0).strip()).replace("{his}", rng.choice(("his", "her")))
        )
        if rng.random() < 0.3:
            tags = [mark(f"{side} {hands.tag(0)}")]
        else:
            tags.insert(rng.randrange(2), mark(side))
    if rng.random() < 0.4:
        hands.claims[0]["view"] = hands.views[0]
        tags.append(mark(rng.choice(HAND_VIEWS[hands.views[0]])))
    return tags


def _emphasized(tag: str, rng: random.Random) -> str:
    if rng.random() < 0.05:
        return mark(rng.choice((f"({tag}:1.{rng.randint(1, 5)})", f"(({tag}))", f"({tag})", f"[{tag}]", f"{tag}++")))
    return mark(tag)
