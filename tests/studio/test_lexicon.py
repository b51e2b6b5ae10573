import random
import re
from itertools import product

import pytest

from diffusers_handiffuser.studio import GESTURES, gesture_by_name
from diffusers_handiffuser.studio.language.finger_words import finger_deed, finger_shape
from diffusers_handiffuser.studio.language.inflection import conjugate, inflect, with_article, without_article
from diffusers_handiffuser.studio.language.lexicon import LEXICON
from diffusers_handiffuser.studio.language.sayings import SAYINGS
from diffusers_handiffuser.studio.language.world import BARE_WORDS

CODES = ["".join(bits) for bits in product("01", repeat=5)]


def plain(phrase: str) -> str:
    """A wording without articles, pronouns and signs."""
    words = re.sub(r"[~!{},]", " ", phrase.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the", "his"))


def test_every_gesture_has_an_entry():
    assert list(LEXICON) == list(GESTURES)


@pytest.mark.parametrize("name", LEXICON)
def test_seventy_wordings_or_more(name):
    words = LEXICON[name]
    assert len({plain(phrase) for phrase in words.phrases()}) >= 70
    assert len(words.nouns) >= 23
    assert len(words.verbs) >= 25
    assert len(words.shapes) >= 14
    assert len(words.roles) >= 12
    assert len(words.doubles) >= 6


@pytest.mark.parametrize("name", LEXICON)
def test_something_is_said_with_each_and_with_no_other(name):
    others = {words for other, sayings in SAYINGS.items() if other != name for words in sayings}
    assert len(SAYINGS[name]) >= 5
    assert not others & set(SAYINGS[name])


def test_no_wording_stands_for_two_gestures():
    owners: dict[str, set[str]] = {}
    for name, words in LEXICON.items():
        for phrase in (*words.phrases(), *words.doubles):
            owners.setdefault(plain(phrase), set()).add(name)
    assert {phrase: names for phrase, names in owners.items() if len(names) > 1} == {}


def test_no_bare_word_for_an_image_without_hands_is_a_gesture():
    gestures = {plain(phrase) for words in LEXICON.values() for phrase in words.phrases()}
    assert gestures & {plain(word) for word in BARE_WORDS} == set()


@pytest.mark.parametrize("name", LEXICON)
def test_entries_are_well_formed(name):
    words = LEXICON[name]
    for verbs, noun in words.nouns:
        assert verbs and noun[0].isalnum()
        assert "~" not in noun and "!" not in noun
    for deed in (*words.verbs, *words.doubles, *(deed for _, deed in words.roles)):
        assert deed.startswith("~")
        assert set(re.findall(r"\{(\w+)\}", deed)) <= {"his", "him", "himself", "hand"}
    for shape in words.shapes:
        assert not re.search(r"[~!{}]", shape)
    for deed in words.doubles:
        assert "{hand}" not in deed


@pytest.mark.parametrize("name", LEXICON)
def test_words_say_no_side_and_no_view(name):
    """Sides and views are said apart from the gesture, so that they are always true."""
    for phrase in LEXICON[name].phrases():
        assert not re.search(r"\b(left|right hand|back of|palm (out|facing|forward)|from behind|in profile)\b", phrase)


class TestFingers:
    @pytest.mark.parametrize("code", CODES)
    def test_ten_wordings_or_more(self, code):
        extended, rng = gesture_by_name(f"fingers_{code}").extended, random.Random(0)
        phrases = {finger_shape(extended, rng) for _ in range(200)} | {finger_deed(extended, rng) for _ in range(200)}
        assert len(phrases) >= 10

    def test_no_wording_stands_for_two_combinations(self):
        owners: dict[str, set[str]] = {}
        for code in CODES:
            extended, rng = gesture_by_name(f"fingers_{code}").extended, random.Random(1)
            for _ in range(1000):
                for phrase in (finger_shape(extended, rng), finger_deed(extended, rng)):
                    owners.setdefault(plain(phrase), set()).add(code)
        assert len(owners) > 10_000
        assert {phrase: codes for phrase, codes in owners.items() if len(codes) > 1} == {}

    def test_numbers_are_those_of_the_extended_fingers(self):
        numbers = ("zero", "one", "two", "three", "four", "five")
        for code in CODES:
            extended, rng = gesture_by_name(f"fingers_{code}").extended, random.Random(2)
            for _ in range(100):
                found = re.match(rf"(?:just )?({'|'.join(numbers)}) fingers?\b", finger_shape(extended, rng))
                assert not found or numbers.index(found[1]) == code.count("1")

    def test_a_thumb_alone_is_never_up(self):
        """Thumbs up is a gesture of its own."""
        extended, rng = gesture_by_name("fingers_10000").extended, random.Random(3)
        for _ in range(500):
            assert not re.search(r"\bup\b|raise|lift", finger_shape(extended, rng) + finger_deed(extended, rng))


class TestInflection:
    @pytest.mark.parametrize(
        ("verb", "forms"),
        [
            ("flash", ("flashes", "flashing", "flashed", "flashed")),
            ("wave", ("waves", "waving", "waved", "waved")),
            ("hold", ("holds", "holding", "held", "held")),
            ("wag", ("wags", "wagging", "wagged", "wagged")),
            ("carry", ("carries", "carrying", "carried", "carried")),
            ("do", ("does", "doing", "did", "done")),
            ("throw", ("throws", "throwing", "threw", "thrown")),
            ("pray", ("prays", "praying", "prayed", "prayed")),
            ("hide", ("hides", "hiding", "hid", "hidden")),
            ("high-five", ("high-fives", "high-fiving", "high-fived", "high-fived")),
        ],
    )
    def test_forms(self, verb, forms):
        assert tuple(inflect(verb, form) for form in ("s", "ing", "ed", "en")) == forms
        assert inflect(verb, "base") == verb

    def test_short_verbs_of_the_lexicon_double_their_last_letter(self):
        deeds = [
            deed for words in LEXICON.values() for deed in (*words.verbs, *words.doubles, *dict(words.roles).values())
        ]
        verbs = {verb for deed in deeds for verb in re.findall(r"~([\w-]+)", deed)}
        short = {verb for verb in verbs if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb)}
        assert len(short) > 20
        assert {verb for verb in short if inflect(verb, "ing") != f"{verb}{verb[-1]}ing"} == set()

    def test_every_marked_verb_of_a_phrase(self):
        phrase = "~curl the pinky and ~hold up the rest"
        assert conjugate(phrase, "ing") == "curling the pinky and holding up the rest"
        assert conjugate(phrase, "s") == "curls the pinky and holds up the rest"

    def test_articles(self):
        assert [
            with_article(words) for words in ("fist", "OK sign", "unicorn", "hour", "8-year-old", "18-year-old")
        ] == [
            "a fist",
            "an OK sign",
            "a unicorn",
            "an hour",
            "an 8-year-old",
            "an 18-year-old",
        ]
        assert [without_article(words) for words in ("a fist", "an OK sign", "the horns", "thumbs")] == [
            "fist",
            "OK sign",
            "horns",
            "thumbs",
        ]
