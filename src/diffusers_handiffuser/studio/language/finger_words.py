"""Wordings for the 32 combinations of extended fingers, finger by finger."""

import random

from ..gestures import LONG_FINGERS

_ORDER = ("thumb", *LONG_FINGERS)
_NAMES = {
    "thumb": ("thumb",),
    "index": ("index finger", "index", "forefinger", "pointer finger", "first finger", "pointer"),
    "middle": ("middle finger", "middle", "middle finger"),
    "ring": ("ring finger", "ring finger", "ring"),
    "pinky": (
        "pinky",
        "little finger",
        "pinkie",
        "small finger",
        "pinky finger",
        "baby finger",
        "smallest finger",
        "littlest finger",
    ),
}
_UP = (
    *("up", "extended", "raised", "out", "straight", "stretched out", "sticking out", "pointing up"),
    *("standing", "held up", "unfolded", "in the air", "sticking up", "straightened", "lifted", "upright"),
)
_DOWN = (
    *("folded", "curled in", "down", "closed", "tucked in", "bent", "folded down", "folded in"),
    *("curled", "tucked away", "curled into the palm", "bent in", "held down", "rolled in", "clenched", "hidden"),
)
# A thumb alone points sideways, so nothing may say that it points up.
_OUT = (
    *("extended", "out", "stretched out", "sticking out", "sticking out to the side", "stretched sideways"),
    *("straight", "unfolded", "held out", "straightened"),
)
_STICK_OUT = ("~extend", "~stick out", "~stretch out", "~show", "~straighten", "~hold out", "~unfold")
_REST = (
    "the rest {down}",
    "the others {down}",
    "all other fingers {down}",
    "everything else {down}",
    "the remaining fingers {down}",
    "all the others {down}",
    "every other finger {down}",
    "the other digits {down}",
)
_RAISE = (
    *("~hold up", "~raise", "~extend", "~stick out", "~stretch out", "~show", "~lift", "~straighten"),
    *("~put up", "~stick up", "~unfold", "~display"),
)
_FOLD = ("~fold", "~curl in", "~tuck in", "~close", "~bend", "~keep down", "~hide", "~curl", "~fold in", "~tuck away")
_BUT_FOLDED = (
    "everything {down} but",
    "all fingers {down} but",
    "all fingers {down} except",
    "everything {down} except",
    "every finger {down} apart from",
)
_NONE_BUT = (
    "nothing but the {ups} {up}",
    "the {ups} {up}, no other finger",
    "just the {ups} {up}",
    "the {ups} {up} and nothing else",
    "no finger {up} but the {ups}",
    "none but the {ups} {up}",
)
_NUMBERS = ("no", "one", "two", "three", "four", "five")
_SPECIAL_SHAPES = {
    "11111": (
        "all fingers extended",
        "all five fingers straight",
        "thumb and four fingers stretched out",
        "every finger out, thumb included",
        "not a single finger folded",
        "all the fingers up, the thumb too",
        "all five digits straight",
        "no finger bent",
        "every digit extended, thumb included",
        "the thumb and all the fingers straight",
        "five straight fingers, none folded",
        "nothing folded, five fingers out",
    ),
    "00000": (
        "all fingers folded in",
        "no finger extended",
        "every finger curled in, the thumb too",
        "not a single finger up",
        "zero fingers up",
        "all five fingers closed",
        "no digit sticking out",
        "all five digits curled in",
        "nothing extended, not even the thumb",
        "every finger folded, thumb included",
        "none of the fingers out",
    ),
}
_SPECIAL_DEEDS = {
    "11111": (
        "~stretch out all five fingers",
        "~extend every finger",
        "~straighten all {his} fingers",
        "~hold out all fingers, thumb included",
        "~unfold every finger",
        "~stretch out all five digits",
        "~keep all {his} fingers straight",
        "~fold no finger at all",
        "~straighten thumb and fingers",
    ),
    "00000": (
        "~fold in all {his} fingers",
        "~keep every finger closed",
        "~show zero fingers",
        "~hold up no finger at all",
        "~curl in all five digits",
        "~stick out no finger",
        "~fold thumb and fingers",
        "~keep all five digits closed",
        "~extend none of {his} fingers",
    ),
    "00100": (
        "~give the middle finger",
        "~flip the bird",
        "~flip off the camera",
        "~stick up {his} middle finger",
        "~hold up only {his} middle finger",
        "~make a rude gesture with the middle finger",
        "~give us the finger",
        "~show somebody the bird",
        "~say screw you with one finger",
        "~insult the referee with a middle finger",
        "~send the middle finger emoji",
        "~raise a rude middle finger",
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
    if way < 0.64:
        return f"only the {ups} {raised}"
    if way < 0.71:
        return f"{rng.choice(_BUT_FOLDED).format(down=folded)} the {ups}"
    if way < 0.78:
        return rng.choice(_NONE_BUT).format(ups=ups, up=raised)
    if len(down) <= 2 and way < 0.85:
        return f"only the {_listed(down, rng)} {folded}"
    if len(down) <= 2 and way < 0.95:
        but = rng.choice(("except", "but", "apart from", "other than", "save for", "minus"))
        return f"{rng.choice(('all fingers', 'every finger', 'everything'))} {raised} {but} the {_listed(down, rng)}"
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
    if way < 0.75:
        fold = rng.choice(("~fold", "~curl in", "~tuck in", "~close", "~bend"))
        everything = rng.choice(("everything but", "all fingers but", "all fingers except", "every finger except"))
        return f"{fold} {everything} {rng.choice(('{his}', 'the'))} {ups}"
    if len(down) <= 2 and way < 0.82:
        return f"{rng.choice(('~fold', '~tuck in', '~bend'))} only {{his}} {_listed(down, rng)}"
    if len(down) <= 2 and way < 0.92:
        but = rng.choice(("except", "but", "apart from", "other than", "minus"))
        return f"{rng.choice(raise_)} {rng.choice(('all fingers', 'every finger'))} {but} the {_listed(down, rng)}"
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
