"""The person of a sentence: who it is, with the pronouns that go with them."""

import random
import re
from dataclasses import dataclass

from . import people
from .inflection import with_article
from .wording import words

_PRONOUNS = {
    "he": ("his", "him", "himself"),
    "she": ("her", "her", "herself"),
    "they": ("their", "them", "themselves"),
    "I": ("my", "me", "myself"),
}
_HIS = frozenset(
    words(
        "man boy guy gentleman father grandfather uncle king prince dad grandpa emperor prankster policeman Frenchman "
        "headmaster monk priest pope cowboy Mr. salesman"
    )
)
_HER = frozenset(
    words(
        "woman girl lady mother grandmother aunt queen princess witch duchess waitress hostess seductress schoolgirl "
        "bridesmaid bride granny"
    )
)


@dataclass(frozen=True)
class Subject:
    """Somebody.

    Args:
        text (`str`): how the sentence names them, "an old farmer from Lyon".
        he (`str`): `"he"`, `"she"`, `"they"` or `"I"`.
        short (`bool`): whether the name is short enough for an apostrophe and an s.
    """

    text: str
    he: str
    short: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.fill(self.text))  # "with a cat on {his} shoulder"

    @property
    def first_person(self) -> bool:
        """Whether the speaker speaks of themselves."""
        return self.he == "I"

    @property
    def objective(self) -> str:
        """The name behind "a photo of"."""
        return "me" if self.first_person else self.text

    def fill(self, phrase: str) -> str:
        """A phrase with its pronouns put in."""
        if "{" not in phrase:
            return phrase
        his, him, himself = _PRONOUNS[self.he]
        return phrase.replace("{his}", his).replace("{himself}", himself).replace("{him}", him)


def subject_of_role(text: str, rng: random.Random) -> Subject:
    """The person that a situation of the lexicon names."""
    found = set(re.findall(r"[\w.]+", text))
    he = "he" if found & _HIS else "she" if found & _HER else rng.choice(("he", "she"))
    return Subject(text, he)


def draw_subject(rng: random.Random, rich: bool = True, unnamed: bool = False) -> Subject:
    """Somebody at random; `rich` describes them more closely, `unnamed` by looks, origin and occupation."""
    way = 1.0 if unnamed else rng.random()
    if way < 0.03:
        return Subject("I", "I")
    if way < 0.30:
        return _named(rng, rich)
    if way < 0.42:
        return _kin(rng)
    nouns, he = rng.choices(
        ((people.THEIR_NOUNS, ""), (people.HIS_NOUNS, "he"), (people.HER_NOUNS, "she")), (0.6, 0.2, 0.2)
    )[0]
    noun = rng.choice(nouns)
    he = he or rng.choices(("he", "she", "they"), (0.46, 0.46, 0.08))[0]
    described = [noun]
    if unnamed or rng.random() < 0.3:
        described.insert(0, rng.choice(people.ORIGINS))
    if unnamed or rng.random() < (0.75 if rich else 0.5):
        aged = nouns is people.THEIR_NOUNS and rng.random() < 0.15
        described.insert(0, f"{rng.randint(16, 95)}-year-old" if aged else rng.choice(people.LOOKS))
    text = " ".join(described)
    text = f"the {text}" if rng.random() < 0.15 else with_article(text)
    if rng.random() < (0.2 if rich and not unnamed else 0.05):
        text += " " + rng.choice(people.FEATURES)
    return Subject(text, he, short=len(text.split()) < 4)


def _named(rng: random.Random, rich: bool) -> Subject:
    names, he = rng.choice(((people.HIS_NAMES, "he"), (people.HER_NAMES, "she")))
    text = rng.choice(names)
    surname = rng.random() < 0.65
    if surname:
        text += " " + rng.choice(people.SURNAMES)
    short = True
    if rng.random() < (0.35 if rich else 0.2):
        short = False
        text += rng.choice(
            (
                f", {rng.randint(4, 99)},",
                f" ({rng.randint(4, 99)})",
                f", {with_article(rng.choice(people.THEIR_NOUNS))},",
            )
        )
    elif rng.random() < (0.15 if surname else 0.75):
        text = f"{rng.choice(people.LOOKS)} {text}"
    return Subject(text, he, short)


def _kin(rng: random.Random) -> Subject:
    kin, he = rng.choice(((people.KIN_HIS, "he"), (people.KIN_HER, "she"), (people.KIN_THEIR, "")))
    look = rng.choice(people.LOOKS) + " " if rng.random() < 0.8 else ""
    text = f"{rng.choice(people.OWNERS)} {look}{rng.choice(kin)}"
    return Subject(text, he or rng.choice(("he", "she")), short=True)
