"""Captions: random descriptions of a scene, each of which omits some of its attributes."""

import random

from ..hands.skeleton import SIDES
from .gestures import Gesture, gesture_by_name
from .scenes import HANDLESS_KINDS, Scene

_VIEWS = {
    "palm": ("palm facing the camera", "seen from the palm side", "showing the palm"),
    "back": ("seen from the back", "back of the hand facing the camera", "showing the back of the hand"),
    "side": ("seen from the side", "in side view"),
}
_TURNS = {
    "down": ("fingers pointing down", "pointing down", "with the fingers down"),
    "sideways": ("fingers pointing sideways", "pointing sideways", "with the fingers sideways"),
}
_LIGHTS = {
    "front": ("lit from the front",),
    "left": ("lit from the left", "with light from the left"),
    "right": ("lit from the right", "with light from the right"),
    "above": ("lit from above", "with light from above"),
}
_NUMBERS = ("no", "one", "two", "three", "four", "five")


def describe(scene: Scene, rng: random.Random) -> str:
    """One caption for a scene.

    Args:
        scene ([`Scene`]): the scene to describe.
        rng (`random.Random`): chooses the words.

    Returns:
        `str`: lower case except for names, without a full stop. Always mentions the gesture, and where a turned hand
        points; nearly always the side, often the other attributes.
    """
    if scene.kind in HANDLESS_KINDS:
        return _without_hands(scene, rng)
    gestures = {side: gesture_by_name(name) for side, name in scene.gestures.items()}
    if scene.kind == "person":
        head = _person(scene, gestures, rng)
    elif len(gestures) == 2:
        head = _two_hands(gestures, rng)
    else:
        head = _one_hand(scene, gestures, rng)
    details = [rng.choice(_TURNS[turn]) for turn in scene.turns.values()]
    if len(scene.gestures) == 1 and rng.random() < 0.45:
        details.append(rng.choice(_VIEWS[next(iter(scene.views.values()))]))
    if rng.random() < 0.7:
        details.append(f"{scene.skin} skin" if rng.random() < 0.4 else f"with {scene.skin} skin")
    if scene.kind != "person" and rng.random() < 0.5:
        details.append(_sleeve(scene, rng))
    if rng.random() < 0.8:
        details.append(_background(scene, rng))
    if rng.random() < 0.3:
        details.append(rng.choice(_LIGHTS[scene.light]))
    return ", ".join([head, *details])


def _without_hands(scene: Scene, rng: random.Random) -> str:
    background = _background(scene, rng)
    if scene.kind == "empty":
        opening = rng.choice(("an empty scene", "no one and nothing", "no hands and nobody", "an empty image"))
        return f"{opening}, {background}"
    opening = rng.choice(
        ("a portrait of a person", "head and shoulders of a person", "a person with no hands in view")
    )
    details = [f"{opening} in {_article(scene.sleeve)} shirt"]
    if rng.random() < 0.7:
        details.append(f"with {scene.skin} skin")
    if rng.random() < 0.8:
        details.append(background)
    if rng.random() < 0.3:
        details.append(rng.choice(_LIGHTS[scene.light]))
    return ", ".join(details)


def _one_hand(scene: Scene, gestures: dict[str, Gesture], rng: random.Random) -> str:
    ((side, gesture),) = gestures.items()
    hand = f"a {side} hand" if rng.random() < 0.92 else "a hand"
    words = _action(gesture, rng)
    opening = rng.choices(("", "a close-up of ", "a photo of ", "a picture of "), (0.55, 0.2, 0.15, 0.1))[0]
    return f"{opening}{hand} {words}"


def _two_hands(gestures: dict[str, Gesture], rng: random.Random) -> str:
    if len({gesture.name for gesture in gestures.values()}) == 1:
        subject = rng.choice(("two hands", "both hands", "a pair of hands"))
        return f"{subject} {_action(gestures['left'], rng)}"
    order = SIDES if rng.random() < 0.5 else SIDES[::-1]
    return " and ".join(f"a {side} hand {_action(gestures[side], rng)}" for side in order)


def _person(scene: Scene, gestures: dict[str, Gesture], rng: random.Random) -> str:
    subject = rng.choices(("a person", "someone", "a photo of a person"), (0.7, 0.1, 0.2))[0]
    if rng.random() < 0.6:
        subject += f" in {_article(scene.sleeve)} shirt"
    if len(gestures) == 2 and len({gesture.name for gesture in gestures.values()}) == 1:
        return f"{subject} {_deed(gestures['left'], rng)} with both hands"
    deeds = [f"{_deed(gesture, rng)} with the {side} hand" for side, gesture in gestures.items()]
    return f"{subject} {' and '.join(deeds)}"


def _action(gesture: Gesture, rng: random.Random) -> str:
    """What a hand does, as in "a right hand ..."."""
    phrase = rng.choice(gesture.phrases)
    if gesture.name.startswith("fingers_"):
        return f"with {_with_the(phrase)}"
    if rng.random() < 0.06:
        number = len(gesture.extended)
        return f"showing {_NUMBERS[number]} extended finger{'' if number == 1 else 's'}, {phrase}"
    return f"{rng.choice(('making', 'showing', 'doing', 'making'))} {phrase}"


def _deed(gesture: Gesture, rng: random.Random) -> str:
    """What a person does, as in "... with the right hand"."""
    phrase = rng.choice(gesture.phrases)
    if gesture.name.startswith("fingers_"):
        return f"holding {_with_the(phrase)}"
    return f"{rng.choice(('making', 'showing', 'doing'))} {phrase}"


def _with_the(phrase: str) -> str:
    plain = phrase.startswith(("all", "no ", "the ", "only "))
    return phrase if plain else f"the {phrase}"


def _sleeve(scene: Scene, rng: random.Random) -> str:
    if scene.sleeve == "bare":
        return rng.choice(("bare arm", "with a bare arm"))
    return rng.choice((f"{scene.sleeve} sleeve", f"in {_article(scene.sleeve)} sleeve"))


def _background(scene: Scene, rng: random.Random) -> str:
    color = scene.background if scene.texture == "plain" else f"{scene.background} {scene.texture}"
    if scene.texture == "plain" and rng.random() < 0.3:
        color = f"plain {color}"
    on = f"on {_article(color)} background"
    return rng.choice((f"{color} background", on, on))


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
