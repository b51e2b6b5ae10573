"""The studio's own network as a judge of an arm's hands."""

import json

import pytest
import torch

from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.studio import Scene, make_dataset


@pytest.fixture(scope="module")
def judge_scenes():
    from scene_judge import judge_scenes

    return judge_scenes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Images, hands and scenes of 24 rows, and the body."""
    folder = tmp_path_factory.mktemp("judged")
    make_dataset(folder, 24, split="test", size=64)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    data = HandDataset(folder, need_images=True)
    images = torch.stack([torch.tensor(data.load_image(i, 64)) for i in range(24)]) / 255
    return images, data.hand_params, [Scene(**row["scene"]) for row in rows], HandBodyModel.procedural()


def test_the_studio_pictures_are_mostly_right(judge_scenes, drawn):
    scores = judge_scenes(*drawn)
    assert scores["judged_side"].mean() > 0.85
    assert scores["judged_fingers"].mean() > 0.8
    assert scores["judged_gesture"].mean() > 0.4


def test_pictures_of_other_hands_are_not(judge_scenes, drawn):
    images, *others = drawn
    scores = judge_scenes(images.roll(1, 0), *others)
    assert scores["judged_gesture"].mean() < 0.2
    assert scores["judged_side"].mean() < 0.8
    assert scores["judged_fingers"].mean() < 0.7


def test_a_hand_that_was_not_told_is_wrong(judge_scenes, drawn):
    images, hands, scenes, body = drawn
    unseen = hands.replace(hand_visible=torch.zeros_like(hands.hand_visible))
    for name, scores in judge_scenes(images, unseen, scenes, body).items():
        assert scores.tolist() == [0.0] * 24, name
