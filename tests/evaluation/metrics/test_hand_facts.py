"""What is read from captions, against the scenes that they describe."""

import random

import pytest

from diffusers_handiffuser.evaluation import HandFacts, TextFacts, read_caption
from diffusers_handiffuser.evaluation.metrics.hand_facts import read_claims
from diffusers_handiffuser.studio import Scene, describe, natural_sentence, sample_scene

THUMBS = {"thumbs_up": "up", "thumbs_down": "down"}


def test_two_thousand_captions():
    views = shots = either = 0
    for number in range(2000):
        scene = sample_scene(4, "train", number)
        caption = describe(scene, random.Random(scene.seed))
        facts = read_caption(caption)
        assert facts.number == len(scene.gestures), caption
        if "either" in facts.hands:
            either += 1
            (side,) = scene.gestures
            hands = {side: facts.hands["either"]}
        else:
            hands = facts.hands
        assert {side: hand.gestures for side, hand in hands.items()} == {
            side: (name,) for side, name in scene.gestures.items()
        }, caption
        for side, hand in hands.items():
            assert hand.view in (None, scene.views[side]), caption
            assert hand.turn == THUMBS.get(scene.gestures[side]), caption
            views += hand.view is not None
        assert facts.shot in (None, scene.kind), caption
        assert (facts.shot == "person") == (scene.kind == "person"), caption
        shots += facts.shot == "close_up"
        assert facts == read_caption(caption, scene)
    assert views > 400 and shots > 100 and either > 50


@pytest.mark.parametrize("turn", ["down", "sideways"])
def test_captions_of_turned_hands(turn):
    for number in range(300):
        scene = sample_scene(4, "train", number, turn=turn)
        caption = describe(scene, random.Random(scene.seed))
        (hand,) = read_caption(caption).hands.values()
        assert hand.turn == turn, caption
        assert hand.gestures == tuple(scene.gestures.values()) and hand.view in (None, *scene.views.values())


def test_claims_of_natural_sentences():
    for number in range(1000):
        scene = sample_scene(4, "train", number, turn=(None, "down", "sideways")[number % 3])
        says = natural_sentence(scene, random.Random(scene.seed)).says
        facts = read_claims(says)
        assert facts.number == len(scene.gestures)
        for side, hand in facts.hands.items():
            sides = tuple(scene.gestures) if side == "either" else (side,)
            assert hand.gestures[0] in [scene.gestures[s] for s in sides]
            assert hand.view in (None, *(scene.views[s] for s in sides))
            if scene.turns:
                assert {hand.turn} == set(scene.turns.values())
        assert facts.shot in (None, "person" if scene.kind == "person" else "close_up")
    assert read_claims({"hands": []}) == TextFacts(number=0)
    unsided = {"hands": [{"gesture": "fist", "side": None}, {"gesture": "ok", "side": "left"}], "framing": "waist-up"}
    assert read_claims(unsided) == TextFacts({}, 2, "person")


@pytest.mark.parametrize("says", [{}, {"hands": 3}, {"hands": [{}]}, ["fist"], {"hands": [{"gesture": "waving"}]}])
def test_claims_that_are_none(says):
    with pytest.raises(ValueError, match="must be"):
        read_claims(says)


def a_scene(**gestures):
    kind = "close_up" if len(gestures) == 1 else "two_hands"
    return Scene(kind, gestures, dict.fromkeys(gestures, "palm"), "tan", "bare", "red", "plain", "front", 0)


@pytest.mark.parametrize(
    "caption, facts",
    [
        ("a hand making a fist", TextFacts({"either": HandFacts(("fist",))}, 1)),
        (
            "a close-up of a left hand showing a peace sign, seen from the back, pale skin",
            TextFacts({"left": HandFacts(("peace",), "back")}, 1, "close_up"),
        ),
        (
            "a person making a thumbs up with the left hand and doing a thumbs down with the right hand",
            TextFacts(
                {"left": HandFacts(("thumbs_up",), None, "up"), "right": HandFacts(("thumbs_down",), None, "down")},
                2,
                "person",
            ),
        ),
        (
            "a right hand with the thumb and index finger extended, fingers pointing down",
            TextFacts({"right": HandFacts(("fingers_11000",), None, "down")}, 1),
        ),
        ("a right hand in side view, seen from the back", TextFacts({"right": HandFacts()}, 1)),
        ("a bowl of fruit, lit from the left", TextFacts()),
    ],
)
def test_phrases(caption, facts):
    assert read_caption(caption) == facts


def test_scenes_supply_gestures_in_other_words():
    caption = "a close-up of a left hand that looks like a rabbit, seen from the back"
    assert read_caption(caption) == TextFacts({"left": HandFacts((), "back")}, 1, "close_up")
    assert read_caption(caption, a_scene(left="peace")) == TextFacts({"either": HandFacts(("peace",))})
    two = TextFacts({"left": HandFacts(("peace",)), "right": HandFacts(("thumbs_up",), None, "up")})
    assert read_caption("a rabbit and a nod", a_scene(left="peace", right="thumbs_up")) == two


def test_what_is_turned():
    assert HandFacts(("thumbs_up", "fingers_10000")).turned_part == "thumb"
    assert HandFacts(("thumbs_up", "fist")).turned_part == HandFacts().turned_part == "fingers"


def test_side():
    hand = HandFacts()
    assert TextFacts({"right": hand}).side == "right"
    assert TextFacts({"either": hand}).side is None and TextFacts({"left": hand, "right": hand}).side is None


@pytest.mark.parametrize("sides", [("up",), ("left", "either")])
def test_unknown_sides(sides):
    with pytest.raises(ValueError, match="`hands` must be keyed"):
        TextFacts(dict.fromkeys(sides, HandFacts()))


def test_three_hands():
    with pytest.raises(ValueError, match="`number` must be 0, 1 or 2, got 3"):
        TextFacts(number=3)
