"""What detectors that know the truth say of an arm's images, and the distances of sets of images."""

import json

import pytest
import torch

from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels
from diffusers_handiffuser.evaluation import Detection, load_features
from diffusers_handiffuser.evaluation.metrics.hand_checks import named_sides
from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.studio import make_dataset

NUM, SIZE = 16, 64


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Images, hands and rows, and the body."""
    folder = tmp_path_factory.mktemp("detected")
    make_dataset(folder, NUM, split="test", size=SIZE)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    data = HandDataset(folder, need_images=True)
    images = torch.stack([torch.tensor(data.load_image(i, SIZE)) for i in range(NUM)]) / 255
    return images, data.hand_params, rows, HandBodyModel.procedural()


def knowing(drawn, change):
    """A detector that finds the rows' hands, one image after the other, changed by `change(side, landmarks)`."""
    _, hands, _, body = drawn
    joints = hand_joints_in_pixels(hands, body, SIZE, SIZE)
    images = iter(range(NUM))

    def detector(image):
        assert image.shape == (SIZE, SIZE, 3) and image.dtype.name == "uint8"
        number = next(images)
        found = [change(name, joints[number, side].numpy()) for side, name in enumerate(SIDES)]
        return [
            Detection(*one, confidence=1.0)
            for one, seen in zip(found, hands.hand_visible[number], strict=True)
            if seen and one is not None
        ]

    return detector


def detect(drawn, change):
    from scene_detector import detect_in_scenes

    images, hands, rows, body = drawn
    return detect_in_scenes(knowing(drawn, change), images, hands, rows, body)


def test_the_truth_is_right(drawn):
    scores = detect(drawn, lambda side, points: (side, points))
    assert scores["detected"].tolist() == scores["pck@0.2"].tolist() == [1.0] * NUM
    assert scores["finger_count"].mean() > 0.6  # read in the plane of the image
    named = torch.tensor([named_sides(row["text"]) is not None for row in drawn[2]])
    assert (
        scores["handedness"][named].tolist() == [1.0] * int(named.sum()) and scores["handedness"][~named].isnan().all()
    )


def test_what_is_missed_or_wrong_counts(drawn):
    missed = detect(drawn, lambda side, points: None)
    assert all(set(scores[~scores.isnan()].tolist()) == {0.0} for scores in missed.values())
    other = {"left": "right", "right": "left"}
    mirrored = detect(drawn, lambda side, points: (other[side], points))
    assert mirrored["detected"].mean() == 1 and mirrored["handedness"].nanmean() == 0
    shrunk = detect(drawn, lambda side, points: (side, points.mean(0) + 0 * points))
    assert shrunk["detected"].mean() == 1 and shrunk["pck@0.2"].mean() < 0.5


def test_distances_of_sets(drawn):
    from set_distances import ImageSet

    images, hands, _, body = drawn
    network = load_features("studio")

    def image_set(images):
        found = ImageSet(network, body)
        for start in range(0, NUM, 5):
            found.add(images[start : start + 5], hands[start : start + 5], torch.arange(NUM)[start : start + 5])
        return found

    own = image_set(images)
    assert torch.equal(own.features("crops")[1], hands.hand_visible.nonzero()[:, 0])
    same = own.distances(image_set(images))
    noisy = own.distances(image_set((images + 0.3 * torch.randn(images.shape)).clamp(0, 1)))
    assert set(same) == {"fid", "kid", "fid_hands", "kid_hands"}
    assert same["fid"]["value"] == pytest.approx(0, abs=1e-3) and same["fid"]["n"] == NUM
    for name in same:
        assert noisy[name]["value"] > same[name]["value"] + 0.1, name
