import dataclasses
import json
import math
from collections import Counter

import pytest
import torch

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.rotations import rotmat_geodesic_distance, rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import JOINT_NAMES, LEFT_HAND, OPENPOSE_HAND_NAMES, RIGHT_HAND, SIDES
from diffusers_handiffuser.studio import (
    GESTURES,
    SKIN_TONES,
    Scene,
    gesture_by_name,
    is_held_out,
    sample_scene,
    scene_split,
)
from diffusers_handiffuser.studio.scenes import (
    COLORS,
    HANDLESS_KINDS,
    KINDS,
    LIGHTS,
    SPLITS,
    TEXTURES,
    TURNS,
    VIEWS,
    pose_scenes,
)

PLAIN = dict(
    kind="close_up",
    gestures={"right": "open_hand"},
    views={"right": "palm"},
    skin="tan",
    sleeve="bare",
    background="blue",
    texture="plain",
    light="front",
    seed=7,
)


def scene(**changes) -> Scene:
    return Scene(**{**PLAIN, **changes})


@pytest.fixture(scope="module")
def body():
    return HandBodyModel.procedural()


@pytest.fixture(scope="module")
def many():
    return {split: [sample_scene(0, split, i) for i in range(1500)] for split in SPLITS}


class TestScene:
    def test_round_trip_through_a_row(self):
        for i in range(20):
            original = sample_scene(3, "train", i)
            assert Scene(**json.loads(json.dumps(original.to_dict()))) == original

    def test_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            scene().skin = "pale"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("kind", "portrait"),
            ("gestures", {}),
            ("gestures", {"middle": "fist"}),
            ("gestures", {"left": "fist", "right": "fist"}),
            ("views", {}),
            ("views", {"left": "palm"}),
            ("views", {"right": "front"}),
            ("skin", "green"),
            ("sleeve", "beige"),
            ("background", "bare"),
            ("texture", "noisy"),
            ("light", "below"),
        ],
    )
    def test_words_that_nobody_knows_are_named(self, field, value):
        with pytest.raises(ValueError, match=f"`{field}`"):
            scene(**{field: value})

    def test_unknown_gestures_are_named(self):
        with pytest.raises(ValueError, match="got 'waving'"):
            scene(gestures={"right": "waving"})

    def test_numbers_of_hands(self):
        both = {"gestures": {"left": "fist", "right": "ok"}, "views": {"left": "palm", "right": "back"}}
        scene(kind="two_hands", **both)
        scene(kind="person", sleeve="red", **both)
        scene(kind="person", sleeve="red")
        with pytest.raises(ValueError, match="`gestures` of a 'two_hands' scene cannot be of 1 hands"):
            scene(kind="two_hands")

    def test_turns(self):
        for turn in TURNS:
            turned = scene(turns={"right": turn})
            assert turned.to_dict()["turns"] == {"right": turn}
            assert Scene(**json.loads(json.dumps(turned.to_dict()))) == turned
        assert "turns" not in scene().to_dict() and scene().turns == {}

    @pytest.mark.parametrize(
        "changes",
        [
            {"turns": {"right": "up"}},
            {"turns": {"left": "down"}},
            {"turns": {"right": "down"}, "gestures": {"right": "thumbs_up"}},
            {"turns": {"right": "down"}, "gestures": {"right": "thumbs_down"}},
            {"turns": {"right": "down"}, "gestures": {"right": "fingers_10000"}},
            {"turns": {"right": "down"}, "kind": "empty", "gestures": {}, "views": {}, "sleeve": "red"},
            {
                "turns": {"right": "down"},
                "kind": "two_hands",
                "gestures": {"left": "ok", "right": "ok"},
                "views": {"left": "palm", "right": "palm"},
            },
        ],
    )
    def test_turns_that_cannot_be(self, changes):
        with pytest.raises(ValueError, match="`turns`"):
            scene(**changes)

    def test_a_person_wears_a_shirt(self):
        with pytest.raises(ValueError, match="`sleeve` must be one of .* got 'bare'"):
            scene(kind="person", sleeve="bare")


class TestSplit:
    @pytest.mark.parametrize(
        ("combination", "answer"),
        [
            (("open_hand", "left", "white", "tan"), True),
            (("three_fingers", "right", "teal", "deep"), True),
            (("call_me", "left", "gray", "deep"), True),
            (("purse", "right", "gray", "brown"), True),
            (("fingers_01100", "left", "orange", "fair"), True),
            (("open_hand", "right", "white", "tan"), False),
            (("fist", "left", "white", "pale"), False),
            (("ok", "left", "green", "tan"), False),
            (("fingers_01100", "left", "gray", "deep"), False),
        ],
    )
    def test_answers_that_never_change(self, combination, answer):
        assert is_held_out(*combination) == answer

    def test_one_combination_in_ten_is_held_out(self):
        answers = [
            is_held_out(gesture, side, background, skin)
            for gesture in GESTURES
            for side in SIDES
            for background in COLORS
            for skin in SKIN_TONES
        ]
        assert sum(answers) / len(answers) == pytest.approx(0.1, abs=0.01)

    @pytest.mark.parametrize("words", [GESTURES, SIDES, COLORS, SKIN_TONES], ids=["gesture", "side", "color", "skin"])
    def test_every_word_is_in_both_splits(self, words):
        tables = [GESTURES, SIDES, COLORS, SKIN_TONES]
        place = next(i for i, table in enumerate(tables) if table is words)
        found = {True: set(), False: set()}
        for gesture in GESTURES:
            for side in SIDES:
                for background in COLORS:
                    for skin in SKIN_TONES:
                        combination = (gesture, side, background, skin)
                        found[is_held_out(*combination)].add(combination[place])
        assert found[True] == found[False] == set(words)

    def test_train_shows_no_held_out_combination_and_test_no_other(self, many):
        for split, scenes in many.items():
            for s in scenes:
                held_out = [is_held_out(g, side, s.background, s.skin) for side, g in s.gestures.items()]
                assert held_out == [split == "test"] * len(held_out)
                assert scene_split(s) == split

    def test_scenes_that_mix_the_two_are_in_neither(self):
        words = {"background": "white", "skin": "pale"}
        answers = {g: is_held_out(g, "left", **words) for g in GESTURES}
        kept, shown = (next(g for g, answer in answers.items() if answer == wanted) for wanted in (True, False))
        right = next(g for g in GESTURES if not is_held_out(g, "right", **words))
        views = {"left": "palm", "right": "palm"}
        mixed = scene(kind="two_hands", gestures={"left": kept, "right": right}, views=views, **words)
        plain = scene(kind="two_hands", gestures={"left": shown, "right": right}, views=views, **words)
        assert (scene_split(mixed), scene_split(plain)) == (None, "train")

    def test_single_hands_of_the_two_splits_share_no_combination(self, many):
        train, test = (
            {
                (g, side, s.background, s.skin)
                for s in many[split]
                if len(s.gestures) == 1
                for side, g in s.gestures.items()
            }
            for split in SPLITS
        )
        assert not train & test

    def test_wording_and_light_do_not_matter(self):
        assert scene_split(scene(texture="dotted", light="left", seed=3, views={"right": "back"})) == scene_split(
            scene()
        )


class TestSampling:
    def test_answers_that_never_change(self):
        assert sample_scene(0, "train", 0) == Scene(
            kind="person",
            gestures={"left": "thumb_and_two"},
            views={"left": "palm"},
            skin="tan",
            sleeve="black",
            background="gray",
            texture="plain",
            light="right",
            seed=2028406015,
        )
        assert sample_scene(7, "test", 123) == Scene(
            kind="close_up",
            gestures={"right": "c_shape"},
            views={"right": "palm"},
            skin="olive",
            sleeve="red",
            background="white",
            texture="striped",
            light="above",
            seed=1255392668,
        )

    @pytest.mark.parametrize("split", SPLITS)
    def test_same_numbers_same_scene(self, split):
        scenes = [sample_scene(4, split, i) for i in range(30)]
        assert scenes == [sample_scene(4, split, i) for i in range(30)]
        assert len({s.seed for s in scenes}) == 30
        assert scenes[0] != sample_scene(5, split, 0)

    def test_every_word_comes_up(self, many):
        scenes = many["train"]
        assert {s.kind for s in scenes} == set(KINDS)
        assert {g for s in scenes for g in s.gestures.values()} >= set(GESTURES)
        assert {side for s in scenes for side in s.gestures} == set(SIDES)
        assert {v for s in scenes for v in s.views.values()} == set(VIEWS)
        assert {s.skin for s in scenes} == set(SKIN_TONES) and len(SKIN_TONES) >= 8
        assert {s.sleeve for s in scenes} == {*COLORS, "bare"}
        assert {s.background for s in scenes} == set(COLORS)
        assert {s.texture for s in scenes} == set(TEXTURES)
        assert {s.light for s in scenes} == set(LIGHTS)

    def test_sides_and_skins_come_up_equally_often(self, many):
        sides = Counter(side for s in many["train"] for side in s.gestures)
        assert sides["left"] / sides.total() == pytest.approx(0.5, abs=0.04)
        skins = Counter(s.skin for s in many["train"])
        assert min(skins.values()) > 0.08 * skins.total()

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_one_kind_alone(self, kind):
        scenes = [sample_scene(0, "train", i, kind) for i in range(40)]
        assert {s.kind for s in scenes} == {kind}
        assert {len(s.gestures) for s in scenes} == {"close_up": {1}, "two_hands": {2}, "person": {1, 2}}[kind]

    def test_views_are_among_those_of_the_gesture(self, many):
        for s in many["train"]:
            for side, name in s.gestures.items():
                if name in GESTURES and not (GESTURES[name].thumb_up and s.kind != "close_up"):
                    assert GESTURES[name].views[s.views[side]] > 0

    def test_refuses_unknown_words(self):
        with pytest.raises(ValueError, match=r"`split` must be one of \('train', 'test'\), got 'val'"):
            sample_scene(0, "val", 0)
        with pytest.raises(ValueError, match="`kind` must be one of .* got 'portrait'"):
            sample_scene(0, "train", 0, "portrait")

    def test_leaves_the_global_random_state_alone(self):
        import random

        before = random.getstate()
        sample_scene(0, "train", 0)
        assert random.getstate() == before


def row_of(**changes) -> list[Scene]:
    return [scene(seed=seed, **changes) for seed in range(12)]


class TestPoses:
    def test_same_scene_same_parameters_whatever_stands_beside_it(self, body):
        scenes = [sample_scene(2, "train", i) for i in range(12)]
        together = pose_scenes(scenes, body)
        assert together.batch_shape == (12,)
        for i, s in enumerate(scenes):
            alone = pose_scenes([s], body)
            for name in HandParams.FIELDS:
                value, other = getattr(alone, name)[0], getattr(together, name)[i]
                assert torch.allclose(value.float(), other.float(), atol=1e-4), name

    def test_the_same_call_gives_the_same_bits(self, body):
        scenes = [sample_scene(2, "train", i) for i in range(5)]
        first, second = pose_scenes(scenes, body), pose_scenes(scenes, body)
        assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in HandParams.FIELDS)

    def test_no_scenes(self, body):
        with pytest.raises(ValueError, match="`scenes` must hold at least one scene"):
            pose_scenes([], body)

    def test_words_of_colour_do_not_move_anything(self, body):
        first = pose_scenes([scene()], body)
        other = scene(skin="deep", sleeve="red", background="white", texture="striped", light="above")
        second = pose_scenes([other], body)
        assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in HandParams.FIELDS)

    def test_people_face_the_camera(self, body):
        params = pose_scenes(row_of(), body)
        forward = rotvec_to_rotmat(params.global_orient) @ torch.tensor([0.0, 0.0, 1.0])
        up = rotvec_to_rotmat(params.global_orient) @ torch.tensor([0.0, 1.0, 0.0])
        assert (forward[:, 2] < -0.9).all() and (up[:, 1] < -0.9).all()

    @pytest.mark.parametrize("side", SIDES)
    def test_the_right_hand_is_the_mirror_image_of_the_left(self, body, side):
        """Only the named side makes the gesture; the other hand hangs relaxed."""
        left = pose_scenes(row_of(gestures={"left": "peace"}, views={"left": "palm"}), body)
        right = pose_scenes(row_of(gestures={"right": "peace"}, views={"right": "palm"}), body)
        raised, hanging = (LEFT_HAND, RIGHT_HAND) if side == "left" else (RIGHT_HAND, LEFT_HAND)
        pose = (left if side == "left" else right).full_pose
        mirrored = (right if side == "left" else left).mirror().full_pose
        spread = (pose[:, raised] - mirrored[:, raised]).abs().mean()
        assert spread < 0.15, "jitter alone"
        assert (pose[:, raised] - pose[:, hanging]).abs().mean() > 2 * spread

    def test_visible_hands_are_the_raised_ones(self, body):
        for kind in KINDS:
            scenes = [sample_scene(1, "train", i, kind) for i in range(60)]
            params = pose_scenes(scenes, body)
            raised = torch.tensor([[side in s.gestures for side in SIDES] for s in scenes])
            inside = (body(params).joints_2d.abs() <= 1).all(-1).sum(-1) >= 13
            assert torch.equal(params.hand_visible, raised & inside)
            assert (params.hand_visible == raised).float().mean() > 0.97, kind

    def test_close_ups_hold_the_whole_hand_and_fill_the_image(self, body):
        scenes = [sample_scene(1, "train", i, "close_up") for i in range(100)]
        params = pose_scenes(scenes, body)
        joints = body(params).joints_2d[params.hand_visible]
        assert len(joints) == 100
        assert joints.abs().max() < 1.1
        assert ((joints.abs() <= 1).all(-1).all(-1)).float().mean() > 0.95
        extent = (joints.amax(1) - joints.amin(1)).amax(-1)
        assert extent.median() > 0.8 and extent.max() <= 1.9

    def test_hands_of_a_person_are_smaller(self, body):
        params = pose_scenes([sample_scene(1, "train", i, "person") for i in range(40)], body)
        joints = body(params).joints_2d[params.hand_visible]
        assert (joints.amax(1) - joints.amin(1)).amax(-1).max() < 0.6

    @pytest.mark.parametrize("kind", KINDS)
    def test_fingers_point_up_in_most_gestures(self, body, kind):
        hands = {"right": "open_hand"} if kind != "two_hands" else {"left": "open_hand", "right": "open_hand"}
        scenes = row_of(kind=kind, gestures=hands, views=dict.fromkeys(hands, "palm"), sleeve="red")
        params = pose_scenes(scenes, body)
        joints = body(params).joints_2d[params.hand_visible]
        upward = joints[:, 0] - joints[:, OPENPOSE_HAND_NAMES.index("middle4")]
        assert (upward[:, 1] > 2 * upward[:, 0].abs()).all()

    @pytest.mark.parametrize(("gesture", "sign"), [("thumbs_up", -1), ("thumbs_down", 1)])
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("view", ["palm", "back"])
    def test_the_thumb_of_a_thumbs_up_is_up(self, body, kind, gesture, sign, side, view):
        sides = SIDES if kind == "two_hands" else (side,)
        scenes = row_of(
            kind=kind, gestures=dict.fromkeys(sides, gesture), views=dict.fromkeys(sides, view), sleeve="red"
        )
        params = pose_scenes(scenes, body)
        joints = body(params).joints_2d[:, SIDES.index(side)]
        thumb = joints[:, OPENPOSE_HAND_NAMES.index("thumb4")] - joints[:, OPENPOSE_HAND_NAMES.index("thumb1")]
        assert (thumb[:, 1] * sign > thumb[:, 0].abs()).all()

    @pytest.mark.parametrize("side", SIDES)
    def test_the_camera_sees_what_the_view_says(self, body, side):
        """The palm's normal, from wrist and knuckles, against the line of sight."""
        facing = {}
        for view in VIEWS:
            params = pose_scenes(row_of(gestures={side: "open_hand"}, views={side: view}), body)
            hand = body(params).joints_3d[:, SIDES.index(side)]
            index, pinky = (hand[:, OPENPOSE_HAND_NAMES.index(f"{f}1")] - hand[:, 0] for f in ("index", "pinky"))
            normal = torch.nn.functional.normalize(torch.linalg.cross(index, pinky, dim=-1), dim=-1)
            facing[view] = -normal[:, 2] * (-1 if side == "left" else 1)
        assert (facing["palm"] > 0.6).all(), facing["palm"]
        assert (facing["back"] < -0.6).all(), facing["back"]
        assert (facing["side"].abs() < 0.9).all() and facing["side"].abs().median() < 0.6, facing["side"]

    def test_bodies_differ(self, body):
        params = pose_scenes(row_of(), body)
        assert params.betas.std(0).min() > 0.2
        assert params.left_hand_pose.std(0).max() > 0.02

    def test_angles_stay_possible(self, body):
        params = pose_scenes([sample_scene(6, "train", i) for i in range(60)], body)
        assert params.full_pose.norm(dim=-1).max() <= math.pi + 1e-4
        assert params.full_pose[:, 22:].norm(dim=-1).max() < 2.6


class TestTurned:
    """Hands that point down or sideways."""

    @pytest.mark.parametrize("turn", TURNS)
    def test_are_drawn_when_asked_for(self, turn):
        for split in SPLITS:
            scenes = [sample_scene(1, split, i, turn=turn) for i in range(400)]
            assert {s.kind for s in scenes} == {"close_up", "person"}
            assert all(list(s.turns) == list(s.gestures) and set(s.turns.values()) == {turn} for s in scenes)
            assert {scene_split(s) for s in scenes} == {split}
            assert {side for s in scenes for side in s.turns} == set(SIDES)
        assert {s.kind for s in (sample_scene(1, "train", i, "person", turn=turn) for i in range(20))} == {"person"}

    def test_are_never_drawn_otherwise(self, many):
        assert not any(s.turns for scenes in many.values() for s in scenes)

    def test_refusals(self):
        with pytest.raises(ValueError, match="`turn` must be one of .* got 'up'"):
            sample_scene(0, "train", 0, turn="up")
        with pytest.raises(ValueError, match="`turn` needs a `kind` of .* got 'two_hands'"):
            sample_scene(0, "train", 0, "two_hands", turn="down")

    @pytest.mark.parametrize("turn", TURNS)
    @pytest.mark.parametrize("kind", ["close_up", "person"])
    def test_are_framed_with_possible_arms(self, body, kind, turn):
        scenes = [sample_scene(1, "train", i, kind, turn=turn) for i in range(300)]
        params = pose_scenes(scenes, body)
        raised = torch.tensor([[side in s.turns for side in SIDES] for s in scenes])
        assert (params.hand_visible == raised).all(-1).float().mean() > 0.98
        wrists, elbows = (
            params.full_pose[:, [JOINT_NAMES.index(f"{side}_{name}") for side in SIDES]][raised].norm(dim=-1)
            for name in ("wrist", "elbow")
        )
        assert wrists.max() < math.radians(95) and elbows.max() < math.radians(155)
        joints = body(params).joints_2d[raised]
        assert (joints.abs() <= 1).all(-1).sum(-1).float().mean() > 20

    def test_sideways_is_to_both_sides(self, body):
        params = pose_scenes([scene(seed=seed, turns={"right": "sideways"}) for seed in range(40)], body)
        joints = body(params).joints_2d[:, 1]
        pointing = joints[:, OPENPOSE_HAND_NAMES.index("middle4"), 0] - joints[:, 0, 0]
        assert 8 < (pointing > 0).sum() < 32

    def test_the_right_hand_is_the_mirror_image_of_the_left(self, body):
        """Their bodies lean the same way."""
        for turn in TURNS:
            hands = [
                pose_scenes([scene(gestures={s: "fist"}, views={s: "back"}, turns={s: turn})], body) for s in SIDES
            ]
            spread = (hands[0].full_pose - hands[1].mirror().full_pose)[:, LEFT_HAND].abs().max()
            assert spread < 0.35, "jitter alone"


class TestWithoutHands:
    @pytest.mark.parametrize("kind", HANDLESS_KINDS)
    def test_are_drawn_when_asked_for(self, kind):
        scenes = [sample_scene(1, "train", i, kind) for i in range(300)]
        assert {s.kind for s in scenes} == {kind}
        assert all(s.gestures == s.views == {} for s in scenes)
        assert {s.background for s in scenes} == {s.sleeve for s in scenes} == set(COLORS)
        assert {s.skin for s in scenes} == set(SKIN_TONES)
        assert all(Scene(**json.loads(json.dumps(s.to_dict()))) == s for s in scenes[:5])

    def test_are_never_drawn_otherwise(self, many):
        assert not {s.kind for scenes in many.values() for s in scenes} & set(HANDLESS_KINDS)

    @pytest.mark.parametrize("kind", HANDLESS_KINDS)
    def test_splits_share_no_background_and_skin(self, kind):
        train, test = (
            {(s.background, s.skin) for s in (sample_scene(0, split, i, kind) for i in range(300))} for split in SPLITS
        )
        assert train and test and not train & test

    @pytest.mark.parametrize("kind", HANDLESS_KINDS)
    def test_refuse_gestures(self, kind):
        with pytest.raises(ValueError, match=f"`gestures` of a '{kind}' scene must be empty"):
            scene(kind=kind, sleeve="red")
        with pytest.raises(ValueError, match="`views`"):
            scene(kind=kind, sleeve="red", gestures={})
        with pytest.raises(ValueError, match="`sleeve` must be one of .* got 'bare'"):
            scene(kind=kind, gestures={}, views={})

    @pytest.mark.parametrize("kind", HANDLESS_KINDS)
    def test_no_joint_of_a_hand_is_near_the_image(self, body, kind):
        params = pose_scenes([sample_scene(2, "train", i, kind) for i in range(200)], body)
        assert not params.hand_visible.any()
        assert body(params).joints_2d[..., 1].min() > 1.3
        head = (params.camera[:, 2] - 0.75) * params.camera[:, 0]
        assert (head.abs() < 1).all(), "a head 75 cm above the pelvis is inside"

    def test_among_others_change_nothing(self, body):
        scenes = [sample_scene(2, "train", i) for i in range(3)]
        alone = pose_scenes(scenes, body)
        mixed = pose_scenes([*scenes, sample_scene(2, "train", 3, "empty")], body)[:3]
        assert torch.equal(alone.hand_visible, mixed.hand_visible)
        assert torch.allclose(alone.body_pose, mixed.body_pose, atol=1e-5)


def test_arms_that_show_the_back_of_a_hand_twist_the_same_way():
    """Two opposite twists would have the pose that shows the palm as their mean."""
    body_model = HandBodyModel.procedural()
    scenes = [sample_scene(3, "train", i, "close_up") for i in range(300)]
    scenes = [s for s in scenes if s.views.get("left") == "back" and not gesture_by_name(s.gestures["left"]).thumb_up]
    shoulder = JOINT_NAMES.index("left_shoulder")
    rotations = rotvec_to_rotmat(pose_scenes(scenes, body_model).full_pose[:, shoulder])
    angles = rotmat_geodesic_distance(rotations[:, None], rotations[None]).rad2deg()
    assert len(scenes) > 20 and angles.max() < 60
