import json

import numpy as np
import pytest
import torch
from data_samples import NUM_ROWS
from PIL import Image

from diffusers_handiffuser.cli import main
from diffusers_handiffuser.data import HandDataset, check_dataset, find_shards
from diffusers_handiffuser.data.sheets import RowSample, write_sheets


def rows_of(folder):
    return (row for shard in find_shards(folder) for row in shard.rows())


def change_rows(folder, **changes):
    """`number=function`: the function gets the row as a dict and returns it, or another line."""
    path = folder / "metadata.jsonl"
    lines = path.read_text().splitlines()
    for number, change in changes.items():
        changed = change(json.loads(lines[int(number[1:])]))
        lines[int(number[1:])] = changed if isinstance(changed, str) else json.dumps(changed)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def broken(data_dir):
    (data_dir / "images/000009.png").unlink()
    (data_dir / "images/000008.png").write_bytes((data_dir / "images/000007.png").read_bytes()[:60])
    change_rows(
        data_dir,
        _1=lambda row: {**row, "betas": [0.0] * 9, "camera": [1.0, float("nan"), 0.0]},
        _3=lambda row: '{"text": "cut of',
        _5=lambda row: {**row, "camera": [1.0, 50.0, 0.0], "hand_visible": [False, True]},
    )
    return data_dir


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
            "row 5: `hand_visible` says that the right hand is visible, but none of its joints lies in the picture",
            "row 8: cannot read picture",
            "row 9: cannot read picture",
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


class TestStatistics:
    def test_count_what_is_there(self, data_dir, body):
        rows = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
        rows[4] = rows[2]  # the same row and picture once more
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

    def test_without_pictures(self, data_dir):
        change_rows(data_dir, **{f"_{i}": lambda row: {**row, "file_name": None} for i in range(NUM_ROWS)})
        found = check_dataset(rows_of(data_dir)).statistics
        assert found["rows_with_a_picture"] == 0 and found["hand_size_in_pixels"] == {}
        assert found["hand_size_of_the_side"]["100%"] > 0.05


class TestSheets:
    def test_show_pictures_skeletons_and_numbers(self, data_dir, tmp_path):
        check_dataset(rows_of(data_dir), sheet=tmp_path / "sheet.png", sheet_rows=5)
        sheet = Image.open(tmp_path / "sheet.png")
        assert sheet.size == (5 * 160, 160)
        # Rows without visible hands are drawn too, and hands are drawn in the colours of fingers.
        colors = {tuple(color) for color in np.asarray(sheet).reshape(-1, 3).tolist()}
        assert {(230, 60, 60), (160, 90, 220)} <= colors

    def test_go_on_in_several_files(self, data_dir, tmp_path, body):
        sample = RowSample(NUM_ROWS)
        from diffusers_handiffuser.data import parse_row

        for number, raw in enumerate(rows_of(data_dir)):
            row = parse_row(raw.value, raw.where, raw.folder)
            sample.offer(number, row, body(row.hand_params).joints_2d)
        rows = (sample.rows() * 5)[:65]
        paths = write_sheets(tmp_path / "x.png", rows)
        assert [path.name for path in paths] == ["x_0.png", "x_1.png"]
        assert [Image.open(path).size for path in paths] == [(1280, 1280), (160, 160)]

    def test_samples_are_of_all_rows_and_always_the_same(self, data_dir):
        rows = [object() for _ in range(1000)]

        def draw():
            sample = RowSample(100)
            for number, _ in enumerate(rows):
                sample.offer(number, type("Row", (), {"picture": True}), None)
            return [number for number, *_ in sample.rows()]

        chosen = draw()
        assert chosen == draw() == sorted(set(chosen)) and len(chosen) == 100
        assert 350 < np.mean(chosen) < 650


class TestCommands:
    def test_check(self, data_dir, broken, capsys):
        assert main(["data", "check", str(broken)]) == 1
        assert "row 3: not a line of JSON" in capsys.readouterr().out
        assert main(["data", "check", str(broken), "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert report["rows"] == NUM_ROWS and len(report["problems"]) == 6
        assert report["problems"][0]["column"] == "betas" and report["statistics"]["rows_with_a_picture"] == 9

    def test_check_of_what_is_sound(self, data_dir, tmp_path, capsys):
        assert main(["data", "check", str(data_dir), "--sheet", str(tmp_path / "s.png"), "--sheet-rows", "3"]) == 0
        assert "14 rows, 0 of them wrong" in capsys.readouterr().out
        assert Image.open(tmp_path / "s.png").size == (480, 160)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["nowhere"], "nowhere is neither a folder"),
            ([".", "--sheet", "x.jpg"], "--sheet must end in .png"),
            ([".", "--sheet-rows", "0"], "--sheet-rows must be at least 1"),
        ],
    )
    def test_check_of_what_cannot_be_used(self, tmp_path, monkeypatch, capsys, arguments, named):
        monkeypatch.chdir(tmp_path)
        assert main(["data", "check", *arguments]) == 2
        message = capsys.readouterr().err
        assert message.startswith("handiffuser: error: ") and named in message

    def test_curate(self, data_dir, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my_detector.py").write_text("def nothing(image):\n    return []\n")
        options = ["--crop", "hands", "--size", "32", "--hands-inside", "0.9"]
        assert main(["data", "curate", "data", "out", *options]) == 0
        printed = capsys.readouterr().out
        kept = len((tmp_path / "out/metadata.jsonl").read_text().splitlines())
        assert f"{kept} kept in out" in printed and "dropped: no square crop" in printed
        assert 0 < kept < NUM_ROWS and Image.open(tmp_path / "out/images/000000.png").size == (32, 32)
        assert main(["data", "curate", "data", "other", "--detector", "my_detector:nothing"]) == 0
        without_hands = sum(not any(json.loads(line)["hand_visible"]) for line in open("data/metadata.jsonl"))
        printed = capsys.readouterr().out
        assert f"{NUM_ROWS - without_hands} dropped: detector disagrees" in printed
        assert f"{without_hands} kept in other" in printed

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (["--size", "32"], "--size needs --crop"),
            (["--detector", "json"], "--detector must be MODULE:FUNCTION"),
            (["--detector", "json:nothing"], "--detector: module 'json' has no attribute 'nothing'"),
            (["--max-people", "1"], "row 0: `people` must hold the number of people"),
        ],
    )
    def test_curate_with_wrong_options(self, data_dir, tmp_path, capsys, options, named):
        assert main(["data", "curate", str(data_dir), str(tmp_path / "out"), *options]) == 2
        assert named in capsys.readouterr().err
