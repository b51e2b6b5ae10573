"""`handiffuser repair`, with a detector that knows the hands of a studio image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repair_room import detected, make_room

import diffusers_handiffuser
from diffusers_handiffuser.cli import main

KNOWS = """
import json
import numpy as np
from diffusers_handiffuser import DetectedHand

def find(image):
    if image.shape[1] != 200 or image.max() < 10:  # looked at closer, or black
        return []
    return [DetectedHand(hand["side"], np.array(hand["landmarks"]), 0.9, np.array(hand["landmarks_3d"]))
            for hand in json.load(open("hands.json"))]

def everywhere(image):
    return find(image) or [
        DetectedHand(hand["side"], np.array(hand["landmarks"]) / 200 * image.shape[1], 0.9)
        for hand in json.load(open("hands.json"))[:1]
    ]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An image with a good and a bad hand, an empty one, a detector, and a judge that knows the blemish."""
    from diffusers_handiffuser.repair import judging

    room = make_room("two_hands").blemish("right")
    found = [
        {"side": hand.side, "landmarks": hand.landmarks.tolist(), "landmarks_3d": hand.landmarks_3d.tolist()}
        for hand in detected(room.hands, room.image.size)
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "knows", raising=False)  # of another test
    monkeypatch.setattr(judging, "default_judge", lambda body_model=None: room.judge)
    (tmp_path / "hands.json").write_text(json.dumps(found))
    (tmp_path / "knows.py").write_text(KNOWS)
    room.image.save("bad.png")
    make_room("two_hands").image.save("good.jpg", quality=95)
    Image.new("RGB", (200, 200)).save("empty.png")
    room.hands.save("hands.safetensors")
    return tmp_path


def repair(*arguments, detector="knows:find"):
    return main(["repair", *arguments, "--detector", detector])


def test_nothing_to_repair(folder, capsys):
    assert repair("empty.png", "-o", "out.png") == 0
    assert "no hand was found" in capsys.readouterr().err
    assert Path("out.png").read_bytes() == Path("empty.png").read_bytes()
    assert repair("good.jpg", "-o", "out.jpg") == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == "out.jpg" and printed.err.count("left alone: it looks good") == 2
    assert Path("out.jpg").read_bytes() == Path("good.jpg").read_bytes(), "not encoded again"
    assert repair("good.jpg", "-o", "out.png") == 0
    assert np.array_equal(Image.open("out.png"), Image.open("good.jpg"))


def test_a_hand_that_cannot_be_improved(folder, capsys, quick_mini):
    """The detector finds no hand in what is drawn."""
    before = Path("bad.png").read_bytes()
    assert repair("bad.png", "-o", "out.png", "--tries", "2", "--steps", "4", "--preview", "preview.png") == 1
    printed = capsys.readouterr()
    assert printed.out.split() == ["preview.png", "out.png"]
    assert "left, box " in printed.err and "left alone: it looks good" in printed.err
    assert "hand 1, right, box" in printed.err and "not improved: no hand was found in what was drawn" in printed.err
    assert Path("out.png").read_bytes() == before and Image.open("preview.png").size == (600, 200)
    assert repair("bad.png", "-o", "bad.png", "--tries", "1", "--steps", "4", "--overwrite") == 1
    assert Path("bad.png").read_bytes() == before


def test_a_dry_run_says_what_would_be_done(folder, capsys):
    assert repair("bad.png", "--dry-run", "--preview", "preview.png") == 0
    printed = capsys.readouterr()
    assert "hand 1, right, box" in printed.err and "to repair: it has a blemish (share 0.0" in printed.err
    assert "fit_confidence" in printed.err and printed.out.split() == ["preview.png"]
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".png") == [
        "bad.png",
        "empty.png",
        "preview.png",
    ]


def test_a_box(folder, capsys):
    assert repair("good.jpg", "-o", "out.jpg", "--box", "0,150,30,200", "--box=10,160,40,190") == 1
    assert "hand 2, side unknown, box 0, 150, 30, 200: not found" in capsys.readouterr().err
    assert Path("out.jpg").read_bytes() == Path("good.jpg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png", "-o", "x.png"], "there is no image file 'absent.png'"),
        (["knows.py", "-o", "x.png"], "cannot read image knows.py"),
        (["bad.png"], "-o/--output is needed"),
        (["bad.png", "-o", "./bad.png"], "--output './bad.png' is the image itself; --overwrite allows that"),
        (["bad.png", "-o", "x.png", "--preview", "x.png"], "--preview 'x.png' is the image itself or its --output"),
        (["bad.png", "-o", "x.png", "--preview", "x.txt"], "--preview must end in"),
        (["bad.png", "-o", "x.bmp"], "--output must end in .png"),
        (["bad.png", "-o", "no/x.png"], "there is no folder 'no'"),
        (["bad.png", "-o", "x.png", "--box", "190,0,210,20"], "must lie inside the image of 200 x 200 pixels"),
        (["bad.png", "-o", "x.png", "--box", "1,2,3"], "--box must be X0,Y0,X1,Y1"),
        (["bad.png", "-o", "x.png", "--which", "worst"], "--which must be bad, all, or numbers"),
        (["bad.png", "-o", "x.png", "--which", "7"], "`which` names hand 7, but there are 2 hands"),
        (["bad.png", "-o", "x.png", "--tries", "0"], "--tries must be at least 1"),
        (["bad.png", "-o", "x.png", "--hands", "mine"], "--hands must be fit, sample or a file"),
        (["bad.png", "-o", "x.png", "--hands", "absent.json"], "absent.json"),
        (["bad.png", "-o", "x.png", "--model", "absent"], "absent"),
    ],
)
def test_refusals(folder, capsys, arguments, message):
    assert repair(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("handiffuser: error: ") and message in error
    assert not Path("x.png").exists()


def test_transparency_and_jpeg(folder, capsys):
    Image.new("RGBA", (200, 200)).save("clear.png")
    assert repair("clear.png", "-o", "x.jpg") == 2
    assert "a JPEG has no transparency" in capsys.readouterr().err
    assert repair("bad.png", "-o", "x.jpg", "--which", "0,1", "--dry-run") == 0 and not Path("x.jpg").exists()
    assert repair("empty.png", "-o", "x.jpg") == 0
    assert "a JPEG of quality 95" in capsys.readouterr().err


def test_without_mediapipe(folder):
    (folder / "mediapipe.py").write_text("raise ImportError('none')")
    command = [sys.executable, "-m", "diffusers_handiffuser.cli", "repair", "bad.png", "-o", "x.png"]
    path = os.pathsep.join([str(folder), str(Path(diffusers_handiffuser.__file__).parents[1])])
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 2 and last.startswith("handiffuser: error: ")
    assert "The extra `detect` installs it" in last
