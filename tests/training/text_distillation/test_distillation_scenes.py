from dataclasses import replace

import torch

from diffusers_handiffuser.studio import make_dataset, sample_scene
from diffusers_handiffuser.studio.gestures import GESTURES
from diffusers_handiffuser.training.text_distillation.scenes import (
    SceneCaptions,
    SceneHeads,
    scene_loss,
    scene_targets,
)
from diffusers_handiffuser.training.text_distillation.vocabulary import build_tokenizer

NAMES = sorted(GESTURES)
NUMBERS = {name: number for number, name in enumerate(NAMES)}
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghij"),
]


def scene(kind, **changes):
    return replace(sample_scene(0, "train", 0, kind=kind), **changes)


def test_targets_are_what_the_scenes_show():
    scenes = [
        scene("close_up", gestures={"right": "horns"}, views={"right": "back"}, turns={"right": "down"}),
        scene("close_up", gestures={"left": "thumbs_down"}, views={"left": "side"}, turns={}),
        scene(
            "two_hands", gestures={"left": "ok", "right": "fist"}, views={"left": "palm", "right": "back"}, turns={}
        ),
        scene("empty"),
    ]
    targets = scene_targets(scenes, NUMBERS)
    assert targets["hands"].tolist() == [2, 1, 3, 0]
    assert targets["gesture"].tolist() == [
        [-100, NUMBERS["horns"]],
        [NUMBERS["thumbs_down"], -100],
        [NUMBERS["ok"], NUMBERS["fist"]],
        [-100, -100],
    ]
    assert targets["view"].tolist() == [[-100, 1], [2, -100], [0, 1], [-100, -100]]
    assert targets["turn"].tolist() == [[-100, 1], [1, -100], [0, 0], [-100, -100]]
    assert targets["kind"].tolist()[-1] != targets["kind"].tolist()[0]


def test_the_loss_is_least_for_the_right_answers_and_leaves_out_what_is_not_there():
    scenes = [sample_scene(0, "train", index) for index in range(8)]
    heads = SceneHeads(16, NAMES)
    targets = scene_targets(scenes, {name: NUMBERS.get(name, 0) for s in scenes for name in s.gestures.values()})
    right = {}
    for name, size in heads.sizes.items():
        classes = size // 2 if targets[name].ndim == 2 else size
        right[name] = 20.0 * torch.nn.functional.one_hot(targets[name].clamp(min=0), classes).float()
    assert scene_loss([right, right], targets)["scene"] < 1e-4
    wrong = {name: -value for name, value in right.items()}
    assert scene_loss([wrong, right], targets)["scene"] > 1
    changed = {name: value.clone() for name, value in right.items()}
    changed["gesture"][targets["gesture"] < 0] = 50 * torch.randn(len(NUMBERS))
    assert scene_loss([changed, changed], targets)["scene"] < 1e-4
    nothing = scene_targets([scene("empty")], NUMBERS)
    logits = heads.by_name(heads(torch.randn(1, 3, 16), torch.ones(1, 3)).unbind(1)[0])
    assert scene_loss([logits, logits], nothing)["scene"].isfinite()


def test_captions_are_new_for_every_seed_and_the_same_for_one(tmp_path):
    make_dataset(tmp_path / "data", 12, images=False, progress=False)
    captions = SceneCaptions(tmp_path / "data", "both", build_tokenizer(PIECES), torch.device("cpu"))
    assert set(captions.gestures) >= set(GESTURES)
    one, again, other = captions.batch(1, 6), captions.batch(1, 6), captions.batch(2, 6)
    assert torch.equal(one["input_ids"], again["input_ids"])
    assert one["input_ids"].shape != other["input_ids"].shape or not torch.equal(one["input_ids"], other["input_ids"])
    assert {len(value) for value in one["targets"].values()} == {6}
