"""Scores of the studio's own hands against what is said of them, and of hands that do otherwise."""

import random

import pytest
import torch

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.evaluation import HandFacts, TextFacts, read_caption, score_texts
from diffusers_handiffuser.evaluation.metrics.text_agreement import SeenHands, same_gestures
from diffusers_handiffuser.hands.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from diffusers_handiffuser.studio import GESTURES, Scene, describe, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes


@pytest.fixture(scope="module")
def body_model():
    return HandBodyModel.procedural()


def scene(kind="close_up", view="palm", **gestures):
    sleeve = "red" if kind == "person" else "bare"
    return Scene(kind, gestures, dict.fromkeys(gestures, view), "tan", sleeve, "red", "plain", "front", 3)


def scores(hands, facts, body_model):
    found = score_texts(hands, [facts] * len(hands.camera), body_model)
    return {name: values[0].item() for name, values in found.items()}


def upside_down(hands):
    turn = rotvec_to_rotmat(torch.tensor([[0.0, 0.0, torch.pi]]))
    return hands.replace(global_orient=rotmat_to_rotvec(turn @ rotvec_to_rotmat(hands.global_orient)))


@pytest.fixture(scope="module")
def test_split(body_model):
    scenes = [sample_scene(0, "test", number) for number in range(300)]
    captions = [describe(one, random.Random(one.seed)) for one in scenes]
    return pose_scenes(scenes, body_model), [read_caption(caption) for caption in captions]


def test_the_data_do_what_their_captions_say(test_split, body_model):
    found = score_texts(*test_split, body_model)
    for name in ("fingers", "side", "number", "some_hands", "in_image", "shot", "view", "turn"):
        values = found[name][~found[name].isnan()]
        assert len(values) > 10 and values.mean() >= 0.98, name
    assert {f"by_gesture/{name}" for name in GESTURES} <= set(found)


def test_other_hands_do_not(test_split, body_model):
    hands, facts = test_split
    mirrored = score_texts(hands.mirror(), facts, body_model)
    assert mirrored["side"].nanmean() == 0 and mirrored["view"].nanmean() < 0.2
    shuffled = score_texts(hands[torch.arange(300).roll(1)], facts, body_model)
    assert shuffled["fingers"].nanmean() < 0.2 and shuffled["shot"].nanmean() < 0.8


def test_fingers_are_judged_apart_from_turn(body_model):
    hands = pose_scenes([scene(left="thumbs_up")], body_model)
    facts = TextFacts({"left": HandFacts(("thumbs_up",), None, "up")}, 1)
    right, wrong = scores(hands, facts, body_model), scores(upside_down(hands), facts, body_model)
    assert right["fingers"] == wrong["fingers"] == 1
    assert right["turn"] == right["turn_thumb_up"] == 1 and wrong["turn"] == wrong["turn_thumb_up"] == 0


@pytest.mark.parametrize("view, other", [("palm", "back"), ("back", "side"), ("side", "palm")])
def test_view(body_model, view, other):
    hands = pose_scenes([scene(view=view, right="open_hand")], body_model)
    for said, score in ((view, 1), (other, 0)):
        found = scores(hands, TextFacts({"right": HandFacts((), said)}), body_model)
        assert found["view"] == found[f"view_{said}"] == score and "fingers" not in found and "turn" not in found


def test_fingers_that_point(body_model):
    hands = pose_scenes([scene(right="peace")], body_model)
    facts = TextFacts({"right": HandFacts(("peace",), None, "up")})
    assert scores(hands, facts, body_model)["turn_fingers_up"] == 1
    assert scores(upside_down(hands), facts, body_model)["turn_fingers_up"] == 0
    down = TextFacts({"right": HandFacts(("peace",), None, "down")})
    assert scores(upside_down(hands), down, body_model)["turn"] == 1


def test_an_open_side_takes_any_hand_and_both_sides_each_their_own(body_model):
    hands = pose_scenes([scene("two_hands", left="fist", right="peace")], body_model)
    fist, peace, ok = (HandFacts((name,)) for name in ("fist", "peace", "ok"))
    assert scores(hands, TextFacts({"either": peace}, 1), body_model)["fingers"] == 1
    assert scores(hands, TextFacts({"either": peace}, 1), body_model)["number"] == 0
    assert scores(hands, TextFacts({"either": ok}), body_model)["fingers"] == 0
    assert scores(hands, TextFacts({"left": fist, "right": peace}, 2), body_model)["fingers"] == 1
    assert scores(hands, TextFacts({"left": fist, "right": fist}, 2), body_model)["fingers"] == 0.5
    assert scores(hands, TextFacts({"left": HandFacts(("ok", "fist"))}), body_model)["fingers"] == 1


def test_hands_that_are_missing(body_model):
    hands = pose_scenes([scene(left="fist")], body_model)
    nothing = hands.replace(hand_visible=torch.zeros(1, 2, dtype=torch.bool))
    facts = TextFacts({"left": HandFacts(("fist",), "palm", "up")}, 1, "close_up")
    found = scores(nothing, facts, body_model)
    assert all(value == 0 for value in found.values()) and "in_image" not in found
    right = scores(hands, TextFacts({"right": HandFacts(("fist",))}), body_model)
    assert right["fingers"] == right["side"] == 0 and right["some_hands"] == 1
    assert scores(nothing, TextFacts(number=0), body_model) == {"no_hands": 1}
    assert scores(hands, TextFacts(number=0), body_model) == {"no_hands": 0}


def test_hands_outside_the_image(body_model):
    hands = pose_scenes([scene(left="fist")], body_model)
    assert scores(hands, TextFacts(), body_model) == {"in_image": 1}
    moved = hands.replace(camera=hands.camera + torch.tensor([0.0, 1.0, 0.0]))
    assert scores(moved, TextFacts(), body_model) == {"in_image": 0}


def test_shots(body_model):
    for kind, other in (("close_up", "person"), ("person", "close_up")):
        hands = pose_scenes([scene(kind, left="fist")], body_model)
        assert scores(hands, TextFacts(shot=kind), body_model)["shot"] == 1
        assert scores(hands, TextFacts(shot=other), body_model)["shot"] == 0


def test_gestures_that_look_alike_are_one():
    assert same_gestures("pointing") == {"pointing", "fingers_01000"}
    assert same_gestures("fist") == {"fist", "fingers_00000"}
    assert same_gestures("ok") == {"ok"} and same_gestures("vulcan") == {"vulcan"}
    assert "two_together" not in same_gestures("peace") and "peace" in same_gestures("fingers_01100")


def test_hands_in_words(body_model):
    hands = pose_scenes([scene(left="thumbs_down")], body_model)
    assert SeenHands(hands, body_model).describe(0) in (
        "left thumbs_down, palm, down",
        "left thumbs_up, palm, down",
    )
    nothing = hands.replace(hand_visible=torch.zeros(1, 2, dtype=torch.bool))
    assert SeenHands(nothing, body_model).describe(0) == "no hand"


@pytest.mark.parametrize("turn", ["down", "sideways"])
@pytest.mark.parametrize("kind", ["close_up", "person"])
def test_turned_hands_are_read_right(body_model, kind, turn):
    scenes = [sample_scene(0, "train", number, kind, turn=turn) for number in range(250)]
    seen = SeenHands(pose_scenes(scenes, body_model), body_model)
    right = []
    for row, one in enumerate(scenes):
        ((side, name),) = one.gestures.items()
        place = ("left", "right").index(side)
        right.append((seen.view(row, place), seen.turn(row, place, HandFacts((name,)))) == (one.views[side], turn))
    assert sum(right) > 0.97 * len(right)
