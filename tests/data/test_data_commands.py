"""`handiffuser data check` and `data curate` on small data sets."""

import json

import pytest
from data_samples import NUM_ROWS
from PIL import Image

from diffusers_handiffuser.cli import main


def test_check(data_dir, broken, capsys):
    assert main(["data", "check", str(broken)]) == 1
    assert "row 3: not a line of JSON" in capsys.readouterr().out
    assert main(["data", "check", str(broken), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == NUM_ROWS and len(report["problems"]) == 6
    assert report["problems"][0]["column"] == "betas" and report["statistics"]["rows_with_a_picture"] == 9


def test_check_of_what_is_sound(data_dir, tmp_path, capsys):
    assert main(["data", "check", str(data_dir), "--sheet", str(tmp_path / "s.png"), "--sheet-rows", "3"]) == 0
    assert "14 rows, 0 of them wrong" in capsys.readouterr().out
    assert Image.open(tmp_path / "s.png").size == (480, 160)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere"], "there is no folder 'nowhere' here, and "),
        (["nowhere/"], "there is no folder 'nowhere/' here; wanted"),
        (["nowhere.tar"], "there is no file 'nowhere.tar' here; wanted"),
        ([".", "--sheet", "x.jpg"], "--sheet must end in .png"),
        ([".", "--sheet-rows", "0"], "--sheet-rows must be at least 1"),
    ],
)
def test_check_of_what_cannot_be_used(tmp_path, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("handiffuser: error: ") and named in message


def test_curate(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_detector.py").write_text("def nothing(image):\n    return []\n")
    options = ["--crop", "hands", "--size", "32", "--hands-inside", "0.9"]
    assert main(["data", "curate", "data", "out", *options]) == 0
    printed = capsys.readouterr().out
    kept = len((tmp_path / "out/metadata.jsonl").read_text().splitlines())
    assert f"{kept} kept in out" in printed and "dropped: no square crop" in printed
    assert 0 < kept < NUM_ROWS and Image.open(tmp_path / "out/images/000000.png").size == (32, 32)
    assert main(["data", "curate", "data", "other", "--detector", "my_detector:nothing"]) == 0
    rows = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
    without_hands = sum(not any(row["hand_visible"]) for row in rows)
    printed = capsys.readouterr().out
    assert f"{NUM_ROWS - without_hands} dropped: detector disagrees" in printed
    assert f"{without_hands} kept in other" in printed


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--size", "32"], "--size needs --crop"),
        (["--detector", "json"], "--detector must be mediapipe, a .task file or MODULE:FUNCTION"),
        (["--detector", "json:nothing"], "--detector 'json:nothing': json has no 'nothing'"),
        (
            ["--max-people", "1"],
            "row 0: `people` must hold the number of people, but is None; --people names the column",
        ),
    ],
)
def test_curate_with_wrong_options(data_dir, tmp_path, capsys, options, named):
    assert main(["data", "curate", str(data_dir), str(tmp_path / "out"), *options]) == 2
    assert named in capsys.readouterr().err
