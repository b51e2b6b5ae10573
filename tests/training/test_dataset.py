import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.training.dataset import HandDataset, cached_array, swap_sides


def read_rows(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def change_row(folder, number, **changes):
    rows = read_rows(folder)
    rows[number].update(changes)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rows_arrive_as_written(data_dir):
    dataset = HandDataset(data_dir, need_images=True)
    rows = read_rows(data_dir)
    assert dataset.texts == [row["text"] for row in rows]
    for name in HandParams.FIELDS:
        written = torch.tensor([row[name] for row in rows])
        assert torch.equal(getattr(dataset.hand_params, name), written), name
    assert len(HandDataset(data_dir, max_rows=3)) == 3


def test_rows_without_pictures_are_legal_for_stage_1_only(data_dir):
    change_row(data_dir, 5, file_name=None)
    assert HandDataset(data_dir).image_paths[5] is None
    with pytest.raises(ValueError, match=r"row 5: neither `file_name` nor `image`"):
        HandDataset(data_dir, need_images=True)
    change_row(data_dir, 5, image="images/5.png")
    assert HandDataset(data_dir, need_images=True).image_paths[5].name == "5.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"betas": [0.0] * 9}, r"row 2: `betas` must be a list of 10 numbers, but has shape \(9,\)"),
        ({"betas": ["thin"] * 10}, r"row 2: `betas` must be a list of 10 numbers"),
        ({"camera": [float("nan"), 0, 0]}, r"row 2: `camera` holds a value that is not finite"),
        ({"camera": [-1.0, 0, 0]}, r"row 2: `camera` must have a positive scale"),
        ({"hand_visible": [0.5, 1]}, r"row 2: `hand_visible` must be two of true and false"),
        ({"text": None}, r"row 2: `text` must be a string, but is NoneType"),
        ({"file_name": 7}, r"row 2: `file_name` must be a path"),
    ],
)
def test_a_bad_row_is_named(data_dir, changes, message):
    change_row(data_dir, 2, **changes)
    with pytest.raises(ValueError, match=message):
        HandDataset(data_dir)


def test_missing_field_file_folder_and_broken_lines_are_named(data_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata\.jsonl not found"):
        HandDataset(tmp_path / "nowhere")
    (data_dir / "images/4.png").write_bytes(b"not a picture")
    dataset = HandDataset(data_dir, need_images=True)
    with pytest.raises(ValueError, match=r"row 4: cannot read picture .*4\.png"):
        dataset.load_image(4, 16)
    (data_dir / "images/4.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"row 4: picture .*4\.png not found"):
        HandDataset(data_dir, need_images=True)
    rows = read_rows(data_dir)
    del rows[1]["betas"]
    (data_dir / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="row 1: `betas` is missing"):
        HandDataset(data_dir)
    (data_dir / "metadata.jsonl").write_text('{"text": "cut of')
    with pytest.raises(ValueError, match="row 0: not a line of JSON"):
        HandDataset(data_dir)
    (data_dir / "metadata.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no rows"):
        HandDataset(data_dir)


def test_pictures_are_the_centred_square_over_the_shorter_side(data_dir):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(data_dir / "images/0.png")
    assert (HandDataset(data_dir).load_image(0, 20) == 255).all()


def test_picture_cache_is_found_again(data_dir, tmp_path):
    dataset = HandDataset(data_dir, need_images=True)
    cached = dataset.images(16, tmp_path / "cache")
    assert np.array_equal(cached, dataset.images(16)) and cached.dtype == np.uint8
    (path,) = (tmp_path / "cache").iterdir()
    stamp = path.stat().st_mtime_ns
    assert np.array_equal(dataset.images(16, tmp_path / "cache"), cached)
    assert path.stat().st_mtime_ns == stamp
    change_row(data_dir, 0, text="something else")
    assert HandDataset(data_dir, need_images=True).fingerprint != dataset.fingerprint


def test_cache_that_fails_half_way_leaves_nothing(tmp_path):
    def fill(array):
        array[0] = 1
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError):
        cached_array(tmp_path / "cache.npy", (2, 3), np.float32, fill)
    assert not list(tmp_path.iterdir())


def test_swapping_sides():
    assert swap_sides("A Left hand, its RIGHT neighbour") == "A Right hand, its LEFT neighbour"
    assert swap_sides("bright, upright, leftover") == "bright, upright, leftover"
    assert swap_sides("left, right and rightmost") == "right, left and leftmost"
    assert swap_sides(swap_sides("the left of two right hands")) == "the left of two right hands"
