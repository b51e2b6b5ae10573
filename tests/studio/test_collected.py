import random
import re
from dataclasses import replace

import pytest

from diffusers_handiffuser.evaluation.sentences import five_grams_shared, read_sentences
from diffusers_handiffuser.studio import GESTURES, sample_scene
from diffusers_handiffuser.studio.language import collected
from diffusers_handiffuser.studio.language.collected import collected_caption, collected_sentences
from diffusers_handiffuser.studio.scenes import TURNS


def close_up(gesture, side="left", view="palm", turns=None):
    scene = next(s for s in (sample_scene(1, "train", i, kind="close_up") for i in range(50)) if not s.turns)
    return replace(scene, gestures={side: gesture}, views={side: view}, turns=turns or {})


def test_every_gesture_has_many_and_none_is_doubled():
    texts = [[sentence.text for sentence in collected_sentences(name)] for name in (*GESTURES, None)]
    assert min(map(len, texts)) >= 70 and len(texts[-1]) >= 400
    flat = [text.casefold() for part in texts for text in part]
    assert len(set(flat)) == len(flat)
    assert not [text for text in flat if not 1 <= len(text.split()) <= 60]
    assert collected_sentences("no gesture") == ()


def test_none_shares_five_words_with_the_sentences_of_the_evaluation():
    texts = [sentence.text for name in (*GESTURES, None) for sentence in collected_sentences(name)]
    kept_apart = [sentence.text for sentence in read_sentences()]
    assert five_grams_shared(kept_apart, texts) == []
    assert not {text.casefold() for text in texts} & {text.casefold() for text in kept_apart}


# What a sentence cannot say without saying it of the hand: the fact, the words, how many sentences at least.
_PART = r"(?:hand|fist|palm|thumb|index|forefinger|pointer|pinky|pinkie|glove)"
_US = r"(?:us|you|(?:the )?(?:camera|viewer|lens|reader))"
SAID = (
    ("side", "left", rf"^(?!.*\bright\b).*\bleft[- ]{_PART}\b", 300),
    ("side", "right", rf"^(?!.*\bleft\b).*\bright[- ]{_PART}\b", 300),
    ("view", "palm", rf"\bpalms? (?:side )?(?:out|outward|forward|(?:facing|toward|towards|to) {_US})\b", 80),
    ("view", "back", rf"\bback of (?:the|a|an|his|her) (?:left |right )?hand|\bknuckles (?:to|toward) {_US}\b", 40),
    ("view", "side", r"\b(?:in profile|(?<!-)side view|edge-on|(?:seen|viewed|drawn|shown) from the side)\b", 60),
    (
        "turn",
        "down",
        r"^(?!.*thumb).*\b(?:(?:pointing|aimed) (?:straight )?down|(?:hand|fingers?) (?:\w+ )?(?:hang|dangl|droop))",
        25,
    ),
    ("turn", "sideways", r"\b(?:hand|fist|fingers?|fingertips) (?:\w+ )?(?:sideways|horizontally)\b", 20),
    (
        "both",
        True,
        r"\b(?:both|two) (?:\w+ )?(?:hands|fists|palms|thumbs|paws)\b(?! would)|\bfinger (?:guns|pistols)\b",
        100,
    ),
)


def every_sentence():
    return [(gesture, sentence) for gesture in GESTURES for sentence in collected_sentences(gesture)]


@pytest.mark.parametrize(("fact", "value", "words", "at_least"), SAID, ids=[f"{row[0]} {row[1]}" for row in SAID])
def test_what_a_sentence_says_is_in_its_bracket(fact, value, words, at_least):
    saying = [pair for pair in every_sentence() if re.search(words, pair[1].text, re.IGNORECASE)]
    assert len(saying) >= at_least
    assert [pair for pair in saying if getattr(pair[1], fact) != value] == []


def test_said_sides_are_words_of_the_sentence():
    for gesture, sentence in every_sentence():
        assert sentence.side is None or sentence.side in sentence.text.casefold(), (gesture, sentence)
        assert not (sentence.side and sentence.both), (gesture, sentence)


def test_no_sentence_says_which_way_sideways_is():
    """A scene does not know, and "left" and "right" are sides."""
    for gesture, sentence in every_sentence():
        if sentence.turn == "sideways":
            words = set(re.findall(r"\b(left|right)\b(?! angle)", sentence.text.casefold()))
            assert words <= {sentence.side}, (gesture, sentence)


def test_sentences_of_the_finger_gun_fold_no_more_than_two_fingers():
    """Its barrel is two fingers, as that of one would be the L."""
    folded = r"\b(?:other|remaining|fold|all) (?:three|3|fingers)\b|\bthree finger|\bIII to V\b|\bmiddle and pinkie\b"
    assert not [s for s in collected_sentences("finger_gun") if re.search(folded, s.text, re.IGNORECASE)]


def test_sentences_of_the_finger_gun_have_no_barrel_of_one_finger():
    one = r"\b(?:a|one|the|his|her) (?!two )(?:\w+ )?finger(?:tip)?\b"
    index = r"^(?!.*\b(?:middle|long) finger|.*\bmiddle\b).*\b(?:index|forefinger|pointer)\b"
    assert not [s for s in collected_sentences("finger_gun") if re.search(f"{one}|{index}", s.text, re.IGNORECASE)]


def test_sentences_about_one_hand_leave_the_other_out():
    """A scene of one hand cannot show what the other does."""
    named = r"\b(?:other|free) (?:hand|fist|palm|paw|glove)\b|\bin one (?:hand|fist)\b.*\bother\b"
    opposite = {"left": "right", "right": "left"}
    for gesture, sentence in every_sentence():
        side = opposite.get(sentence.side, "neither")
        words = rf"{named}|\b{side} (?:hand|fist|palm|paw|glove|mitt|thumb|one)\b|\b(?:in|with) the {side}\b"
        assert sentence.both or not re.search(words, sentence.text, re.IGNORECASE), (gesture, sentence)


def test_every_sentence_about_two_hands_has_a_scene():
    """Two hands are never turned."""
    assert not [pair for pair in every_sentence() if pair[1].both and pair[1].turn in TURNS]


def test_captions_are_true_of_the_scene():
    found = set()
    for index in range(600):
        rng = random.Random(index)
        side, view = rng.choice(("left", "right")), rng.choice(("palm", "back", "side"))
        turns = {side: rng.choice(("down", "sideways"))} if rng.random() < 0.3 else {}
        gesture = rng.choice([name for name in GESTURES if not name.startswith("thumbs")])
        scene = close_up(gesture, side, view, turns)
        caption = collected_caption(scene, rng)
        fitting = [sentence for sentence in collected_sentences(gesture) if sentence.is_true_of(scene)]
        assert (caption is None) == (not fitting)
        for sentence in fitting:
            assert sentence.side in (None, side) and sentence.view in (None, view) and not sentence.both
            assert sentence.turn == turns[side] if turns else sentence.turn in (None, "up")
        if caption:
            found.add(caption)
    assert len(found) > 400


def test_same_generator_same_caption():
    scene = close_up("horns")
    assert collected_caption(scene, random.Random(5)) == collected_caption(scene, random.Random(5))


def test_thumbs_point_where_their_name_says():
    for gesture, turn in (("thumbs_up", "up"), ("thumbs_down", "down")):
        wrong = {"up", "down", "sideways"} - {turn}
        scene = close_up(gesture)
        assert not [s for s in collected_sentences(gesture) if s.turn in wrong and s.is_true_of(scene)]


def test_two_hands_need_a_sentence_about_both():
    scene = next(s for s in (sample_scene(2, "train", i, kind="two_hands") for i in range(50)))
    alike = replace(scene, gestures=dict.fromkeys(scene.gestures, "fist"))
    fitting = [s for s in collected_sentences("fist") if s.is_true_of(alike)]
    assert fitting and all(sentence.both for sentence in fitting)


def test_two_hands_that_differ_take_a_sentence_each_with_its_side():
    scene = next(s for s in (sample_scene(2, "train", i, kind="two_hands") for i in range(50)))
    scene = replace(scene, gestures={"left": "fist", "right": "ok"}, views={"left": "back", "right": "palm"})
    found = set()
    for seed in range(40):
        caption = collected_caption(scene, random.Random(seed)).casefold()
        assert "left" in caption and "right" in caption
        found.add(caption)
    assert len(found) == 40


def test_scenes_without_hands():
    scene = sample_scene(3, "train", 0, kind="empty")
    texts = {sentence.text for sentence in collected_sentences(None)}
    captions = [collected_caption(scene, random.Random(seed)) for seed in range(50)]
    assert sum(caption in texts for caption in captions) > 5 and None not in captions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in the place of the collection."""
    monkeypatch.setattr(collected, "_FOLDER", tmp_path)
    collected_sentences.cache_clear()
    yield tmp_path
    collected_sentences.cache_clear()


@pytest.mark.parametrize(
    "line", ["[left plam] a left fist", "[left right] a fist", "[left a left fist", "[left]", "[both both] fists"]
)
def test_a_faulty_bracket_is_refused_by_file_and_line(line, folder):
    (folder / "fist.txt").write_text(f"a fist\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"fist\.txt, line 2: .*{re.escape(line)}"):
        collected_sentences("fist")


@pytest.mark.parametrize(("gesture", "fingers"), [("fist", None), ("fingers_10000", None), ("horns", "fingers")])
def test_what_is_added_is_true_of_the_hand(gesture, fingers, folder):
    (folder / f"{gesture}.txt").write_text("so it is\n", encoding="utf-8")
    captions = " ".join(collected_caption(close_up(gesture), random.Random(seed)).lower() for seed in range(2000))
    assert "left hand" in captions and "palm" in captions and "right hand" not in captions
    assert not re.search(r"knuckles (to|toward)|from behind|profile", captions)
    assert set(re.findall(r"\bfinger\w*", captions)) - {"fingertips"} == ({fingers} if fingers else set())


def test_one_finger_points_up_as_one(folder):
    (folder / "pointing.txt").write_text("so it is\n", encoding="utf-8")
    captions = " ".join(collected_caption(close_up("pointing"), random.Random(seed)).lower() for seed in range(2000))
    assert set(re.findall(r"\bfinger\w*", captions)) == {"finger", "fingertip"}
