"""What stands around the hands in a sentence: clothes, place or background, light, camera, style.

Whatever repeats a word of the scene is true of it and is noted as a claim; the rest decorates.
"""

import random
from typing import Any

from ..scenes import Scene
from . import people, settings
from .inflection import with_article
from .sides_and_views import FRAMINGS


def place(rng: random.Random, looks: float = 0.6) -> str:
    """Where: "in a crowded jazz club in Naples"."""
    preposition = rng.choices(("in", "on", "at"), (0.45, 0.3, 0.25))[0]
    noun = rng.choice(settings.PLACES[preposition])
    if rng.random() < looks:
        noun = f"{rng.choice(settings.PLACE_LOOKS)} {noun}"
    text = f"{preposition} {with_article(noun) if rng.random() < 0.72 else 'the ' + noun}"
    if rng.random() < 0.25:
        text += f" in {rng.choice(settings.CITIES)}"
    return text


def camera(rng: random.Random) -> str:
    """How it was photographed."""
    parts = []
    if rng.random() < 0.55:
        model = rng.choice(settings.CAMERAS)
        parts.append(
            rng.choice(("shot on {0}", "taken with {1}", "{0}", "captured on {1}")).format(model, with_article(model))
        )
    if not parts or rng.random() < 0.5:
        parts.append(rng.choice(settings.LENSES))
    if rng.random() < 0.4:
        parts.append(rng.choice(settings.SETTINGS_OF_CAMERAS))
    return ", ".join(parts)


def light_mood(rng: random.Random) -> str:
    """Light that says nothing of where it comes from."""
    mood = rng.choice(settings.LIGHT_MOODS)
    return rng.choice((mood, mood, f"in {mood}", f"with {mood}"))


def light_direction(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """Where the scene's light comes from."""
    says["light"] = scene.light
    return rng.choice(settings.LIGHTS[scene.light])


def background(scene: Scene, rng: random.Random, says: dict[str, Any], as_tag: bool = False) -> str:
    """The scene's background, its colour always, its texture often; `as_tag` to stand between commas."""
    says["background"] = scene.background
    words = scene.background
    if rng.random() < 0.75:
        texture = rng.choice(settings.TEXTURES[scene.texture])
        if texture:
            says["texture"] = scene.texture
            words = (
                f"{texture} {words}"
                if rng.random() < 0.6
                else f"{words} {texture}"
                if scene.texture != "plain"
                else f"{texture} {words}"
            )
    surface = rng.choice(settings.SURFACES)
    if as_tag and surface == "background" and rng.random() < 0.5:
        return f"{words} background"
    on = (
        rng.choice(("on", "against", "with"))
        if surface == "background"
        else rng.choice(("against", "in front of", "before"))
    )
    return f"{on} {with_article(f'{words} {surface}')}"


def clothes(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """What the person wears."""
    says["sleeve"] = scene.sleeve
    if scene.sleeve == "bare":
        return rng.choice(people.BARE)
    garment = f"{scene.sleeve} {rng.choice(people.GARMENTS)}"
    garment = garment if garment.endswith(("pajamas",)) else with_article(garment)
    return f"{rng.choice(('in', 'in', 'wearing', 'dressed in'))} {garment}"


def sleeve(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """What can be seen of the arm of a hand without a person."""
    says["sleeve"] = scene.sleeve
    if scene.sleeve == "bare":
        return rng.choice(
            (
                "bare arm",
                "with a bare arm",
                "bare forearm",
                "no sleeve",
                "with a bare wrist",
                "with no sleeve in sight",
            )
        )
    color = scene.sleeve
    garment = rng.choice(people.GARMENTS)
    return rng.choice(
        (
            f"{color} sleeve",
            f"in {with_article(color)} sleeve",
            f"with the sleeve of {with_article(f'{color} {garment}')}",
            f"out of {with_article(color)} cuff",
        )
    )


def skin(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """The scene's skin tone."""
    says["skin"] = scene.skin
    tone = rng.choice(
        (f"{scene.skin} skin", f"{scene.skin} skin", f"{scene.skin} complexion", f"{scene.skin} skin tone")
    )
    if tone.endswith("skin"):
        return f"with {tone}"
    return f"with {with_article(tone)}"


def framing(scene: Scene, rng: random.Random, says: dict[str, Any]) -> str:
    """How much of the person the scene shows."""
    kind = "waist-up" if scene.kind == "person" else "close-up"
    says["framing"] = kind
    return rng.choice(FRAMINGS[kind])


def medium(rng: random.Random, looks: float = 0.6) -> str:
    """What kind of image it is, with its article: "a faded polaroid"."""
    noun = rng.choice(settings.MEDIA)
    return with_article(f"{rng.choice(settings.MEDIUM_LOOKS)} {noun}" if rng.random() < looks else noun)
