"""The bundled sentences, `evaluate_sentences` and the search for shared wording."""

import json
import random
from collections import Counter

import pytest
import torch

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.evaluation import (
    HandFacts,
    Sentence,
    TextFacts,
    evaluate_sentences,
    five_grams_shared,
    read_sentences,
)
from diffusers_handiffuser.studio import GESTURES, Scene, describe, handless_caption, natural_caption, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes


@pytest.fixture(scope="module")
def sentences():
    return read_sentences()


class TestBundledSentences:
    def test_there_are_enough_of_each_kind(self, sentences):
        with_hands = [sentence.facts for sentence in sentences if sentence.facts.number != 0]
        assert len(sentences) >= 260 and len(sentences) - len(with_hands) >= 60
        gestures = Counter(
            name
            for facts in with_hands
            for name in {name for hand in facts.hands.values() for name in hand.gestures[:1]}
        )
        assert all(gestures[name] >= 5 for name in GESTURES), gestures
        assert sum(name.startswith("fingers_") for name in gestures) >= 10
        hands = [next(iter(facts.hands.values())) for facts in with_hands]
        assert sum(hand.view is not None or hand.turn is not None for hand in hands) >= 60
        for view in ("palm", "back", "side"):
            assert sum(hand.view == view for hand in hands) >= 15
        for turn, least in (("up", 20), ("down", 8), ("sideways", 3)):
            assert sum(hand.turn == turn for hand in hands) >= least
        assert sum(facts.number == 2 for facts in with_hands) >= 25
        assert min(Counter(facts.side for facts in with_hands).values()) >= 50

    def test_thumbs_are_turned_as_their_names_say(self, sentences):
        for sentence in sentences:
            for hand in sentence.facts.hands.values():
                if hand.gestures in (("thumbs_up",), ("thumbs_down",)):
                    assert hand.turn == hand.gestures[0].removeprefix("thumbs_"), sentence.text

    def test_no_two_are_alike(self, sentences):
        texts = [sentence.text for sentence in sentences]
        assert len({text.lower() for text in texts}) == len(texts)
        lengths = [len(text.split()) for text in texts]
        assert min(lengths) <= 3 and max(lengths) >= 50
        for number, text in enumerate(texts):
            assert not five_grams_shared([text], texts[number + 1 :]), text

    def test_captions_of_the_studio_share_no_wording(self, sentences):
        scenes = [sample_scene(0, "train", number) for number in range(300)]
        captions = [describe(scene, random.Random(scene.seed)) for scene in scenes]
        assert not five_grams_shared([sentence.text for sentence in sentences], captions)

    def test_training_sentences_share_no_wording(self, sentences):
        texts = [handless_caption(random.Random(number)) for number in range(1000)]
        for number in range(3000):
            scene = sample_scene(1, "train", number)
            texts.append(natural_caption(scene, random.Random(scene.seed)))
        assert not five_grams_shared([sentence.text for sentence in sentences], texts)


class TestSharedWording:
    def test_five_words_in_a_row(self):
        ours = ["A drummer throws the horns at midnight!", "nothing"]
        shared = five_grams_shared(ours, ["the old drummer throws the horns, at noon", "no"])
        assert shared == [("drummer throws the horns at", ours[0], "the old drummer throws the horns, at noon")]
        assert not five_grams_shared(ours, ["drummer throws the horns on"])

    def test_common_words_do_not_count(self):
        assert not five_grams_shared(["we see the back of the hand"], ["here is the back of the hand"])
        assert not five_grams_shared(["the back of the hand waves"], ["the back of the hand waves"])


SCENE = {"skin": "tan", "sleeve": "bare", "background": "red", "texture": "plain", "light": "front", "seed": 0}
FACTS = {
    "a fist": TextFacts({"left": HandFacts(("fist",), "palm")}, 1),
    "like": TextFacts({"either": HandFacts(("thumbs_up",), None, "up")}),
    "a teapot": TextFacts(number=0),
}


@pytest.fixture(scope="module")
def answers():
    body = HandBodyModel.procedural()
    scenes = [
        Scene("close_up", {"left": "fist"}, {"left": "palm"}, **SCENE),
        Scene("close_up", {"left": "thumbs_up"}, {"left": "back"}, **SCENE),
    ]
    hands = pose_scenes([scenes[0], scenes[1], scenes[1]], body)
    visible = hands.hand_visible.clone()
    visible[2] = False
    return body, hands.replace(hand_visible=visible)


class Oracle:
    """Plays a pipeline whose stage 1 gives the hands of the sentences, or those of the next one."""

    text_to_hand_params = True

    def __init__(self, answers, shift=0):
        self.body_model, self.hands = answers
        self.shift, self.seeds = shift, []

    def sample_hand_params(self, prompts, num_images_per_prompt, hand_generator):
        self.seeds += [generator.initial_seed() for generator in hand_generator]
        texts = list(FACTS)
        numbers = [(texts.index(prompt) + self.shift) % 3 for prompt in prompts for _ in range(num_images_per_prompt)]
        return self.hands[torch.tensor(numbers)]


class TestEvaluateSentences:
    def three(self):
        return [Sentence(text, facts) for text, facts in FACTS.items()]

    def test_right_hands(self, answers):
        oracle = Oracle(answers)
        result = evaluate_sentences(oracle, self.three(), samples=2, seed=5, batch_size=2)
        assert oracle.seeds == list(range(5, 11)) and result.worst == []
        found = result.estimates["sentences"]
        wanted = {"fingers": 2, "view": 1, "turn": 1, "side": 1, "number": 1, "no_hands": 1, "some_hands": 2}
        for name, n in wanted.items():
            assert found[name].value == 1 and found[name].n == n, name
        assert set(result.estimates["fingers_by_gesture"]) == {"fist", "thumbs_up"}

    def test_wrong_hands(self, answers, tmp_path):
        result = evaluate_sentences(Oracle(answers, shift=1), self.three(), samples=1)
        found = result.estimates["sentences"]
        assert found["fingers"].value == found["view"].value == found["no_hands"].value == 0
        assert found["side"].value == 1 and found["some_hands"].value == 0.5
        came = {row["text"]: row["came"] for row in result.worst}
        assert came["a teapot"] == ["left fist, palm, up"] and came["like"] == ["no hand"]
        assert [row["text"] for row in result.worst][-1] == "a fist"  # its side is right
        result.write(tmp_path)
        assert json.loads((tmp_path / "report.json").read_text())["worst"] == result.worst
        assert "| like | fingers 0.00" in (tmp_path / "report.md").read_text()

    def test_worst_of_both_kinds(self, answers):
        (fist, _, teapot), oracle = self.three(), Oracle(answers, shift=1)
        result = evaluate_sentences(oracle, [fist] * 25 + [teapot] * 30, samples=1)
        assert [row["text"] for row in result.worst] == ["a teapot"] * 20 + ["a fist"] * 20

    def test_a_pipeline(self, pipe, sentences):
        result = evaluate_sentences(pipe, sentences[:3] + sentences[-2:], samples=2, num_hand_inference_steps=1)
        assert {"fingers", "no_hands", "some_hands"} <= set(result.estimates["sentences"])
        assert result.settings["sentences"] == 5 and result.settings["arguments"] == {"num_hand_inference_steps": 1}

    def test_bad_input(self, pipe, text_only_pipe):
        with pytest.raises(ValueError, match="`sentences` must hold at least one sentence"):
            evaluate_sentences(pipe, [])
        with pytest.raises(ValueError, match="`samples` must be at least 1"):
            evaluate_sentences(pipe, self.three(), samples=0)
        with pytest.raises(ValueError, match="no stage 1"):
            evaluate_sentences(text_only_pipe, self.three())


ROW = {"text": "a", "gestures": {"either": ["fist"]}, "view": None, "turn": None, "hands": None, "none": False}


class TestReadSentences:
    def read(self, tmp_path, **changes):
        path = tmp_path / "sentences.jsonl"
        path.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW | changes) + "\n")
        return read_sentences(path)[1].facts

    def test_two_hands_of_one_gesture_and_turns_by_side(self, tmp_path):
        assert self.read(tmp_path, hands=2) == TextFacts(dict.fromkeys(("left", "right"), HandFacts(("fist",))), 2)
        both = {"left": ["thumbs_up"], "right": ["thumbs_down"]}
        found = self.read(tmp_path, gestures=both, turn={"left": "up", "right": "down"}, hands=2)
        assert {side: hand.turn for side, hand in found.hands.items()} == {"left": "up", "right": "down"}

    @pytest.mark.parametrize(
        "changes",
        [
            {"text": 1},
            {"gestures": {"either": ["salute"]}},
            {"gestures": {"foot": ["fist"]}},
            {"view": "front"},
            {"turn": "left"},
            {"hands": 3},
        ],
    )
    def test_bad_lines_are_named(self, tmp_path, changes):
        with pytest.raises(ValueError, match=r"sentences\.jsonl, line 2: not a sentence"):
            self.read(tmp_path, **changes)
