import dataclasses
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from diffusers_handiffuser import HandBodyModel, HandParams
from diffusers_handiffuser.evaluation import evaluate_own_pictures, evaluate_text_to_pictures, score_images
from diffusers_handiffuser.evaluation.metrics.colors import METRICS, named_in_caption
from diffusers_handiffuser.studio import Scene, make_dataset
from diffusers_handiffuser.studio.captions import describe
from diffusers_handiffuser.studio.scenes import SKIN_TONES, sample_scene
from diffusers_handiffuser.studio.skin import skin_tones

pytestmark = pytest.mark.filterwarnings("ignore:.*use `evaluate`:FutureWarning")

NUM = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), NUM, "test", size=96, progress=False).parent


@pytest.fixture(scope="module")
def rows(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def truth(folder, rows):
    """Images, hands, scenes."""
    images = torch.stack([torch.from_numpy(np.array(Image.open(folder / row["file_name"]))) for row in rows]) / 255
    hands = HandParams.cat([HandParams.from_dict(row).reshape(1) for row in rows])
    return images, hands, [Scene(**row["scene"]) for row in rows]


class Oracle:
    """A pipeline that draws the right image of every caption, and the samples of a caption alike."""

    def __init__(self, rows, truth):
        self.texts, (self.images, self.hands, _) = [row["text"] for row in rows], truth
        self.body_model = HandBodyModel.procedural()
        self.seeds = []

    def __call__(self, prompts, hand_params, num_images_per_prompt, generator, output_type):
        assert output_type == "pt" and len(generator) == len(prompts) * num_images_per_prompt
        self.seeds += [g.initial_seed() for g in generator]
        places = torch.tensor([self.texts.index(text) for text in prompts]).repeat_interleave(num_images_per_prompt)
        hands = self.hands[places] if hand_params is None else hand_params
        if hand_params is not None:
            hands = hands[torch.arange(len(prompts)).repeat_interleave(num_images_per_prompt)]
        return SimpleNamespace(images=self.images[places].permute(0, 3, 1, 2), hand_params=hands)


def test_the_data_sets_own_images_score_well(folder, rows, tmp_path):
    report = evaluate_own_pictures(folder, rows, HandBodyModel.procedural())
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for row in rows:
        image = Image.open(folder / row["file_name"]).transpose(Image.Transpose.ROTATE_90)
        image.save(tmp_path / row["file_name"], exif=exif)
    assert evaluate_own_pictures(tmp_path, rows, HandBodyModel.procedural()) == report
    assert set(report) == set(METRICS) and all(estimate.n == NUM for estimate in report.values())
    assert report["background"].value > 0.9 and report["skin_within_one"].value > 0.8
    assert report["hand_iou"].value > 0.55


def test_other_rows_images_score_badly(truth):
    images, hands, scenes = truth
    found = score_images(images.roll(1, 0), hands, scenes)
    own = score_images(images, hands, scenes)
    assert found["background"].mean() < 0.3 and found["skin"].mean() < 0.35
    assert found["hand_iou"].mean() < 0.7 * own["hand_iou"].mean()
    moved = score_images(images.roll(12, 2), hands, scenes)
    assert moved["hand_iou"].mean() < 0.8 * own["hand_iou"].mean()


def test_a_painted_outline_has_iou_one(truth):
    _, hands, scenes = truth
    masks = torch.stack([torch.from_numpy(np.array(mask)) for mask in hands.to_condition("mask", 96)]) > 127
    painted = torch.where(masks[..., None], torch.tensor([0.8, 0.6, 0.5]), torch.tensor([0.1, 0.1, 0.4]))
    assert score_images(painted, hands, scenes)["hand_iou"].min() == 1


def test_palms_are_read_as_they_are_painted(truth):
    """What has the palm's colour of a dark tone is right where a palm is seen, and of a lighter tone on a back."""
    _, hands, scenes = truth
    shown = torch.tensor([set(scene.views.values()) == {"palm"} for scene in scenes])
    backs = torch.tensor([set(scene.views.values()) == {"back"} for scene in scenes])
    assert shown.sum() > 5 and backs.sum() > 5
    masks = torch.stack([torch.from_numpy(np.array(mask)) for mask in hands.to_condition("mask", 96)]) > 127
    number = list(SKIN_TONES).index("dark brown")
    color = 1.1 * skin_tones(torch.tensor(0.75))[number]
    painted = torch.where(masks[..., None], color, torch.tensor([0.1, 0.1, 0.4]))
    found = score_images(painted, hands, [dataclasses.replace(scene, skin="dark brown") for scene in scenes])
    assert found["skin"][shown].min() == 1 and found["skin"][backs].max() == 0


def test_absent_hands_are_not_judged(truth):
    images, hands, scenes = truth
    none = hands.replace(hand_visible=torch.zeros_like(hands.hand_visible))
    found = score_images(images, none, scenes)
    assert all(found[name].isnan().all() for name in METRICS[1:]) and found["background"].mean() > 0.9


def test_a_right_pipeline_gets_the_ceiling(folder, rows, truth):
    ceiling = evaluate_own_pictures(folder, rows, HandBodyModel.procedural())
    oracle, done = Oracle(rows, truth), []
    report = evaluate_text_to_pictures(oracle, rows, samples=2, seed=5, batch_size=10, progress=done.append)
    assert done == [10, 20, 30, NUM] and oracle.seeds == [5 + k for k in range(2 * NUM)]
    given = evaluate_text_to_pictures(Oracle(rows, truth), rows, samples=1, given_hands=True)
    for name in METRICS:
        assert report[name].value == pytest.approx(ceiling[name].value)
        assert given[name].value == pytest.approx(ceiling[name].value)


def test_captions_that_name_a_color_are_known():
    """Background and skin are words of nothing else in the studio's captions."""
    told = []
    for number in range(400):
        scene = sample_scene(0, "train", number)
        text = describe(scene, random.Random(number))
        told.append(named_in_caption(text, scene))
        assert told[-1] == {"background": "background" in text, "skin": "skin" in text}, text
    assert 0.7 < np.mean([names["background"] for names in told]) < 0.9
    assert 0.6 < np.mean([names["skin"] for names in told]) < 0.8


def test_bad_input(folder, rows, truth):
    images, hands, scenes = truth
    with pytest.raises(ValueError, match="`images`"):
        score_images(images[:, :, :, 0], hands, scenes)
    with pytest.raises(ValueError, match="`images`"):
        score_images(images[:3], hands, scenes)
    with pytest.raises(ValueError, match="`samples`"), pytest.warns(FutureWarning, match="use `evaluate`"):
        evaluate_text_to_pictures(None, rows, samples=0)
    with pytest.raises(ValueError, match="`rows`"):
        evaluate_text_to_pictures(None, [{"text": "a hand"}])
    with pytest.raises(ValueError, match="`rows`"), pytest.warns(FutureWarning, match="use `evaluate`"):
        evaluate_own_pictures(folder, [], HandBodyModel.procedural())
