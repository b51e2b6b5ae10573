import random
from dataclasses import replace

import pytest

from diffusers_handiffuser.evaluation.sentences import five_grams_shared, read_sentences
from diffusers_handiffuser.studio import GESTURES, sample_scene
from diffusers_handiffuser.studio.language import collected
from diffusers_handiffuser.studio.language.collected import collected_caption, collected_sentences


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


@pytest.mark.parametrize("gesture", list(GESTURES))
def test_said_sides_are_words_of_the_sentence(gesture):
    for sentence in collected_sentences(gesture):
        if sentence.side is not None:
            assert sentence.side in sentence.text.casefold() or "s hand" in sentence.text, sentence
        assert not (sentence.side and sentence.both), sentence


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
    assert collected_caption(replace(scene, gestures={"left": "fist", "right": "ok"}), random.Random(0)) is None


def test_scenes_without_hands():
    scene = sample_scene(3, "train", 0, kind="empty")
    texts = {sentence.text for sentence in collected_sentences(None)}
    captions = [collected_caption(scene, random.Random(seed)) for seed in range(50)]
    assert sum(caption in texts for caption in captions) > 5 and None not in captions


def test_a_bracket_with_an_unknown_word_is_refused_by_file_and_line(tmp_path, monkeypatch):
    (tmp_path / "fist.txt").write_text("a fist\n[left plam] a left fist\n", encoding="utf-8")
    monkeypatch.setattr(collected, "_FOLDER", tmp_path)
    collected_sentences.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"fist\.txt, line 2: .*plam"):
            collected_sentences("fist")
    finally:
        collected_sentences.cache_clear()
