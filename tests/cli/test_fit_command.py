"""`handiffuser fit`, with a detector that knows the hand of a studio scene."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import diffusers_handiffuser
from diffusers_handiffuser import HandParams
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

DETECTOR = """
import json
import numpy as np
from diffusers_handiffuser import DetectedHand

def find(image):
    if image.max() < 140:  # black, with a grey margin
        return []
    return [DetectedHand(hand["side"], np.array(hand["landmarks"]), 0.9, np.array(hand["landmarks_3d"]))
            for hand in json.load(open("hands.json"))]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A photograph of 160 x 120 pixels, an empty one, and a detector."""
    body = procedural_body()
    hands = pose_scenes([sample_scene(7, "train", 1, "two_hands")], body)
    geometry = body(hands)
    pixels = square_to_pixels(geometry.joints_2d[0], 120, 160)
    found = [
        {"side": side, "landmarks": pixels[k].tolist(), "landmarks_3d": geometry.joints_3d[0, k].tolist()}
        for k, side in enumerate(("left", "right"))
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hands.json").write_text(json.dumps(found))
    (tmp_path / "knows.py").write_text(DETECTOR)
    Image.new("RGB", (160, 120), (90, 120, 150)).save("photo.jpg")
    Image.new("RGB", (160, 120)).save("empty.png")
    return tmp_path


def fit(*arguments, detector="knows:find"):
    return main(["fit", *arguments, "--detector", detector])


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_parameters(folder, capsys, suffix):
    assert fit("photo.jpg", "-o", f"hands{suffix}".replace("hands.json", "fitted.json")) == 0
    printed = capsys.readouterr()
    name = printed.out.strip()
    assert name.endswith(suffix) and "person 0, left hand: confidence" in printed.err
    assert "person 0, right hand: confidence" in printed.err
    hands = HandParams.load(name)
    assert hands.hand_visible.tolist() == [[True, True]]
    joints = square_to_pixels(procedural_body()(hands).joints_2d[0], 120, 160)
    wanted = torch.tensor([hand["landmarks"] for hand in json.loads((folder / "hands.json").read_text())])
    assert (joints - wanted).norm(dim=-1).mean() < 1


def test_overlay_and_meshes(folder):
    assert fit("photo.jpg", "-o", "hands.png") == 0 and fit("photo.jpg", "-o", "hands.glb") == 0
    drawn, photo = (np.asarray(Image.open(name)).astype(int) for name in ("hands.png", "photo.jpg"))
    assert drawn.shape == photo.shape and 0.02 < (np.abs(drawn - photo).max(-1) > 20).mean() < 0.9
    assert (folder / "hands.glb").read_bytes()[:4] == b"glTF"


def test_a_photograph_without_hands(folder, capsys):
    for name in ("none.safetensors", "none.png"):
        assert fit("empty.png", "-o", name) == 0 and "no hand was found" in capsys.readouterr().err
    assert len(HandParams.load("none.safetensors")) == 0
    assert np.array_equal(Image.open("none.png"), Image.open("empty.png"))
    assert fit("empty.png", "-o", "none.glb") == 2 and "there is no mesh to write" in capsys.readouterr().err


def test_people_of_low_confidence_are_left_out(folder, capsys):
    assert fit("photo.jpg", "-o", "all.safetensors", "--min-confidence", "0.01") == 0
    assert "left out" not in capsys.readouterr().err
    assert fit("photo.jpg", "-o", "none.safetensors", "--min-confidence", "1") == 0
    assert "left out 1 of 1 people" in capsys.readouterr().err
    assert [len(HandParams.load(f"{name}.safetensors")) for name in ("all", "none")] == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg", "-o", "x.png"], "there is no image file 'absent.jpg'"),
        ([".", "-o", "x.png"], "'.' is a folder, not an image file"),
        (["knows.py", "-o", "x.png"], "cannot read image knows.py"),
        (["empty.png", "-o", "./empty.png"], "--output './empty.png' is the photograph itself"),
        (["photo.jpg", "-o", "x.obj"], "--output must end in .safetensors, .json, .glb, .png"),
        (["photo.jpg", "-o", "no/x.png"], "there is no folder 'no'"),
        (["photo.jpg", "-o", "x.png", "--min-confidence", "2"], "--min-confidence must be between 0 and 1, got 2.0"),
    ],
)
def test_refusals(folder, capsys, arguments, message):
    assert fit(*arguments) == 2
    assert message in capsys.readouterr().err


def test_without_mediapipe(folder):
    (folder / "mediapipe.py").write_text("raise ImportError('none')")
    command = [sys.executable, "-m", "diffusers_handiffuser.cli", "fit", "photo.jpg", "-o", "x.png"]
    path = os.pathsep.join([str(folder), str(Path(diffusers_handiffuser.__file__).parents[1])])
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    last = result.stderr.splitlines()[-1]  # older diffusers print a line before
    assert result.returncode == 2 and last.startswith("handiffuser: error: ")
    assert "The extra `detect` installs it" in last and "HANDIFFUSER_HAND_LANDMARKER" in last
