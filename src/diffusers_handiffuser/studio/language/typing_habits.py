"""How people type: British spelling, misspellings, capitals and full stops."""

import random
import re

from ..scenes import COLORS, SKIN_TONES
from .wording import words

_BRITISH = {
    "color": "colour",
    "colors": "colours",
    "colored": "coloured",
    "colorful": "colourful",
    "gray": "grey",
    "gray-haired": "grey-haired",
    "theater": "theatre",
    "neighbor": "neighbour",
    "neighbors": "neighbours",
    "center": "centre",
    "centered": "centred",
    "harbor": "harbour",
    "mustache": "moustache",
    "pajamas": "pyjamas",
    "jeweler": "jeweller",
    "mom": "mum",
    "sidewalk": "pavement",
    "checkered": "chequered",
    "favorite": "favourite",
    "watercolor": "watercolour",
    "calloused": "callused",
    "cozy": "cosy",
    "signaling": "signalling",
    "signaled": "signalled",
    "millimeters": "millimetres",
    "subway": "underground",
    "candy": "sweets",
    "elevator": "lift",
    "movie": "film",
    "vacation": "holiday",
    "toward": "towards",
    "traveler": "traveller",
    "band-aid": "plaster",
    "bejeweled": "bejewelled",
    "grandma": "nan",
    "pinky": "pinkie",
}
_BRITISH_WORD = re.compile(r"\b(" + "|".join(_BRITISH) + r")\b")
_ARTICLE = re.compile(r"(^|[ \x02])(?:[Aa]n?|[Tt]he) (?=[\x02\w])")
_QUESTION = re.compile(r"(?:hey, )?(?:can|could|would|how about|what about)\b", re.IGNORECASE)
_COMMON_MISSPELLINGS = {
    "peace": ("peice", "piece", "pease"),
    "thumbs": ("thumps", "thums", "tumbs"),
    "thumb": ("thum", "tumb"),
    "finger": ("fingr", "figner"),
    "fingers": ("figners", "fingres", "fingrs"),
    "victory": ("victroy", "vicotry"),
    "gesture": ("jesture", "gesure"),
    "camera": ("camra", "carema"),
    "pointing": ("pionting", "poiting"),
    "beautiful": ("beatiful", "beautifull"),
    "background": ("backround", "backgroud"),
    "showing": ("showin", "shwoing"),
    "making": ("makeing", "makin"),
    "raised": ("rasied", "raized"),
    "salute": ("salut", "salude"),
    "fist": ("fsit",),
    "waving": ("waveing", "wavin"),
    "crossed": ("crosed", "corssed"),
    "their": ("thier",),
    "woman": ("women", "womna"),
    "surfer": ("surfeur", "sufer"),
    "restaurant": ("restaurent",),
    "library": ("libary",),
    "photograph": ("photogragh",),
    "realistic": ("relistic", "realisitc"),
    "professional": ("proffesional",),
}
# What decides about hands and colours stays as it is.
_KEPT = frozenset(
    words(
        "left right palm back side both hand hands down downward upside upward upright sideways level floor ground "
        "earth horizontal horizontally parallel two three four five first ring with"
    )
) | frozenset(word for table in (COLORS, SKIN_TONES) for name in table for word in name.split())


def british(text: str) -> str:
    """American spelling and words to British ones."""
    return _BRITISH_WORD.sub(lambda match: _BRITISH[match[1]], text)


def misspell(text: str, rng: random.Random) -> str:
    """One or two words typed wrongly; sides, views and numbers never."""
    found = re.findall(r"[A-Za-z]{4,}", text)
    for word in rng.sample(found, min(len(found), rng.choice((1, 1, 2)))):
        if word.lower() in _KEPT:
            continue
        common = _COMMON_MISSPELLINGS.get(word)
        wrong = rng.choice(common) if common else _slip(word, rng)
        text = re.sub(rf"\b{word}\b", wrong, text, count=1)
    return text


def _slip(word: str, rng: random.Random) -> str:
    i = rng.randrange(1, len(word) - 1)
    way = rng.random()
    if way < 0.4:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if way < 0.8:
        return word[:i] + word[i + 1 :]
    return word[:i] + word[i] + word[i:]


def without_articles(text: str) -> str:
    """The sentence as learners of English write it whose own language has no articles."""
    return _ARTICLE.sub(r"\1", text)


def dress_up(text: str, rng: random.Random) -> str:
    """Capitals and a full stop or question mark, or neither."""
    way = rng.random()
    if way < 0.52:
        ends = ("?", "?", "?", ".", "") if _QUESTION.match(text) else (".", ".", ".", "", "!")
        return _capitalized(text) + rng.choice(ends)
    if way < 0.7:
        return _capitalized(text)
    if way < 0.995:
        return text.lower()
    return text.upper()


def _capitalized(text: str) -> str:
    for i, letter in enumerate(text):
        if letter.isalpha():
            return text[:i] + letter.upper() + text[i + 1 :]
        if letter.isdigit():
            break
    return text


def typed(text: str, rng: random.Random) -> str:
    """The sentence as somebody types it: spelling, slips, capitals, full stop."""
    if rng.random() < 0.4:
        text = british(text)
    if rng.random() < 0.05:
        text = misspell(text, rng)
    if rng.random() < 0.03 and len(text.split()) > 6:
        text = without_articles(text)
    return dress_up(text, rng)
