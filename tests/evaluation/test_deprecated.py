"""Old names, kept for one release."""

import pytest
import torch

import diffusers_handiffuser.evaluation as evaluation
from diffusers_handiffuser import HandParams
from diffusers_handiffuser.evaluation import (
    FeatureNetwork,
    StudioFeatureNetwork,
    hand_crops,
    judge_images,
    score_detections,
    score_images,
)
from diffusers_handiffuser.studio import sample_scene


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_judge_pictures(images):
    network = StudioFeatureNetwork.bundled()
    with pytest.warns(FutureWarning, match="`judge_pictures` is deprecated: use `judge_images`"):
        assert same(evaluation.judge_pictures(network, images), judge_images(network, images))


def test_score_pictures(images):
    hands, scenes = HandParams.zeros(2), [sample_scene(0, "train", number) for number in range(2)]
    wanted = score_images(images / 255, hands, scenes)
    with pytest.warns(FutureWarning, match="`score_pictures` is deprecated: use `score_images`"):
        found = evaluation.score_pictures(pictures=images / 255, hand_params=hands, scenes=scenes)
    assert all(torch.allclose(found[name], wanted[name], equal_nan=True) for name in wanted)


def test_old_arguments(images):
    joints = 32 * torch.rand(2, 2, 21, 2, generator=torch.Generator().manual_seed(1))
    visible = torch.ones(2, 2, dtype=torch.bool)
    network = FeatureNetwork("means", lambda part: part.float().mean((-2, -1)))
    for call, old, new, value in (
        (lambda **arg: hand_crops(**arg, joints=joints, visible=visible, size=8)[0], "pictures", "images", images),
        (network, "pictures", "images", images),
        (StudioFeatureNetwork.bundled(), "pictures", "images", images.permute(0, 3, 1, 2)),
    ):
        with pytest.warns(FutureWarning, match=f"`{old}` is deprecated: use `{new}`"):
            assert torch.equal(call(**{old: value}), call(**{new: value})), call
    with pytest.warns(FutureWarning, match="`side_told`"):
        scores = score_detections([], joints[0], visible[0], torch.zeros(2), side_told=False)
    assert scores == score_detections([], joints[0], visible[0], torch.zeros(2), side_named=False)


def test_every_name_is_listed_and_there():
    assert set(evaluation.__all__) <= set(dir(evaluation))
    for name in evaluation.__all__:
        own_name = {"Detection": "DetectedHand"}.get(name, name)
        assert getattr(evaluation, name).__name__.removeprefix("_") == own_name, name
