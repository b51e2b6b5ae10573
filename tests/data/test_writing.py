import io
import json
import os

import numpy as np
import pytest
from data_samples import is_upright, make_picture, make_row, phone_photo
from PIL import Image

from diffusers_handiffuser.data import HandDataset, write_dataset
from diffusers_handiffuser.data.writing import new_metadata


def test_rows_and_images_are_written_in_order(tmp_path):
    rows = [make_row(0), (make_row(1), make_picture(1)), (make_row(2), None)]
    assert write_dataset(tmp_path / "new" / "set", iter(rows)) == 3
    assert sorted(os.listdir(tmp_path / "new" / "set")) == ["images", "metadata.jsonl"]
    dataset = HandDataset(tmp_path / "new" / "set")
    assert dataset.texts == [make_row(number)["text"] for number in range(3)]
    assert [path and path.name for path in dataset.image_paths] == [None, "000001.png", None]
    assert np.array_equal(np.asarray(Image.open(dataset.image_paths[1])), np.asarray(make_picture(1)))


def test_phone_photos_are_written_upright(tmp_path):
    with Image.open(io.BytesIO(phone_photo())) as photo:
        write_dataset(tmp_path, [(make_row(0), photo), (make_row(1), photo.convert("L"))])
    for number in range(2):
        stored = Image.open(tmp_path / f"images/00000{number}.png")
        assert stored.size == (16, 24) and is_upright(stored.convert("L")) and not stored.getexif()
    assert stored.mode == "L"  # which stays
    assert is_upright(HandDataset(tmp_path).load_image(0, 16)[..., 0])


def test_a_folder_in_use_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("metadata.jsonl", "metadata.parquet"):
        folder = name.partition(".")[2]
        os.mkdir(folder)
        (tmp_path / folder / name).write_text("")
        with pytest.raises(ValueError) as caught:
            write_dataset(folder, [make_row(0)])
        assert str(caught.value) == f"{folder} must not hold a data set yet, but has a {name}."
        assert os.listdir(folder) == [name]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "`rows` must hold at least one row"),
        ([make_row(0), make_row(1) | {"betas": [0.0]}], "`rows`, row 1: `betas` must be a list of 10 numbers"),
    ],
)
def test_rows_that_cannot_be_read_back_leave_no_metadata(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path, rows)
    assert not os.listdir(tmp_path)


def test_a_writer_that_is_interrupted_leaves_a_name_that_readers_know(tmp_path):
    with new_metadata(tmp_path) as file:
        file.write(json.dumps(make_row(0)) + "\n")
        assert [name.split(".")[-1] for name in os.listdir(tmp_path)] == ["tmp"]
        with pytest.raises(FileNotFoundError, match="the writing of this data set was interrupted"):
            HandDataset(tmp_path)
    assert os.listdir(tmp_path) == ["metadata.jsonl"] and len(HandDataset(tmp_path)) == 1
