import random
import re
import time

import pytest

from diffusers_handiffuser.studio import (
    Scene,
    Sentence,
    gesture_by_name,
    handless_caption,
    handless_sentence,
    natural_caption,
    natural_sentence,
    sample_scene,
)
from diffusers_handiffuser.studio.language import settings, sides_and_views, world
from diffusers_handiffuser.studio.language.inflection import inflect
from diffusers_handiffuser.studio.language.marks import frame_of, mark, without_marks
from diffusers_handiffuser.studio.language.sayings import SAYING_VERBS, SAYINGS
from diffusers_handiffuser.studio.language.sides_and_views import FINGER_TURNS
from diffusers_handiffuser.studio.language.typing_habits import british, misspell, without_articles
from diffusers_handiffuser.studio.scenes import COLORS, HANDLESS_KINDS, SKIN_TONES, TURNS

NUM = 10_000
BARE = {words.lower() for words in world.BARE_WORDS}
Pairs = list[tuple[Scene, Sentence]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    scenes = [sample_scene(0, "train", i) for i in range(NUM)]
    return [(scene, natural_sentence(scene, random.Random(scene.seed))) for scene in scenes]


@pytest.fixture(scope="module")
def one_hand(pairs) -> Pairs:
    return [(scene, sentence) for scene, sentence in pairs if len(scene.gestures) == 1]


@pytest.fixture(scope="module")
def without_hands() -> list[Sentence]:
    return [handless_sentence(random.Random(f"{i}|without hands")) for i in range(NUM)]


def is_bare(sentence: Sentence) -> bool:
    """Whether it is one of the subjects without another word."""
    return sentence.frame in BARE


def spaced(text: str) -> str:
    """Lower case, American spelling, one space between words and around commas."""
    return " ".join(re.findall(r"[\w'-]+|,", text.lower().replace("grey", "gray").replace("towards", "toward")))


class TestRichness:
    def test_no_two_share_their_frame(self, pairs):
        """Save for those that have none, "left hand, thumbs down"."""
        frames = [sentence.frame for _, sentence in pairs if sentence.frame != "_"]
        assert len(set(frames)) == len(frames)
        assert 0.01 * NUM < NUM - len(frames) < 0.03 * NUM

    def test_no_two_of_those_without_hands_either(self, without_hands):
        longer = [sentence for sentence in without_hands if not is_bare(sentence)]
        assert 0.97 * NUM < len(longer) < 0.99 * NUM
        assert len({sentence.frame for sentence in longer}) > 0.999 * len(longer)

    def test_lengths(self, pairs, without_hands):
        lengths = sorted(len(sentence.text.split()) for _, sentence in pairs)
        assert lengths[0] == 1 < lengths[NUM // 50] and lengths[-1] <= 60
        assert lengths[NUM // 10] <= 16 and lengths[9 * NUM // 10] >= 30
        assert all(len(sentence.text.split()) >= 3 for _, sentence in pairs if sentence.frame != "_")
        assert all(len(sentence.text.split()) <= 60 for sentence in without_hands)
        assert all(len(sentence.text.split()) >= 3 for sentence in without_hands if not is_bare(sentence))

    def test_dialogue(self, one_hand):
        """Somebody says what only that gesture means."""
        verbs = "|".join(dict.fromkeys(inflect(verb, "s") for verb in SAYING_VERBS))
        found = set()
        for scene, sentence in one_hand:
            (gesture,) = scene.gestures.values()
            said = re.match(rf"\W?(.+?)\W?, (?:{verbs}) ", sentence.text)
            if said:
                for name, words in SAYINGS.items():
                    if said[1].lower() in [word.lower() for word in words]:
                        assert name == gesture, sentence.text
                        found.add(name)
        assert len(found) > 20

    def test_questions_end_as_questions(self, pairs):
        asked = [s.text for _, s in pairs if re.match("(Can|Could|Would) ", s.text)]
        assert 0.3 < sum(text.endswith("?") for text in asked) / len(asked) < 0.8

    def test_some_leave_out_all_articles(self, pairs):
        long = [s.text for _, s in pairs if len(s.text.split()) > 15]
        without = [text for text in long if not re.search(r"\b(?:an?|the)\b", text.lower())]
        assert 0.02 < len(without) / len(long) < 0.2

    def test_manners_of_typing(self, pairs):
        texts = [sentence.text for _, sentence in pairs]
        assert 0.2 < sum(text == text.lower() for text in texts) / NUM < 0.6
        assert 0.1 < sum(text.endswith(".") for text in texts) / NUM < 0.6
        assert any(text.isupper() for text in texts)
        assert any(" grey" in text for text in texts) and any(" gray" in text for text in texts)
        assert sum(bool(re.search(r"\(.+:1\.\d\)", text)) for text in texts) > 4

    def test_distractors_beside_hands(self, pairs):
        found = sum(
            any(words.split("{")[0] in sentence.text for words in settings.DISTRACTORS) for _, sentence in pairs
        )
        assert found > 0.01 * NUM

    def test_distractors_without_hands(self, without_hands):
        openings = [words.split(" ", 1)[1].lower() for words in world.DISTRACTORS]
        found = sum(any(words in sentence.text.lower() for words in openings) for sentence in without_hands)
        assert found > 0.08 * NUM

    def test_both_orders_of_hand_and_person(self, one_hand):
        """The words for the hand stand first, last and between."""
        places = [sentence.frame.split().index("_") / len(sentence.frame.split()) for _, sentence in one_hand]
        assert min(places) == 0 and max(places) > 0.8

    def test_speed(self):
        scenes = [sample_scene(0, "train", i) for i in range(1000)]
        start = time.process_time()
        for scene in scenes:
            natural_caption(scene, random.Random(scene.seed))
        assert time.process_time() - start < 1, "3000 sentences a second are the goal, 1000 the least"


class TestTruth:
    def test_claims_about_hands(self, pairs):
        for scene, sentence in pairs:
            hands = sentence.says["hands"]
            assert sorted(hand["gesture"] for hand in hands) == sorted(scene.gestures.values())
            for hand in hands:
                sides = [hand["side"]] if "side" in hand else list(scene.gestures)
                assert hand["gesture"] in [scene.gestures[side] for side in sides]
                if "view" in hand:
                    assert hand["view"] in [scene.views[side] for side in sides]
                turn = {"thumbs_up": "up", "thumbs_down": "down"}.get(hand["gesture"])
                assert hand.get("turn") in ((turn,) if turn else (None, "up"))

    @pytest.mark.parametrize("name", ["skin", "sleeve", "background", "texture", "light"])
    def test_claims_in_the_words_of_the_scene(self, pairs, name):
        said = [(scene, sentence) for scene, sentence in pairs if name in sentence.says]
        assert 0.04 * NUM < len(said) < 0.6 * NUM
        for scene, sentence in said:
            assert sentence.says[name] == getattr(scene, name)
            if name in ("skin", "background") or (name == "sleeve" and scene.sleeve != "bare"):
                assert getattr(scene, name) in spaced(sentence.text)

    def test_claims_about_framing(self, pairs):
        said = [(scene, sentence) for scene, sentence in pairs if "framing" in sentence.says]
        assert len(said) > 0.1 * NUM
        for scene, sentence in said:
            assert sentence.says["framing"] == ("waist-up" if scene.kind == "person" else "close-up")

    def test_sides_read_from_the_text(self, one_hand):
        """What is claimed can be read, and nothing else."""
        pattern = re.compile(r"\b(left|right) (?:hand|arm)\b|\b(?:with|on) (?:his|her|their|my) (left|right)\b")
        said = 0
        for scene, sentence in one_hand:
            found = {a or b for a, b in pattern.findall(spaced(sentence.text))}
            claimed = sentence.says["hands"][0].get("side")
            assert found == ({claimed} if claimed else set()), sentence.text
            assert claimed is None or claimed in scene.gestures
            said += claimed is not None
        assert 0.6 < said / len(one_hand) < 0.85

    def test_views_read_from_the_text(self, one_hand):
        palm = r"palm (?:side )?(?:out|forward|outward|visible|toward (?:us|the)|to the|facing (?:the|us)|turned to)\b"
        back = r"knuckles (?:to|toward|facing)\b|palm (?:facing |turned )?away|back of the hand|seen from behind"
        side = r"\b(?:in profile|from the side|side view|edge-on)\b"
        for scene, sentence in one_hand:
            text = spaced(sentence.text)
            (view,) = scene.views.values()
            for words, meant in ((palm, "palm"), (back, "back"), (side, "side")):
                if re.search(words, text):
                    assert view == meant, sentence.text
                    assert sentence.says["hands"][0]["view"] == meant, sentence.text
        said = sum("view" in sentence.says["hands"][0] for _, sentence in one_hand)
        assert 0.2 < said / len(one_hand) < 0.6

    def test_thumbs_read_from_the_text(self, one_hand):
        for scene, sentence in one_hand:
            (gesture,) = scene.gestures.values()
            for turn in ("up", "down"):
                if re.search(rf"\bthumbs?[ -]{turn}\b|\bthumb pointing {turn}\b", spaced(sentence.text)):
                    assert gesture == f"thumbs_{turn}" or gesture.startswith("fingers_"), sentence.text

    def test_numbers_read_from_the_text(self, one_hand):
        numbers = ("zero", "one", "two", "three", "four", "five")
        pattern = re.compile(rf"\bhold(?:s|ing)? up ({'|'.join(numbers)}|\d) fingers?\b")
        found = 0
        for scene, sentence in one_hand:
            match = pattern.search(spaced(sentence.text))
            if match:
                (gesture,) = scene.gestures.values()
                number = int(match[1]) if match[1].isdigit() else numbers.index(match[1])
                assert number == len(gesture_by_name(gesture).extended), sentence.text
                found += 1
        assert found > 20

    def test_colours_of_backgrounds_read_from_the_text(self, pairs):
        pattern = re.compile(rf"\b({'|'.join(COLORS)}) (?:background|wall|backdrop|curtain|screen|sheet)\b")
        for scene, sentence in pairs:
            assert set(pattern.findall(spaced(sentence.text))) <= {scene.background}, sentence.text

    def test_colours_of_skin_read_from_the_text(self, pairs):
        pattern = re.compile(rf"\b({'|'.join(sorted(SKIN_TONES, key=len, reverse=True))}) (?:skin|complexion)\b")
        for scene, sentence in pairs:
            assert set(pattern.findall(spaced(sentence.text))) <= {scene.skin}, sentence.text

    def test_two_hands_are_said_to_be_two(self, pairs):
        """In words, or by a deed that takes two, "holding an invisible burger"."""
        pattern = re.compile(
            r"\b(?:both|two|pair|other|each|double|left\b.*\bright|right\b.*\bleft|hands|pinkies|quotes|guns|shakas|webs)\b"
        )
        two = [spaced(sentence.text) for scene, sentence in pairs if len(scene.gestures) == 2]
        assert sum(bool(pattern.search(text)) for text in two) > 0.95 * len(two)

    def test_the_frame_has_no_sides(self, one_hand):
        for _, sentence in one_hand:
            assert not re.search(r"(?<!from the )(?<!on the )\b(left|right) hand\b", sentence.frame), sentence.text


class TestTurns:
    """Where fingers point is said of every turned hand, and never wrongly of another."""

    @pytest.mark.parametrize("turn", TURNS)
    def test_of_turned_hands(self, turn):
        scenes = [sample_scene(0, "train", i, turn=turn) for i in range(2000)]
        sentences = [natural_sentence(scene, random.Random(scene.seed)) for scene in scenes]
        frames = [sentence.frame for sentence in sentences if sentence.frame != "_"]
        assert len(set(frames)) == len(frames) > 0.96 * len(scenes)
        words = {
            "down": r"\bdown(ward)?\b|\bupside\b|\bfloor\b|\bground\b|\bearth\b",
            "sideways": r"\bsideways\b|\bside\b|\bhorizontal|\blevel\b|\bparallel\b",
        }
        for sentence in sentences:
            (hand,) = sentence.says["hands"]
            assert hand["turn"] == turn
            assert re.search(words[turn], spaced(sentence.text)), sentence.text
        wordings = {phrase for phrases in (sides_and_views.TURNS, FINGER_TURNS) for phrase in phrases[turn]}
        said = {
            p for p in wordings if any(p.strip(", ").replace("fingers", "finger") in s.text.lower() for s in sentences)
        }
        assert len(said) > 10

    def test_a_turned_hand_is_not_said_to_be_up(self):
        for turn in TURNS:
            for i in range(1000):
                scene = sample_scene(6, "train", i, turn=turn)
                text = natural_sentence(scene, random.Random(i)).text.lower()
                assert not re.search(r"\bhand (?:up|raised|lifted|in the air)\b|\braised hand\b", text), text

    def test_up_is_said_of_some_that_are_not(self, pairs):
        up = [
            (scene, hand)
            for scene, sentence in pairs
            for hand in sentence.says["hands"]
            if hand.get("turn") == "up" and hand["gesture"] != "thumbs_up"
        ]
        assert 0.03 * NUM < len(up) < 0.1 * NUM
        assert not {hand["gesture"] for _, hand in up} & {"thumbs_down", "fingers_10000"}

    def test_down_and_sideways_are_not_said_of_others(self, pairs):
        phrases = [
            phrase.strip(", ")
            for table in (sides_and_views.TURNS, FINGER_TURNS)
            for turn in TURNS
            for phrase in table[turn]
        ]
        pattern = re.compile(rf"\b(?:{'|'.join(phrases)})\b".replace("fingers", "fingers?"))
        for _, sentence in pairs:
            gestures = {hand["gesture"] for hand in sentence.says["hands"]}
            if not gestures & {"thumbs_up", "thumbs_down"}:
                assert not pattern.search(spaced(sentence.text)), sentence.text


class TestDeterminism:
    def test_same_numbers_same_sentence(self):
        for i in range(50):
            scene = sample_scene(2, "train", i)
            first, again = (natural_sentence(scene, random.Random(i)) for _ in range(2))
            assert first == again
            assert natural_caption(scene, random.Random(i)) == first.text
            assert first.text != natural_caption(scene, random.Random(i + 1))
            assert handless_caption(random.Random(i)) == handless_sentence(random.Random(i)).text

    def test_leaves_the_global_random_state_alone(self):
        before = random.getstate()
        natural_caption(sample_scene(0, "train", 0), random.Random(0))
        handless_caption(random.Random(0))
        assert random.getstate() == before


class TestWithoutHands:
    def test_claim_no_hands(self, without_hands):
        assert all(sentence.says == {"hands": []} for sentence in without_hands)

    def test_are_not_all_of_one_kind(self, without_hands):
        texts = [sentence.text.lower() for sentence in without_hands]

        def share(words) -> float:
            return sum(any(word in text for word in words) for text in texts) / NUM

        assert share(world.LAND) > 0.08
        assert share(world.ANIMALS) > 0.08
        assert share(world.FOOD) > 0.04
        assert share(world.BUILDINGS) > 0.06
        assert share(("hands behind", "pockets", "out of frame", "out of the frame")) > 0.02
        assert share(world.HEADS) > 0.08

    @pytest.mark.parametrize("kind", HANDLESS_KINDS)
    def test_are_true_of_their_scene(self, kind):
        pattern = re.compile(rf"\b(?:against|in front of|before) an? ({'|'.join(COLORS)}) ")
        said = set()
        for i in range(2000):
            scene = sample_scene(1, "train", i, kind)
            sentence = natural_sentence(scene, random.Random(i))
            claims = dict(sentence.says)
            assert claims.pop("hands") == []
            assert all(getattr(scene, name) == value for name, value in claims.items())
            said |= set(claims)
            assert set(pattern.findall(spaced(sentence.text))) <= {scene.background}, sentence.text
        assert said >= {"background", "light"} | ({"skin", "sleeve"} if kind == "hands_hidden" else set())


class TestTyping:
    def test_british(self):
        assert (
            british("a gray-haired neighbor in the theater, color photo")
            == "a grey-haired neighbour in the theatre, colour photo"
        )

    def test_without_articles(self):
        text = f"A nurse shows {mark('a three with the thumb')}, another one waits at an inn."
        assert without_marks(without_articles(text)) == "nurse shows three with thumb, another one waits at inn."

    def test_misspellings_keep_what_decides(self):
        text = "a left hand with the palm down and four fingers in front of a yellow curtain"
        for i in range(300):
            wrong = misspell(text, random.Random(i))
            for word in ("left hand", "palm down", "four", "yellow"):
                assert word in wrong
        assert len({misspell(text, random.Random(i)) for i in range(300)}) > 10

    def test_frames(self):
        text = f"A nurse {mark('waves hello')}, {mark('palm out')}, in Rome."
        assert frame_of(text) == "a nurse _ in rome"
        assert without_marks(text) == "A nurse waves hello, palm out, in Rome."


def test_no_slot_is_left_open():
    rng = random.Random(9)
    texts = [natural_caption(sample_scene(7, "train", i), rng) for i in range(4000)]
    texts += [handless_caption(rng) for _ in range(4000)]
    assert [text for text in texts if re.search(r"[{}~|<>_#]", text)] == []
