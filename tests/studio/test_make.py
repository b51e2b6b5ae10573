import json
import os
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.studio import (
    Defect,
    Scene,
    Studio,
    describe,
    make_dataset,
    natural_caption,
    natural_sentence,
    sample_scene,
    scene_split,
)
from diffusers_handiffuser.studio.scenes import HANDLESS_KINDS

SIZE = 32
NUM = 20


def read(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def make(folder, num=NUM, **options):
    return make_dataset(folder, num, **{"seed": 3, "size": SIZE, "progress": False, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two batches, the second of them not full."""
    folder = tmp_path_factory.mktemp("data") / "new" / "set"
    assert make(folder) == folder / "metadata.jsonl"
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    return read(folder)


class TestRows:
    def test_have_the_agreed_form(self, rows):
        assert len(rows) == NUM
        for i, row in enumerate(rows):
            assert set(row) == {"file_name", "text", *HandParams.FIELDS, "source", "crop", "scene"}
            assert row["file_name"] == f"images/{i:06d}.png"
            assert isinstance(row["text"], str) and row["text"]
            assert {name: len(row[name]) for name in HandParams.FIELDS} == HandParams.FIELDS
            assert all(isinstance(flag, bool) for flag in row["hand_visible"])
            assert row["source"] == "studio" and row["crop"] is None

    def test_hold_the_scene_of_their_index(self, rows):
        for i, row in enumerate(rows):
            scene = Scene(**row["scene"])
            assert scene == sample_scene(3, "train", i)
            assert row["text"] == describe(scene, random.Random(scene.seed))

    def test_hold_an_image_and_its_parameters(self, folder, rows):
        images, hand_params = Studio(size=SIZE).draw([Scene(**row["scene"]) for row in rows[:16]])
        for row, image, expected in zip(rows, images, hand_params, strict=False):
            stored = np.asarray(Image.open(folder / row["file_name"])) / 255
            assert abs(stored - image.permute(1, 2, 0).numpy()).max() < 1 / 255
            found = HandParams.from_dict(row)
            assert torch.equal(found.hand_visible, expected.hand_visible)
            for name in HandParams.FIELDS:
                assert torch.allclose(getattr(found, name).float(), getattr(expected, name).float(), atol=2e-6)

    def test_hold_images_of_the_asked_size(self, folder, rows):
        assert sorted(os.listdir(folder)) == ["images", "metadata.jsonl"]
        assert sorted(os.listdir(folder / "images")) == [f"{i:06d}.png" for i in range(NUM)]
        for row in rows:
            image = Image.open(folder / row["file_name"])
            assert image.size == (SIZE, SIZE) and image.mode == "RGB" and np.asarray(image).std() > 5

    def test_are_plain_json(self, folder):
        text = (folder / "metadata.jsonl").read_text(encoding="ascii")
        assert text.endswith("\n") and "NaN" not in text and "Infinity" not in text

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_belong_to_their_split(self, tmp_path, split):
        make(tmp_path, 16, split=split, images=False)
        assert all(scene_split(Scene(**row["scene"])) == split for row in read(tmp_path))


class TestIndependence:
    """Rows depend on seed, split and index alone."""

    @pytest.mark.parametrize("num", [1, 16, 17])
    def test_of_how_many_there_are(self, tmp_path, folder, rows, num):
        make(tmp_path, num)
        assert read(tmp_path) == rows[:num]
        for row in rows[:num]:
            assert (tmp_path / row["file_name"]).read_bytes() == (folder / row["file_name"]).read_bytes()

    def test_of_images(self, tmp_path, rows):
        make(tmp_path, images=False)
        assert os.listdir(tmp_path) == ["metadata.jsonl"]
        expected = [{name: value for name, value in row.items() if name != "file_name"} for row in rows]
        assert read(tmp_path) == expected

    @pytest.mark.slow
    def test_of_the_number_of_workers(self, tmp_path, folder, rows):
        """Images to a rounding: a worker has one thread, and how many there are orders sums."""
        make(tmp_path, workers=2)
        assert read(tmp_path) == rows
        for row in rows:
            ours, theirs = (np.asarray(Image.open(f / row["file_name"])).astype(int) for f in (tmp_path, folder))
            assert abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 0.01

    def test_of_the_global_random_state(self, tmp_path, rows):
        random.seed(1)
        torch.manual_seed(1)
        before = random.getstate(), torch.get_rng_state()
        make(tmp_path, 2, images=False)
        assert [row["text"] for row in read(tmp_path)] == [row["text"] for row in rows[:2]]
        assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])

    def test_but_not_of_the_seed_or_the_split(self, tmp_path, rows):
        make(tmp_path / "seed", 4, seed=4, images=False)
        make(tmp_path / "split", 4, split="test", images=False)
        for other in (read(tmp_path / "seed"), read(tmp_path / "split")):
            assert all(a["scene"] != b["scene"] for a, b in zip(other, rows[:4], strict=True))

    def test_a_seed_means_these_captions(self, tmp_path):
        make(tmp_path, 3, seed=0, images=False)
        assert [row["text"] for row in read(tmp_path)] == [
            "someone making a thumb and two fingers sign with the left hand, with tan skin, on a gray background",
            "both hands with only the thumb and ring finger extended, with brown skin, in a white sleeve, "
            "blue striped background, lit from the front",
            "a left hand with the index, middle, ring and pinky fingers extended, with deep skin, in a pink sleeve, "
            "lit from the front",
        ]


class TestRefusals:
    def test_a_folder_that_holds_a_data_set(self, tmp_path):
        make(tmp_path, 1, images=False)
        before = (tmp_path / "metadata.jsonl").read_bytes()
        with pytest.raises(ValueError) as caught:
            make(tmp_path, 2, images=False)
        assert str(caught.value) == f"{tmp_path} must not hold a data set yet, but has a metadata.jsonl."
        assert (tmp_path / "metadata.jsonl").read_bytes() == before

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num": 0}, "`num` must be at least 1, got 0"),
            ({"num": -3}, "`num` must be at least 1, got -3"),
            ({"split": "val"}, r"`split` must be one of \('train', 'test'\), got 'val'"),
            ({"workers": 0}, "`workers` must be at least 1, got 0"),
            ({"size": 8}, "`size` must be at least 16 pixels, got 8"),
        ],
    )
    def test_impossible_wishes_leave_nothing_behind(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            make(tmp_path / "set", **options)
        assert not os.listdir(tmp_path)

    def test_a_file_in_place_of_the_folder(self, tmp_path):
        (tmp_path / "set").write_text("")
        with pytest.raises(OSError):
            make(tmp_path / "set", 1)

    def test_an_unfinished_data_set_has_no_rows_and_may_be_made_again(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "save", _fail)
            with pytest.raises(OSError, match="disk full"):
                make(tmp_path, 2)
        assert not (tmp_path / "metadata.jsonl").exists()
        make(tmp_path, 2)
        assert len(read(tmp_path)) == 2 and not list(tmp_path.glob("*.tmp"))


def _fail(*_, **__):
    raise OSError("disk full")


def test_progress_is_shown_when_asked(tmp_path, capsys):
    make(tmp_path / "silent", 1, images=False)
    assert capsys.readouterr().err == ""
    make(tmp_path / "talking", 1, images=False, progress=True)
    assert "drawing" in capsys.readouterr().err


class TestWithoutHands:
    def test_a_fraction_of_the_rows(self, tmp_path):
        make(tmp_path / "plain", 200, images=False)
        make(tmp_path / "mixed", 200, images=False, handless=0.25)
        plain, mixed = read(tmp_path / "plain"), read(tmp_path / "mixed")
        handless = [row["scene"]["kind"] in HANDLESS_KINDS for row in mixed]
        assert 0.2 <= sum(handless) / len(mixed) <= 0.35
        assert {row["scene"]["kind"] for row, without in zip(mixed, handless, strict=True) if without} == set(
            HANDLESS_KINDS
        )
        for row, other, without in zip(plain, mixed, handless, strict=True):
            if without:
                assert other["hand_visible"] == [False, False]
            else:
                assert (other["text"], other["scene"]) == (row["text"], row["scene"])

    def test_all_rows(self, tmp_path):
        make(tmp_path, 10, handless=1.0)
        assert all(row["hand_visible"] == [False, False] for row in read(tmp_path))

    @pytest.mark.parametrize("handless", [-0.1, 1.5, float("nan")])
    def test_refuses_other_numbers(self, tmp_path, handless):
        with pytest.raises(ValueError, match="`handless` must be between 0 and 1"):
            make(tmp_path, handless=handless)


class TestTurned:
    def test_a_fraction_of_the_rows(self, tmp_path):
        make(tmp_path / "plain", 100, images=False, handless=0.1)
        make(tmp_path / "mixed", 100, images=False, handless=0.1, turned=0.5)
        turns = Counter()
        for row, other in zip(read(tmp_path / "plain"), read(tmp_path / "mixed"), strict=True):
            for turn in other["scene"].get("turns", {"": None}).values():
                turns[turn] += 1
            if "turns" not in other["scene"]:
                assert (other["text"], other["scene"]) == (row["text"], row["scene"])
        assert min(turns["down"], turns["sideways"]) > 10 and turns[None] > 40

    @pytest.mark.parametrize("turned", [-0.1, 1.5, float("nan")])
    def test_refuses_other_numbers(self, tmp_path, turned):
        with pytest.raises(ValueError, match="`turned` must be between 0 and 1"):
            make(tmp_path, turned=turned)


class TestLanguage:
    def test_changes_the_text_alone(self, tmp_path):
        rows = {}
        for language in ("studio", "natural", "both"):
            make(tmp_path / language, 40, images=False, language=language)
            rows[language] = read(tmp_path / language)
        for row, natural, both in zip(*rows.values(), strict=True):
            scene = Scene(**row["scene"])
            assert row["text"] == describe(scene, random.Random(scene.seed))
            assert natural["text"] == natural_caption(scene, random.Random(scene.seed))
            assert both["text"] in (row["text"], natural["text"])
            says = natural_sentence(scene, random.Random(scene.seed)).says
            assert natural.pop("says") == says
            assert both.pop("says") == (says if both["text"] == natural["text"] else None)
            assert {**row, "text": ""} == {**natural, "text": ""} == {**both, "text": ""}
        ours = sum(both["text"] == row["text"] for row, both in zip(rows["studio"], rows["both"], strict=True))
        assert 10 <= ours <= 30

    def test_refuses_unknown_languages(self, tmp_path):
        with pytest.raises(ValueError, match="`language` must be one of .* got 'latin'"):
            make(tmp_path, language="latin")


class TestDefects:
    KINDS = ("swapped_side", "extra_finger")

    @pytest.fixture(scope="class")
    def defective(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("data") / "defective"
        make(folder, 6, defects=self.KINDS, handless=0.3)
        return folder

    def test_lie_beside_the_images_of_a_data_set_without_them(self, defective, tmp_path):
        make(tmp_path / "good", 6, handless=0.3)
        good, bad = read(tmp_path / "good"), read(defective)
        assert {row["defect"] is None for row in bad} == {True, False}
        for good_row, row in zip(good, bad, strict=True):
            assert {name: value for name, value in row.items() if name not in ("defect", "good_file_name")} == good_row
            expected = np.asarray(Image.open(tmp_path / "good" / good_row["file_name"]))
            assert np.array_equal(np.asarray(Image.open(defective / row["good_file_name"])), expected)
            differs = (np.asarray(Image.open(defective / row["file_name"])) != expected).any()
            assert differs == (row["defect"] is not None)
            if row["defect"] is None:
                assert row["good_file_name"] == row["file_name"]
            else:
                assert Defect(**row["defect"]).kind in self.KINDS and row["defect"]["side"] in row["scene"]["gestures"]

    def test_depend_on_seed_and_index_alone(self, defective, tmp_path):
        make(tmp_path / "fewer", 2, defects=self.KINDS, handless=0.3)
        make(tmp_path / "other", 2, defects=self.KINDS, handless=0.3, seed=4)
        for row, again in zip(read(defective), read(tmp_path / "fewer"), strict=False):
            assert row == again
            images = [(folder / row["file_name"]).read_bytes() for folder in (defective, tmp_path / "fewer")]
            assert images[0] == images[1]
        assert [row["defect"] for row in read(tmp_path / "other")] != [row["defect"] for row in read(defective)][:2]

    def test_that_there_are_not_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="must be one of extra_finger, .*, got 'sixth_finger'"):
            make(tmp_path / "x", defects=("sixth_finger",))
        with pytest.raises(ValueError, match="`defects` need images"):
            make(tmp_path / "x", defects=self.KINDS, images=False)
        assert not list(tmp_path.iterdir())
