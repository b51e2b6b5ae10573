import json

import numpy as np
import pytest
import torch

from diffusers_handiffuser.data import HandRow, Picture, RowError, parse_row, write_row
from diffusers_handiffuser.data.rows import hand_features
from diffusers_handiffuser.hands import HandParams


def test_what_is_written_can_be_read(hands):
    row = json.loads(json.dumps(write_row(hands[0], "a hand", source="test", scene={"kind": "close-up"})))
    assert set(row) == {"text", *HandParams.FIELDS, "source", "crop", "scene"}
    parsed = parse_row(row, "here")
    assert isinstance(parsed, HandRow) and parsed.text == "a hand" and parsed.picture is None
    assert parsed.columns == row
    for name in HandParams.FIELDS:
        assert torch.equal(getattr(parsed.hand_params, name), getattr(hands[0], name)), name


def test_all_problems_of_a_row_are_found(hands):
    row = write_row(hands[0], "a hand") | {"betas": [1.0], "camera": [0.0, 0, 0], "text": 3, "image": 7}
    del row["body_pose"]
    with pytest.raises(RowError, match="file, row 3: `body_pose` is missing") as refusal:
        parse_row(row, "file, row 3")
    assert [column for column, _ in refusal.value.problems] == ["body_pose", "betas", "camera", "text", "image"]


def test_a_row_is_an_object():
    with pytest.raises(RowError, match="row 3: must be a JSON object, but is a list"):
        parse_row([1, 2], "row 3")


def test_only_one_person_makes_a_row(hands):
    with pytest.raises(ValueError, match=r"`hand_params` must be of one person, got batch shape \(2,\)"):
        write_row(hands, "two")


def test_an_image_may_be_bytes(data_dir, hands):
    content = (data_dir / "images/000003.png").read_bytes()
    row = write_row(hands[0], "a hand") | {"image": {"bytes": content, "path": "x.png"}}
    image = parse_row(row, "here").picture
    from_file = Picture("there", data_dir / "images/000003.png")
    assert np.array_equal(image.square(16), from_file.square(16))
    assert image.num_bytes == from_file.num_bytes == len(content) and image.size == (16, 16)


def test_features_hold_a_row(hands):
    import datasets

    row = write_row(hands[1], "a hand", source="test") | {"crop": [1.0, 2.0, 3.0, 4.0]}
    table = datasets.Dataset.from_list([row], features=hand_features(images=False))
    assert {name: table[0][name] for name in row} == row
    with pytest.raises(Exception, match="betas|list"):
        datasets.Dataset.from_list([{**row, "betas": [0.0] * 9}], features=hand_features(images=False))
