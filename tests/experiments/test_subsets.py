"""Rules for hard rows, and the rows with overlapping hands that are made for one of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.studio import Scene, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes


@pytest.fixture(scope="module")
def body():
    return HandBodyModel.procedural()


def row(gestures, views=None):
    views = views or dict.fromkeys(gestures, "palm")
    kind = "two_hands" if len(gestures) == 2 else "close_up"
    scene = Scene(kind, gestures, views, "tan", "bare", "white", "plain", "front", 6)
    return {"scene": scene.to_dict()}


def subsets_of(rows, body):
    from subsets import hard_subsets

    hands = pose_scenes([Scene(**r["scene"]) for r in rows], body)
    return {name: member.tolist() for name, member in hard_subsets(rows, hands, body).items()}


def test_fingers_and_views(body):
    rows = [
        row({"left": "peace"}),
        row({"left": "fingers_01100"}),  # a peace sign without its name
        row({"right": "fingers_00110"}),
        row({"right": "open_hand"}, {"right": "side"}),
        row({"left": "open_hand", "right": "fingers_10010"}),
        row({"left": "open_hand"}, {"left": "back"}),
    ]
    found = subsets_of(rows, body)
    assert found["unusual_fingers"] == [False, False, True, False, True, False]
    assert found["extreme_view"] == [False, False, False, True, False, False]
    assert not any(found["overlapping_hands"])
    assert found["plain"] == [True, True, False, False, False, True]


def test_a_hand_that_is_not_visible_is_not_seen_from_its_edge(body):
    from subsets import hard_subsets

    rows = [row({"right": "open_hand"}, {"right": "side"})]
    hands = pose_scenes([Scene(**rows[0]["scene"])], body)
    hidden = hands.replace(hand_visible=torch.zeros(1, 2, dtype=torch.bool))
    assert hard_subsets(rows, hands, body)["extreme_view"].item()
    assert not hard_subsets(rows, hidden, body)["extreme_view"].item()


def test_shared_box():
    from subsets import shared_box

    boxes = torch.tensor([[[0.0, 0, 1, 1], [0.5, 0.5, 2.5, 2.5]], [[0, 0, 1, 1], [1.5, 0, 2, 1]]])
    joints = torch.stack([boxes[..., :2], boxes[..., 2:]], 2)
    assert shared_box(joints).tolist() == [0.25, 0.0]


def test_groups_of_people():
    from subsets import people

    rows = [row({"left": "fist"}), row({"right": "fist"}), row({"left": "fist", "right": "fist"})]
    assert people(rows) == {"skin": ["tan"] * 3, "handedness": ["left", "right", "both"]}


def test_hands_are_brought_together_without_being_turned(body):
    from overlapping_hands import bring_together
    from subsets import SHARED_BOX, shared_box

    scenes = [sample_scene(1, "test", i, "two_hands") for i in range(4)]
    hands = pose_scenes(scenes, body)
    moved, done = bring_together(hands, ["left", "right", "left", "right"], body)
    assert done.all()
    before, after = body(hands), body(moved)
    assert (shared_box(before.joints_2d) < SHARED_BOX).all() and (shared_box(after.joints_2d) >= SHARED_BOX).all()
    torch.testing.assert_close(after.rotations, before.rotations, rtol=0, atol=1e-4)
    assert (after.joints_2d.abs() < 1).all()
    near = after.joints_3d[..., 2].mean(-1)  # z points away from the viewer
    assert ((near[:, 0] < near[:, 1] - 0.03) == torch.tensor([True, False, True, False])).all()
    assert ((near[:, 1] < near[:, 0] - 0.03) == torch.tensor([False, True, False, True])).all()


def test_overlapping_data_set(tmp_path, body):
    import arms
    from subsets import hard_subsets

    arms.main(["overlapping_hands", str(tmp_path), "--num", "3", "--size", "24"])
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    dataset = HandDataset(tmp_path, need_images=True)
    assert len(rows) == len(dataset) == 3 and dataset.load_image(2, 24).shape == (24, 24, 3)
    assert hard_subsets(rows, dataset.hand_params, body)["overlapping_hands"].all()
    masks = np.stack([np.asarray(m) for m in dataset.hand_params.to_condition("mask", 24)]) > 127
    for number, mask in enumerate(masks):
        image = np.asarray(Image.open(tmp_path / f"images/{number:06d}.png")).astype(float)
        background = np.median(image[:3].reshape(-1, 3), 0)
        assert np.abs(image - background).sum(-1)[mask].mean() > np.abs(image - background).sum(-1)[:3].mean() + 10
    with pytest.raises(ValueError, match="must not hold a data set"):
        arms.main(["overlapping_hands", str(tmp_path), "--num", "1"])


def test_lean_is_a_rotation_of_the_forearm_alone(body):
    from overlapping_hands import _lean

    hands = pose_scenes([sample_scene(1, "test", 0, "two_hands")], body)
    same = _lean(hands, 0.0, torch.zeros(1, 2))
    torch.testing.assert_close(same.body_pose, hands.body_pose, rtol=0, atol=1e-4)
    turned = _lean(hands, 30.0, torch.zeros(1, 2))
    changed = (turned.full_pose - hands.full_pose).abs().amax(-1)[0] > 1e-3
    from diffusers_handiffuser.hands.skeleton import JOINT_NAMES

    assert {JOINT_NAMES[i] for i in changed.nonzero()[:, 0].tolist()} == {
        "left_elbow", "right_elbow", "left_wrist", "right_wrist"
    }  # fmt: skip
