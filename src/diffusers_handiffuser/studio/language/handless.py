"""Sentences without hands: landscapes, animals, things, food, buildings, art, people whose hands are hidden."""

import random
from typing import Any

from ..scenes import Scene
from . import people, settings, surroundings, world
from .inflection import with_article, without_article
from .subjects import Subject, draw_subject
from .typing_habits import dress_up, typed


def handless_text(rng: random.Random, scene: Scene | None = None) -> tuple[str, dict[str, Any]]:
    """A sentence in which no hand is to be drawn, and its claims about the scene.

    Args:
        rng (`random.Random`): chooses the words.
        scene ([`Scene`], *optional*): of a kind without hands; the sentence is true of it. Without one, anything goes.
    """
    says: dict[str, Any] = {}
    if scene is None and rng.random() < 0.02:
        return dress_up(rng.choice(world.BARE_WORDS), rng), says
    person = rng.random() < 0.3 if scene is None else scene.kind == "hands_hidden"
    text = _portrait(rng, scene, says) if person else _thing(rng, scene, says)
    extras = []
    if rng.random() < 0.22:
        extras.append(rng.choice(settings.TIMES))
    if scene is not None and rng.random() < 0.12:
        extras.append(surroundings.light_direction(scene, rng, says))
    elif rng.random() < 0.2:
        extras.append(surroundings.light_mood(rng))
    if rng.random() < 0.2:
        extras.append(surroundings.camera(rng))
    if rng.random() < 0.2:
        extras.append(rng.choice(settings.STYLES))
    if rng.random() < 0.3:
        extras += rng.sample(settings.QUALITIES, rng.choice((1, 1, 2, 3)))
    if not extras and rng.random() < 0.5:
        extras.append(
            rng.choice((rng.choice(settings.TIMES), surroundings.light_mood(rng), rng.choice(settings.STYLES)))
        )
    if rng.random() < 0.04:
        extras.append(
            rng.choice(
                ("no hands", "no people", "without any hands", "no hands in the picture", "nobody around")
                if not person
                else ("no hands", "hands out of frame")
            )
        )
    text = ", ".join([text, *extras])
    if len(text.split()) < 4:
        text = f"{text} {surroundings.place(rng)}"
    return typed(" ".join(text.split()[:58]), rng), says


def _thing(rng: random.Random, scene: Scene | None, says: dict[str, Any]) -> str:
    core = rng.choices(
        (_landscape, _animal, _object, _food, _building, _abstract, _distractor), (17, 17, 18, 10, 16, 8, 20)
    )[0](rng)
    way = rng.random()
    if scene is not None and rng.random() < 0.4:
        core = f"{core}, {surroundings.background(scene, rng, says, as_tag=True)}"
    if way < 0.3:
        return f"{surroundings.medium(rng)} of {core}"
    if way < 0.42:
        return f"{rng.choice(settings.OPENINGS)} {core}"
    if way < 0.55:
        return without_article(core)
    return core


def _landscape(rng: random.Random) -> str:
    text = with_article(f"{rng.choice(world.LAND_LOOKS)} {rng.choice(world.LAND)}")
    if rng.random() < 0.35:
        text += f" near {rng.choice(settings.CITIES)}"
    return f"{text} {rng.choice(world.LAND_EXTRAS)}" if rng.random() < 0.7 else text


def _animal(rng: random.Random) -> str:
    text = with_article(f"{rng.choice(world.ANIMAL_LOOKS)} {rng.choice(world.ANIMALS)}")
    text = f"{text} {rng.choice(world.ANIMAL_ACTS)}"
    return f"{text} {surroundings.place(rng)}" if rng.random() < 0.5 else text


def _object(rng: random.Random) -> str:
    looks = rng.sample(world.THING_LOOKS, rng.choice((1, 1, 2)))
    return f"{with_article(' '.join([*looks, rng.choice(world.THINGS)]))} {rng.choice(world.SPOTS)}"


def _food(rng: random.Random) -> str:
    text = with_article(f"{rng.choice(world.FOOD_LOOKS)} {rng.choice(world.FOOD)}")
    return f"{text} {rng.choice((rng.choice(world.SPOTS), surroundings.place(rng)))}"


def _building(rng: random.Random) -> str:
    text = with_article(f"{rng.choice(world.BUILDING_LOOKS)} {rng.choice(world.BUILDINGS)}")
    if rng.random() < 0.5:
        text += f" in {rng.choice(settings.CITIES)}"
    return f"{text} {rng.choice(settings.TIMES)}" if rng.random() < 0.5 else text


def _abstract(rng: random.Random) -> str:
    lead = rng.choice(
        (
            "abstract art, ",
            "an abstract painting of ",
            "abstract composition with ",
            "",
            "a generative artwork with ",
            "a print of ",
        )
    )
    one, other = rng.sample(world.ABSTRACT, 2)
    return f"{lead}{one} and {other} {rng.choice(world.ABSTRACT_MOODS)}"


def _distractor(rng: random.Random) -> str:
    text = rng.choice(world.DISTRACTORS)
    text += f" {surroundings.place(rng) if rng.random() < 0.6 else rng.choice(world.SPOTS)}"
    if rng.random() < 0.3:
        text += f", with {with_article(f'{rng.choice(world.THING_LOOKS)} {rng.choice(world.THINGS)}')} nearby"
    return text


def _portrait(rng: random.Random, scene: Scene | None, says: dict[str, Any]) -> str:
    """A person whose hands are out of the picture."""
    subject = draw_subject(rng)
    while subject.first_person or subject.text.endswith(","):
        subject = draw_subject(rng)
    text = subject.text
    if scene is not None:
        if rng.random() < 0.3:
            text += f" {surroundings.skin(scene, rng, says)}"
        if rng.random() < 0.5:
            text += f" {surroundings.clothes(scene, rng, says)}"
    elif rng.random() < 0.3:
        text += f" in {with_article(f'{rng.choice(world.GARMENT_COLORS)} {rng.choice(people.GARMENTS)}')}"
    text = subject.fill(text)
    way = rng.random()
    where = (
        surroundings.background(scene, rng, says)
        if scene is not None and rng.random() < 0.5
        else surroundings.place(rng)
    )
    if way < 0.38:
        hidden = subject.fill(rng.choice(world.HIDDEN_HANDS))
        act = rng.choice(world.HANDLESS_ACTS)
        return rng.choice(
            (
                f"{text}, {hidden}, {where}",
                f"{text} {act}, {hidden}",
                f"{text} {where}, {hidden}",
                f"{text} stands {where} {hidden}",
            )
        )
    if way < 0.72:
        head = rng.choice(world.HEADS)
        return rng.choice(
            (
                f"{text} {where}, {head}",
                f"{text}, {head}",
                f"{head}, {text}, {where}",
                f"{surroundings.medium(rng)} of {text}, {head}",
            )
        )
    act = _act(subject, rng)
    return rng.choice(
        (
            f"{text} {act}, {where}",
            f"{surroundings.medium(rng)} of {text} {act}, {where}",
            f"{text} {act}, {rng.choice(world.HEADS)}",
        )
    )


def _act(subject: Subject, rng: random.Random) -> str:
    return rng.choice((rng.choice(world.HANDLESS_ACTS), subject.fill(rng.choice(people.EXPRESSIONS))))
