import random
import re

import pytest

from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import GESTURES, SKIN_TONES, Scene, describe, gesture_by_name, sample_scene
from diffusers_handiffuser.studio.captions import _NUMBERS, _VIEWS
from diffusers_handiffuser.studio.scenes import COLORS, HANDLESS_KINDS, KINDS, TEXTURES, TURNS


def captions(scene: Scene, count: int = 40) -> list[str]:
    return [describe(scene, random.Random(i)) for i in range(count)]


def scene(**changes) -> Scene:
    plain = dict(
        kind="close_up",
        gestures={"right": "peace"},
        views={"right": "palm"},
        skin="olive",
        sleeve="teal",
        background="purple",
        texture="plain",
        light="left",
        seed=7,
    )
    return Scene(**{**plain, **changes})


@pytest.fixture(scope="module")
def described():
    """`[(scene, caption)]` of both splits and every kind."""
    pairs = []
    for split in ("train", "test"):
        for kind in KINDS:
            for i in range(150):
                drawn = sample_scene(0, split, i, kind)
                pairs.append((drawn, describe(drawn, random.Random(drawn.seed))))
    return pairs


class TestTruth:
    """A caption may leave things out; it never says what is not so."""

    def test_the_gesture_is_always_named(self, described):
        for drawn, caption in described:
            for name in drawn.gestures.values():
                assert any(phrase in caption for phrase in gesture_by_name(name).phrases), caption

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_phrase_of_a_gesture_comes_up(self, kind):
        sides = SIDES if kind == "two_hands" else ("left",)
        for name in (*GESTURES, "fingers_00000", "fingers_11111", "fingers_01100", "fingers_10000"):
            drawn = scene(kind=kind, gestures=dict.fromkeys(sides, name), views=dict.fromkeys(sides, "palm"))
            said = "\n".join(captions(drawn, 60))
            absent = [phrase for phrase in gesture_by_name(name).phrases if phrase not in said]
            assert not absent, name

    def test_no_wrong_side_is_named(self, described):
        for drawn, caption in described:
            hands = set(re.findall(r"\b(left|right) hand\b", caption))
            assert hands <= set(drawn.gestures), caption

    def test_the_side_of_a_single_hand_is_nearly_always_named(self, described):
        single = [(drawn, caption) for drawn, caption in described if len(drawn.gestures) == 1]
        named = [f"{next(iter(drawn.gestures))} hand" in caption for drawn, caption in single]
        assert sum(named) / len(named) > 0.9
        for drawn, caption in single:
            if drawn.kind == "person":
                assert f"with the {next(iter(drawn.gestures))} hand" in caption

    def test_two_different_gestures_are_named_by_side(self):
        different = {"gestures": {"left": "fist", "right": "ok"}, "views": {"left": "palm", "right": "palm"}}
        for caption in captions(scene(kind="two_hands", **different)):
            fist = max(caption.find(phrase) for phrase in GESTURES["fist"].phrases)
            ok = max(caption.find(phrase) for phrase in GESTURES["ok"].phrases)
            left, right = caption.find("a left hand"), caption.find("a right hand")
            assert min(fist, ok, left, right) >= 0
            assert (left < fist) and (right < ok) and ((left < right) == (fist < ok))
        for caption in captions(scene(kind="person", **different)):
            fist = max(caption.find(phrase) for phrase in GESTURES["fist"].phrases)
            ok = max(caption.find(phrase) for phrase in GESTURES["ok"].phrases)
            assert fist < caption.find("with the left hand") < ok < caption.find("with the right hand")

    def test_one_gesture_of_both_hands_is_named_once(self):
        same = {"gestures": {"left": "fist", "right": "fist"}, "views": {"left": "palm", "right": "palm"}}
        assert all(
            re.match("two hands|both hands|a pair of hands", c) for c in captions(scene(kind="two_hands", **same))
        )
        assert all("with both hands" in c for c in captions(scene(kind="person", **same)))

    def test_skin_sleeve_and_background_are_the_scenes_own(self, described):
        for drawn, caption in described:
            skins = re.findall(r"(dark brown|\w+) skin\b", caption)
            assert set(skins) <= {drawn.skin}, caption
            sleeves = re.findall(r"(\w+) (?:sleeve|shirt)\b", caption)
            assert set(sleeves) <= {drawn.sleeve}, caption
            assert ("bare arm" in caption) <= (drawn.sleeve == "bare")
            if "background" in caption:
                (words,) = re.findall(r"(?:^|, )(?:on an? )?([\w ]+) background", caption)
                assert drawn.background in words.split()
                texture = set(words.split()) & set(TEXTURES) or {"plain"}
                assert texture == {drawn.texture}, caption

    def test_light_and_view_are_the_scenes_own(self, described):
        for drawn, caption in described:
            light = re.findall(r"(?:lit|light) from (?:the )?(\w+)", caption)
            assert set(light) <= {drawn.light}, caption
            for view, phrases in _VIEWS.items():
                if any(phrase in caption for phrase in phrases):
                    assert set(drawn.views.values()) == {view} and len(drawn.gestures) == 1

    @pytest.mark.parametrize("turn", TURNS)
    def test_where_a_turned_hand_points_is_always_said(self, turn):
        pattern = re.compile(rf"(?:pointing|with the fingers) {turn}\b")
        for i in range(300):
            drawn = sample_scene(0, "train", i, turn=turn)
            assert pattern.search(describe(drawn, random.Random(drawn.seed)))

    def test_no_other_hand_is_said_to_be_turned(self, described):
        for _, caption in described:
            assert not re.search(r"\b(?:pointing|fingers) (?:down|sideways)\b", caption), caption

    def test_a_count_of_fingers_is_right(self, described):
        counted = 0
        for drawn, caption in described:
            for word in re.findall(r"showing (\w+) extended fingers", caption):
                counted += 1
                extended = [len(gesture_by_name(name).extended) for name in drawn.gestures.values()]
                assert _NUMBERS.index(word) in extended
        assert counted


class TestWording:
    def test_one_scene_has_many_captions(self):
        for kind in KINDS:
            sides = SIDES if kind == "two_hands" else ("right",)
            drawn = scene(kind=kind, gestures=dict.fromkeys(sides, "peace"), views=dict.fromkeys(sides, "palm"))
            assert len(set(captions(drawn))) > 20

    def test_the_same_random_state_gives_the_same_words(self):
        assert captions(scene()) == captions(scene())

    def test_a_caption_that_never_changes(self):
        assert describe(scene(), random.Random(0)) == (
            "a picture of a right hand showing two extended fingers, a victory sign"
        )
        assert describe(scene(), random.Random(5)) == (
            "a photo of a right hand making a V sign, olive skin, in a teal sleeve, on a plain purple background, "
            "lit from the left"
        )

    def test_everything_is_mentioned_somewhere(self):
        said = " / ".join(captions(scene(), 100))
        for words in ("right hand", "olive skin", "teal sleeve", "purple background", "plain purple", "from the left"):
            assert words in said
        assert any(phrase in said for phrase in _VIEWS["palm"])

    def test_captions_are_single_lines_without_a_full_stop(self, described):
        for _, caption in described:
            assert caption == " ".join(caption.split()) and not caption.endswith((".", ",")) and "  " not in caption
            assert caption[0].islower()

    def test_articles_of_sleeves_and_backgrounds_are_right(self):
        for color in COLORS:
            article = "an" if color == "orange" else "a"
            for caption in captions(scene(sleeve=color, background=color)):
                for found in re.findall(rf"\b(an?) {color} (?:sleeve|background)", caption):
                    assert found == article, caption

    def test_no_finger_is_called_the_no_or_the_all(self):
        for name in ("fingers_00000", "fingers_11111"):
            for caption in captions(scene(gestures={"right": name})):
                assert not re.search(r"\bthe (no|all|only|the)\b", caption), caption

    def test_fit_into_the_text_encoder(self, described):
        """77 CLIP tokens are at least that many words and commas, short of the two markers."""
        assert max(len(re.findall(r"\w+|[^\w\s]", caption)) for _, caption in described) < 60

    def test_skin_tones_are_all_named(self):
        for skin in SKIN_TONES:
            assert any(f"{skin} skin" in caption for caption in captions(scene(skin=skin)))


@pytest.mark.parametrize("kind", HANDLESS_KINDS)
def test_scenes_without_hands(kind):
    texts = set()
    for i in range(200):
        drawn = sample_scene(0, "train", i, kind)
        text = describe(drawn, random.Random(i))
        texts.add(text)
        assert text == text.lower() and not text.endswith(".")
        assert not re.search(r"\b(left|right) hand|making|showing|doing", text)
        background = re.search(rf"({'|'.join(COLORS)})(?: (?:{'|'.join(TEXTURES)}))? background", text)
        assert background is None or background[1] == drawn.background
        if kind == "hands_hidden":
            assert f"{drawn.sleeve} shirt" in text
            skin = re.search(r"with ([a-z ]+) skin", text)
            assert skin is None or skin[1] == drawn.skin
        else:
            assert background
    assert len(texts) > 50
