"""Wordings for the 32 combinations of extended fingers, finger by finger."""

import random

from ..gestures import LONG_FINGERS

_ORDER = ("thumb", *LONG_FINGERS)
_NAMES = {
    "thumb": ("thumb",),
    "index": ("index finger", "index", "forefinger", "pointer finger", "first finger"),
    "middle": ("middle finger", "middle", "middle finger"),
    "ring": ("ring finger", "ring finger", "ring"),
    "pinky": ("pinky", "little finger", "pinkie", "small finger", "pinky finger"),
}
_UP = ("up", "extended", "raised", "out", "straight", "stretched out", "sticking out", "pointing up")
_DOWN = ("folded", "curled in", "down", "closed", "tucked in", "bent", "folded down", "folded in")
# A thumb alone points sideways, so nothing may say that it points up.
_OUT = ("extended", "out", "stretched out", "sticking out", "sticking out to the side", "stretched sideways")
_STICK_OUT = ("~extend", "~stick out", "~stretch out", "~show", "~straighten")
_REST = (
    "the rest {down}",
    "the others {down}",
    "all other fingers {down}",
    "everything else {down}",
    "the remaining fingers {down}",
)
_RAISE = ("~hold up", "~raise", "~extend", "~stick out", "~stretch out", "~show", "~lift", "~straighten")
_FOLD = ("~fold", "~curl in", "~tuck in", "~close", "~bend", "~keep down", "~hide")
_NUMBERS = ("no", "one", "two", "three", "four", "five")
_SPECIAL_SHAPES = {
    "11111": (
        "all fingers extended",
        "all five fingers straight",
        "thumb and four fingers stretched out",
        "every finger out, thumb included",
        "not a single finger folded",
        "all the fingers up, the thumb too",
    ),
    "00000": (
        "all fingers folded in",
        "no finger extended",
        "every finger curled in, the thumb too",
        "not a single finger up",
        "zero fingers up",
        "all five fingers closed",
    ),
}
_SPECIAL_DEEDS = {
    "11111": (
        "~stretch out all five fingers",
        "~extend every finger",
        "~straighten all {his} fingers",
        "~hold out all fingers, thumb included",
    ),
    "00000": (
        "~fold in all {his} fingers",
        "~keep every finger closed",
        "~show zero fingers",
        "~hold up no finger at all",
    ),
    "00100": (
        "~give the middle finger",
        "~flip the bird",
        "~flip off the camera",
        "~stick up {his} middle finger",
        "~hold up only {his} middle finger",
        "~make a rude gesture with the middle finger",
    ),
}


def code_of(extended: frozenset[str]) -> str:
    """Thumb to pinky, 1 = extended, as the gesture's name has it."""
    return "".join("1" if finger in extended else "0" for finger in _ORDER)


def finger_shape(extended: frozenset[str], rng: random.Random) -> str:
    """The state of the fingers, to stand behind "a hand with" or between commas.

    For instance "thumb and pinky out, the rest folded".
    """
    special = _SPECIAL_SHAPES.get(code_of(extended))
    if special:
        return rng.choice(special)
    up, down = _split(extended)
    raised, folded = rng.choice(_OUT if up == ["thumb"] else _UP), rng.choice(_DOWN)
    ups = _listed(up, rng)
    way = rng.random()
    if way < 0.3:
        return f"{_the(ups, rng)} {raised}, {rng.choice(_REST).format(down=folded)}"
    if way < 0.5:
        folded = "folded" if folded in ("down", "folded down") and "thumb" in down else folded
        return f"{_the(ups, rng)} {raised} and {_the(_listed(down, rng), rng)} {folded}"
    if way < 0.75:
        return f"only the {ups} {raised}"
    if len(down) <= 2 and way < 0.9:
        but = rng.choice(("except", "but", "apart from", "other than"))
        return f"all fingers {raised} {but} the {_listed(down, rng)}"
    number = _NUMBERS[len(up)]
    if number == "one":
        return f"just one finger {raised}, the {ups}"
    return f"{number} fingers {raised}: {ups}"


def finger_deed(extended: frozenset[str], rng: random.Random) -> str:
    """What a person does with the fingers, marked as in the lexicon: "~hold up only {his} ring finger"."""
    special = _SPECIAL_DEEDS.get(code_of(extended))
    if special and (len(extended) in (0, 5) or rng.random() < 0.75):
        return rng.choice(special)
    up, down = _split(extended)
    ups = _listed(up, rng)
    raise_ = _STICK_OUT if up == ["thumb"] else _RAISE
    way = rng.random()
    if way < 0.35:
        only = rng.choice(("only ", "just ", "", "nothing but "))
        return f"{rng.choice(raise_)} {only}{rng.choice(('{his}', 'the'))} {ups}"
    if way < 0.65:
        rest = rng.choice(("the rest", "the others", "the other fingers", f"the {_listed(down, rng)}"))
        fold = rng.choice(_FOLD)
        fold = f"~keep {rest} down" if fold == "~keep down" else f"{fold} {rest}"
        return f"{rng.choice(raise_)} {rng.choice(('{his}', 'the'))} {ups} and {fold}"
    if len(down) <= 2 and way < 0.85:
        but = rng.choice(("except", "but", "apart from"))
        return f"{rng.choice(raise_)} all fingers {but} the {_listed(down, rng)}"
    return f"{rng.choice(('~hold', '~keep'))} {{his}} {ups} {rng.choice(_OUT if up == ['thumb'] else _UP)}"


def _split(extended: frozenset[str]) -> tuple[list[str], list[str]]:
    return [f for f in _ORDER if f in extended], [f for f in _ORDER if f not in extended]


def _the(words: str, rng: random.Random) -> str:
    return f"the {words}" if rng.random() < 0.5 else words


def _listed(fingers: list[str], rng: random.Random) -> str:
    """Names in some order. Only the last may be short of its "finger", as in "index and middle finger"."""
    if len(fingers) > 1 and "thumb" not in fingers and rng.random() < 0.15:
        fingers = fingers[::-1]
    if 1 < len([f for f in fingers if f in ("index", "middle", "ring")]) == len(fingers):
        names = list(fingers)
        names[-1] += " finger" if rng.random() < 0.4 else " fingers"
    elif len(fingers) == 1:
        names = [rng.choice([name for name in _NAMES[fingers[0]] if name not in ("index", "middle", "ring")])]
    else:
        names = [rng.choice(_NAMES[finger]) for finger in fingers]
        if names[-1] in ("middle", "ring"):
            names[-1] += " finger"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
