import json
from collections import Counter

import numpy as np
import pytest
import torch
from data_samples import make_hands, make_picture, make_row, phone_photo
from PIL import Image

from diffusers_handiffuser.data import HandDataset, find_shards, write_dataset, write_row
from diffusers_handiffuser.data.curation import (
    Crop,
    Curation,
    DetectorAgrees,
    HandsInside,
    MaxPeople,
    MinHandSize,
    curate,
)
from diffusers_handiffuser.data.geometry import hand_joints_in_pixels, hand_sizes_in_pixels
from diffusers_handiffuser.detection.detector import Detection
from diffusers_handiffuser.hands import HandParams

SIZE = (120, 80)


def scene(number: int, scale: float = 0.6, shift: tuple[float, float] = (0.0, 0.3), **columns):
    hands = make_hands(number).replace(
        camera=torch.tensor([scale, *shift]), hand_visible=torch.tensor([number % 2 == 0, True])
    )
    return write_row(hands, f"number {number}", **columns), make_picture(number, SIZE)


def rows_of(folder):
    return (row for shard in find_shards(folder) for row in shard.rows())


@pytest.fixture
def folder(tmp_path):
    """Rows that are right, but: 1 is small, 2 is crowded, 3 has a hand outside."""
    scenes = [scene(0, people=1), scene(1, 0.3, people=1), scene(2, people=3), scene(3, shift=(-1.9, 0.3), people=1)]
    write_dataset(tmp_path / "in", [*scenes, scene(4, people=2)])
    return tmp_path / "in"


def kept(curation, folder) -> list[str]:
    return [candidate.row.text for candidate in curation.filter(rows_of(folder))]


class TestOddColumns:
    @pytest.mark.parametrize("crop", ["abcd", [1, 2, 3], {"a": 1}, [None] * 4, ["1"] * 4, [1, 2, float("inf"), 4], 5])
    @pytest.mark.parametrize("how", [None, Crop("hands")])
    def test_crops_that_are_none(self, tmp_path, crop, how):
        write_dataset(tmp_path, [scene(0), scene(1)])
        lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
        lines[0] = json.dumps(json.loads(lines[0]) | {"crop": crop})
        (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
        curation = Curation([], how)
        assert kept(curation, tmp_path) == ["number 1"]
        assert curation.dropped == Counter({"row that cannot be read": 1})

    def test_numbers_that_json_has_not(self, tmp_path):
        write_dataset(tmp_path / "in", [scene(0)])
        line = json.loads((tmp_path / "in" / "metadata.jsonl").read_text())
        (tmp_path / "in" / "metadata.jsonl").write_text(json.dumps(line | {"score": float("nan")}))
        with pytest.raises(ValueError, match="metadata.jsonl, row 0: cannot be written"):
            curate(rows_of(tmp_path / "in"), tmp_path / "out", Curation([]))


class TestRules:
    def test_each_drops_for_its_reason(self, folder):
        rules = [MaxPeople(2), HandsInside(), MinHandSize(3.5)]
        curation = Curation(rules)
        assert kept(curation, folder) == ["number 0", "number 4"] and curation.kept == 2
        assert curation.dropped == Counter(
            {"more than 2 people": 1, "hand outside the image": 1, "hand smaller than 3.5 pixels": 1}
        )
        # A row counts for the first rule that drops it.
        assert kept(Curation([]), folder) == [f"number {i}" for i in range(5)]

    def test_size_is_that_of_the_smallest_visible_hand(self, folder, body):
        row = json.loads((folder / "metadata.jsonl").read_text().splitlines()[0])
        sizes = hand_sizes_in_pixels(hand_joints_in_pixels(HandParams.from_dict(row), body, *SIZE))
        smallest = float(sizes.min())
        assert "number 0" in kept(Curation([MinHandSize(smallest - 0.01)]), folder)
        assert "number 0" not in kept(Curation([MinHandSize(smallest + 0.01)]), folder)

    @pytest.mark.parametrize("size", [2, 200])
    def test_blowing_up_does_not_make_hands_larger(self, folder, body, size):
        row = json.loads((folder / "metadata.jsonl").read_text().splitlines()[1])
        hands = HandParams.from_dict(row)
        before = float(hand_sizes_in_pixels(hand_joints_in_pixels(hands, body, *SIZE))[1])
        (candidate,) = Curation([], Crop("hands", size=size)).filter(list(rows_of(folder))[1:2])
        limit = before if size == 200 else before * candidate.zoom
        assert (candidate.zoom > 1) == (size == 200)
        assert not MinHandSize(limit * 0.99).drops(candidate) and MinHandSize(limit * 1.01).drops(candidate)

    def test_people_are_counted_by_a_column_or_a_function(self, folder):
        counted = []

        def count(candidate):
            counted.append(candidate.image.size)
            return 5 if candidate.row.text == "number 1" else 1

        assert kept(Curation([MaxPeople(2, count)]), folder) == [f"number {i}" for i in (0, 2, 3, 4)]
        assert counted == [SIZE] * 5
        with pytest.raises(ValueError, match="row 0: `faces` must hold the number of people, but is None"):
            kept(Curation([MaxPeople(2, "faces")]), folder)

    def test_a_hand_partly_outside(self, folder):
        assert "number 3" in kept(Curation([HandsInside(0.0)]), folder)

    def test_what_cannot_be_read_is_counted(self, folder):
        (folder / "images/000002.png").write_bytes(b"no picture")
        lines = (folder / "metadata.jsonl").read_text().splitlines()
        lines[0] = lines[0].replace('"betas"', '"beta"')
        lines[4] = json.dumps(json.loads(lines[4]) | {"file_name": None})
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
        curation = Curation([])
        assert kept(curation, folder) == ["number 1", "number 3"]
        assert curation.dropped == {
            "row that cannot be read": 1,
            "image that cannot be read": 1,
            "no image": 1,
        }


class TestDetectorAgrees:
    @pytest.fixture
    def answers(self, folder, body):
        """Sides and points to find in each image, by its pixels."""
        answers = {}
        for number, line in enumerate((folder / "metadata.jsonl").read_text().splitlines()):
            joints = hand_joints_in_pixels(HandParams.from_dict(json.loads(line)), body, *SIZE)
            pixels = np.asarray(make_picture(number, SIZE)).tobytes()
            size = hand_sizes_in_pixels(joints)[1]
            answers[pixels] = {
                0: [("left", joints[0]), ("right", joints[1] + 0.05 * size)],  # a little off
                1: [("right", joints[1] + 0.5 * size)],  # far off
                2: [("right", joints[1])],  # the left one is missing
                3: [("left", joints[1])],  # on the wrong side
                4: [("right", joints[0]), ("right", joints[1]), ("left", joints[0])],  # one too many
            }[number]
        return answers

    def test_drops_rows_whose_hands_are_not_found(self, folder, answers):
        def detector(image):
            assert image.shape == (SIZE[1], SIZE[0], 3) and image.dtype == np.uint8
            return [Detection(side, points.numpy()) for side, points in answers[image.tobytes()]]

        curation = Curation([DetectorAgrees(detector)])
        assert kept(curation, folder) == ["number 0", "number 4"]
        assert curation.dropped == {"detector disagrees": 3}
        assert kept(Curation([DetectorAgrees(detector, error=0.01)]), folder) == ["number 4"]

    def test_pairs_for_pil_images_still_do(self, folder, answers):
        def detector(image):
            image = image.convert("RGB")
            assert image.size == SIZE
            return answers[np.asarray(image).tobytes()]

        with pytest.warns(FutureWarning, match="detector test_curation:.* returns pairs") as caught:
            assert kept(Curation([DetectorAgrees(detector)]), folder) == ["number 0", "number 4"]
        assert len(caught) == 1

    def test_other_answers_end_the_curation(self, folder):
        with pytest.raises(TypeError, match="detector test_curation:.* must return a list of `DetectedHand`s"):
            kept(Curation([DetectorAgrees(lambda image: [np.zeros((21, 2))])]), folder)

    def test_an_image_that_cannot_be_read_is_counted(self, folder):
        (folder / "images/000000.png").write_bytes(b"no image")
        curation = Curation([DetectorAgrees(lambda image: [])])
        kept(curation, folder)
        assert curation.dropped == {"detector disagrees": 4, "image that cannot be read": 1}


class TestWriting:
    def test_whole_pictures_are_copied_with_all_columns(self, folder, tmp_path):
        curate(rows_of(folder), tmp_path / "out", Curation([MaxPeople(2)]))
        before = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        after = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
        for old, new in zip((before[i] for i in (0, 1, 3, 4)), after, strict=True):
            assert (tmp_path / "out" / new["file_name"]).read_bytes() == (folder / old["file_name"]).read_bytes()
            assert {**new, "file_name": ""} == {**old, "file_name": ""}
        assert len(HandDataset(tmp_path / "out", need_images=True)) == 4

    def test_crops_come_before_rules(self, folder, tmp_path, body):
        curation = Curation([MinHandSize(3), HandsInside()], Crop("hands", 0.1, size=100))
        curate(rows_of(folder), tmp_path / "out", curation)
        after = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
        assert after and curation.kept == len(after)
        for row in after:
            image = Image.open(tmp_path / "out" / row["file_name"])
            assert image.size == (100, 100)
            left, top, right, bottom = row["crop"]
            assert right - left == bottom - top and left >= 0 and right <= SIZE[0] and top >= 0 and bottom <= SIZE[1]
            # The crop's joints, in the old picture, are the old joints.
            old = json.loads((folder / "metadata.jsonl").read_text().splitlines()[int(row["text"].split()[1])])
            was = hand_joints_in_pixels(HandParams.from_dict(old), body, *SIZE)
            now = hand_joints_in_pixels(HandParams.from_dict(row), body, 100, 100)
            assert (now * (right - left) / 100 + torch.tensor([left, top]) - was).abs().max() < 0.1

    def test_crops_of_crops_and_jpegs(self, tmp_path):
        row, image = scene(1)
        (tmp_path / "in").mkdir()
        image.save(tmp_path / "in/x.jpeg")
        row |= {"file_name": "x.jpeg", "crop": [1000, 500, 1240, 660]}  # this picture is half as large as its part
        (tmp_path / "in/metadata.jsonl").write_text(json.dumps(row))
        curate(rows_of(tmp_path / "in"), tmp_path / "out", Curation([], Crop("hands")))
        new = json.loads((tmp_path / "out/metadata.jsonl").read_text())
        assert new["file_name"] == "images/000000.jpg"
        side = Image.open(tmp_path / "out/images/000000.jpg").size[0]
        left, top, right, bottom = new["crop"]
        assert right - left == bottom - top == 2 * side and left >= 1000 and bottom <= 660

    @pytest.mark.parametrize("crop", [None, Crop("hands", 5.0), Crop("person", 5.0)])
    def test_phone_photos_stay_upright(self, tmp_path, crop):
        (tmp_path / "in").mkdir()
        (tmp_path / "in/x.jpg").write_bytes(phone_photo())
        row = make_row(1) | {"file_name": "x.jpg", "camera": [0.1, 0.0, 0.0]}
        (tmp_path / "in/metadata.jsonl").write_text(json.dumps(row))
        curate(rows_of(tmp_path / "in"), tmp_path / "out", Curation([HandsInside()], crop))
        (raw,) = rows_of(tmp_path / "out")
        picture = HandDataset(tmp_path / "out").picture(0).open().convert("L")
        whole = Image.new("L", (16, 24))
        whole.paste(255, (0, 0, 16, 12))
        expected = whole if crop is None else whole.crop(raw.value["crop"])
        assert picture.size == expected.size
        assert np.abs(np.asarray(picture, float) - np.asarray(expected)).max() < 40  # stored as JPEG

    def test_no_row_left(self, folder, tmp_path):
        with pytest.raises(ValueError, match=r"no row passes: 5 dropped \(hand smaller than 500 pixels\)$"):
            curate(rows_of(folder), tmp_path / "out", Curation([MinHandSize(500)]))
        assert not (tmp_path / "out/metadata.jsonl").exists()

    def test_a_folder_that_holds_a_data_set(self, folder):
        with pytest.raises(ValueError, match="must not hold a data set yet, but has a metadata.jsonl"):
            curate(rows_of(folder), folder, Curation([]))
