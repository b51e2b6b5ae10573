import json

import numpy as np
import pytest
import torch
from data_samples import NUM_ROWS, change_rows, make_picture, rows_of
from PIL import Image

from diffusers_handiffuser.data import HandDataset, check_dataset


class TestProblems:
    def test_are_found_row_by_row(self, broken):
        report = check_dataset(rows_of(broken))
        assert report.rows == NUM_ROWS
        found = [(problem.row, problem.column) for problem in report.problems]
        assert found == [(1, "betas"), (1, "camera"), (3, ""), (5, "hand_visible"), (8, ""), (9, "")]
        text = str(report)
        for line in (
            "row 1: `betas` must be a list of 10 numbers, but has shape (9,)",
            "row 1: `camera` holds a value that is not finite",
            "row 3: not a line of JSON",
            "row 5: `hand_visible` says that the right hand is visible, but none of its joints lies in the image",
            "row 8: cannot read image",
            "row 9: cannot read image",
            "14 rows, 5 of them wrong",
        ):
            assert f"{line}" in text
        assert text.count("metadata.jsonl, row") == 6

    def test_none_in_a_sound_data_set(self, data_dir, parquet_dir, webdataset_dir):
        for source in (data_dir, parquet_dir, webdataset_dir):
            report = check_dataset(rows_of(source))
            assert report.problems == [] and report.rows == NUM_ROWS

    def test_no_rows_at_all(self, data_dir):
        (data_dir / "metadata.jsonl").write_text("\n")
        with pytest.raises(ValueError, match="the data set holds no rows"):
            check_dataset(rows_of(data_dir))


class TestTheSquareOfTraining:
    """Rows 2 and 4 show a left hand (of both, and alone) beside the centred square of 64 x 16 pixels."""

    @pytest.fixture
    def wide(self, data_dir, body):
        hands = HandDataset(data_dir).hand_params
        for number in (2, 4):
            name = f"{number:06d}.png"
            make_picture(number, (64, 16)).save(data_dir / "images" / name)
            u = float(body(hands).joints_2d[number, 0, :, 0].mean())
            camera = hands.camera[number] + torch.tensor([0, (2.5 - u) / float(hands.camera[number, 0]), 0])
            change = {"camera": camera.tolist(), "hand_visible": [True, number == 2]}
            change_rows(data_dir, **{f"_{number}": lambda row, change=change: {**row, **change}})
        return data_dir

    def test_hands_outside_it_count_as_not_visible(self, wide, body):
        dataset = HandDataset(wide)
        report = check_dataset(rows_of(wide))
        assert report.problems == []
        visible = dataset.hand_params.hand_visible.clone()
        inside = (body(dataset.hand_params).joints_2d.abs() <= 1).all(-1).any(-1)
        assert not inside[2, 0] and not inside[4, 0]
        shown = visible & inside
        found = report.statistics
        assert found["hands_outside_the_square"] == int(visible.sum() - shown.sum()) > 1
        assert found["hands_per_row"] == {str(n): int((shown.sum(1) == n).sum()) for n in range(3)}
        assert found["visible_hands"]["none"] == int((~shown.any(1)).sum())
        assert "hands outside the square" in str(report)

    def test_sheets_show_it(self, wide, tmp_path):
        check_dataset(rows_of(wide), sheet=tmp_path / "sheet.png")
        sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
        tile = sheet[:160, 2 * 160 : 3 * 160]
        square = HandDataset(wide).load_image(2, 160).astype(int)
        assert (tile[-40:] == square[-40:]).mean() > 0.9


class TestStatistics:
    def test_count_what_is_there(self, data_dir, body):
        rows = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
        rows[4] = rows[2]  # the same row and image once more
        rows[6]["text"] = rows[2]["text"]
        (data_dir / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = check_dataset(rows_of(data_dir)).statistics

        visible = np.array([row["hand_visible"] for row in rows])
        left, right = visible.T
        assert found["rows_with_a_picture"] == 14 and found["sources"] == {"test": 14}
        assert found["hands_per_row"] == {str(n): int((visible.sum(1) == n).sum()) for n in range(3)}
        assert found["visible_hands"] == {
            "left only": int((left & ~right).sum()),
            "right only": int((right & ~left).sum()),
            "both": int((left & right).sum()),
            "none": int((~left & ~right).sum()),
        }
        assert found["left_hands_of_all"] == round(left.sum() / visible.sum(), 3)
        joints = body(HandDataset(data_dir).hand_params).joints_2d
        sizes = 8 * (joints.amax(2) - joints.amin(2)).amax(-1)[torch.from_numpy(visible)]
        assert found["hand_size_in_pixels"]["50%"] == pytest.approx(float(sizes.median().item()), abs=0.2)
        assert found["hand_size_in_pixels"]["100%"] == pytest.approx(float(sizes.max()), abs=1e-2)
        assert found["picture_side_in_pixels"]["50%"] == 16
        assert found["words_per_caption"]["50%"] == 5
        assert found["different_captions"] == 12
        assert found["rows_that_repeat_another"] == 1
        assert found["pictures_that_repeat_another"] == 1

    def test_without_images(self, data_dir):
        change_rows(data_dir, **{f"_{i}": lambda row: {**row, "file_name": None} for i in range(NUM_ROWS)})
        found = check_dataset(rows_of(data_dir)).statistics
        assert found["rows_with_a_picture"] == 0 and found["hand_size_in_pixels"] == {}
        assert found["hand_size_of_the_side"]["100%"] > 0.05
