"""Data sets whose images are defective on purpose: what reads them, what refuses them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_samples import change_rows, make_picture, make_row

from diffusers_handiffuser.data import HandDataset, curate, find_shards, stream_dataset, write_dataset
from diffusers_handiffuser.data.checking import check_dataset
from diffusers_handiffuser.data.curation import Curation
from diffusers_handiffuser.data.rows import RowError

DEFECT = {"kind": "too_long", "side": "left", "finger": "ring", "amount": 1.6, "seed": 0}
REFUSAL = r"row 1: `defect` says that a hand of the image is drawn wrong on purpose; `good_file_name` names the image"


@pytest.fixture
def defective(tmp_path) -> Path:
    """Three rows, the second with a defect."""
    folder = tmp_path / "defective"
    # `datasets` takes the first column of a file name for `image`.
    names = [f"images/{k:06d}.png" for k in range(3)]
    rows = [{"file_name": name, "good_file_name": name, "defect": None, **make_row(k)} for k, name in enumerate(names)]
    rows[1] |= {"good_file_name": "images/good.png", "defect": DEFECT}
    write_dataset(folder, [(row, make_picture(k)) for k, row in enumerate(rows)])
    make_picture(7).save(folder / "images/good.png")
    return folder


def raw_rows(folder):
    return (row for shard in find_shards(folder) for row in shard.rows())


class TestCheck:
    def test_counts_defects(self, defective):
        report = check_dataset(raw_rows(defective))
        assert not report.problems
        assert report.statistics["defects"] == {"too_long": 1}

    def test_of_a_good_data_set_does_not_speak_of_them(self, data_dir):
        assert "defects" not in check_dataset(raw_rows(data_dir)).statistics

    @pytest.mark.parametrize(
        ("change", "column", "reason"),
        [
            (lambda row: {**row, "defect": 7}, "defect", "must be an object or null, but is a int"),
            (
                lambda row: {**row, "defect": {**DEFECT, "kind": "sixth"}},
                "defect",
                "is not a defect: A kind of defect",
            ),
            (lambda row: {**row, "defect": {**DEFECT, "more": 1}}, "defect", "is not a defect: .*'more'"),
            (lambda row: {**row, "defect": {**DEFECT, "amount": "x"}}, "defect", "is not a defect"),
            (lambda row: {**row, "good_file_name": None}, "good_file_name", "must be a path inside the folder"),
            (lambda row: {**row, "good_file_name": "../x.png"}, "good_file_name", ""),
            (lambda row: {**row, "good_file_name": "images/none.png"}, "", "images/none.png"),
        ],
    )
    def test_finds_wrong_columns(self, defective, change: Callable, column, reason):
        change_rows(defective, _1=change)
        (problem,) = check_dataset(raw_rows(defective)).problems
        assert (problem.row, problem.column) == (1, column)
        assert re.search(reason, problem.reason)

    def test_finds_a_good_image_of_another_size(self, defective):
        make_picture(7, (24, 24)).save(defective / "images/good.png")
        (problem,) = check_dataset(raw_rows(defective)).problems
        assert "is of (24, 24) pixels, but the row's image of (16, 16)" in problem.reason


class TestReading:
    def test_without_images_is_as_ever(self, defective):
        dataset = HandDataset(defective)
        assert len(dataset) == 3
        assert dataset.picture(1).open().size == (16, 16)

    def test_for_training_on_images_is_refused_by_name(self, defective):
        with pytest.raises(RowError, match=REFUSAL):
            HandDataset(defective, need_images=True)
        with pytest.raises(RowError, match=REFUSAL):
            list(stream_dataset(defective, need_images=True))
        assert len(list(stream_dataset(defective))) == 3

    def test_for_training_on_the_good_images_is_a_change_of_columns(self, defective):
        def good(row):
            return {**row, "file_name": row["good_file_name"], "defect": None}

        change_rows(defective, _0=good, _1=good, _2=good)
        dataset = HandDataset(defective, need_images=True)
        assert np.array_equal(np.asarray(dataset.picture(1).open()), np.asarray(make_picture(7)))

    def test_by_datasets_gives_both_images(self, defective):
        import datasets

        table = datasets.load_dataset("imagefolder", data_dir=str(defective), split="train")
        rows = sorted(table, key=lambda row: row["text"])
        expected = sorted((make_row(k)["text"], k) for k in range(3))
        for row, (_, k) in zip(rows, expected, strict=True):
            assert np.array_equal(np.asarray(row["good"]), np.asarray(make_picture(7 if k == 1 else k)))
            assert np.array_equal(np.asarray(row["image"]), np.asarray(make_picture(k)))
            assert (row["defect"] is not None) == (k == 1)
        with pytest.raises(RowError, match="`defect` says that a hand"):
            HandDataset.from_datasets(table, folders=[defective], need_images=True)

    def test_by_curation_drops_them_with_a_count(self, defective, tmp_path):
        curation = Curation([])
        curate(raw_rows(defective), tmp_path / "out", curation)
        assert curation.dropped["image with a defect on purpose"] == 1
        rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
        assert len(rows) == 2 and all("good_file_name" not in row for row in rows)
        assert not check_dataset(raw_rows(tmp_path / "out")).problems
