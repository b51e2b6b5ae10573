"""OpenPose's JSON, written and read by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusers_handiffuser import HandParams, fit_hands, read_openpose_json, write_openpose_json
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.rendering.keypoints import keypoints_of
from diffusers_handiffuser.studio import sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes

DETECTOR = """
import numpy as np
from diffusers_handiffuser import DetectedHand

def find(image):
    return [DetectedHand("left", np.load("landmarks.npy"), 0.9)]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def people():
    """A person's two hands."""
    return pose_scenes([sample_scene(5, "train", 1, "two_hands")], procedural_body())


def error_of(capsys, *arguments) -> str:
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("handiffuser")]
    assert len(lines) == 1
    return lines[0]


class TestWriting:
    @pytest.mark.parametrize(
        "output, options, size",
        [
            ("x.openpose.json", (), (512, 512)),
            ("x.OpenPose.JSON", ("--size", "96x64"), (96, 64)),
            ("x.json", ("--format", "openpose", "--size", "64"), (64, 64)),
        ],
    )
    def test_sampled_hands(self, checkpoint, output, options, size):
        assert main(["hands", "a hand", "-o", output, "--seed", "3", "--model", checkpoint, *options]) == 0
        assert main(["hands", "a hand", "-o", "h.safetensors", "--seed", "3", "--model", checkpoint]) == 0
        read, hands = read_openpose_json(output), HandParams.load("h.safetensors")
        expected = keypoints_of(hands, procedural_body(), size[1], size[0])
        assert read.size == size and torch.equal(read.hands, expected.hands)
        assert torch.equal(read.body, expected.body)

    def test_json_is_that_of_hand_parameters_still(self, checkpoint):
        assert main(["hands", "a hand", "-o", "x.json", "--seed", "3", "--model", checkpoint]) == 0
        assert len(HandParams.load("x.json")) == 1

    def test_fitted_hands(self, people):
        """Hands alone, in the photograph's pixels."""
        np.save("landmarks.npy", keypoints_of(people, procedural_body(), 120, 160).hands[0, 0, :, :2])
        Path("left_hand.py").write_text(DETECTOR)
        Image.new("RGB", (160, 120), (90, 120, 150)).save("photo.png")
        assert main(["fit", "photo.png", "-o", "x.openpose.json", "--detector", "left_hand:find"]) == 0
        read = read_openpose_json("x.openpose.json")
        assert read.size == (160, 120) and not read.body.any() and not read.hands[0, 1].any()
        assert abs(read.hands[0, 0, :, :2].numpy() - np.load("landmarks.npy")).mean() < 2

    def test_refused(self, checkpoint, capsys, folder):
        for options, words in [
            (("-o", "x.glb", "--format", "openpose"), "--format openpose needs an --output that ends in .json"),
            (("-o", "x.json", "--format", "coco"), "--format must be openpose, got 'coco'"),
            (("-o", "x.json", "--size", "64"), "--size needs an --output of key points, such as X.openpose.json"),
            (("-o", "x.openpose.json", "--size", "big"), "--size must be WIDTHxHEIGHT"),
        ]:
            assert words in error_of(capsys, "hands", "a hand", "--model", checkpoint, *options)
        assert not list(folder.iterdir())


class TestReading:
    def test_condition_of_key_points(self, people):
        """Drawn in the size that the file names, without the assumed body."""
        write_openpose_json("pose.json", people, (96, 64))
        assert main(["condition", "--hands", "pose.json", "-o", "x.png"]) == 0
        fitted = fit_hands(read_openpose_json("pose.json")).hand_params
        expected = fitted.to_condition("openpose", (96, 64), parts="hands")[0]
        assert np.array_equal(np.asarray(Image.open("x.png")), np.asarray(expected))
        assert main(["condition", "--hands", "pose.json", "-o", "y.png", "--size", "48"]) == 0
        assert Image.open("y.png").size == (48, 48)

    def test_an_image_of_key_points(self, people, checkpoint):
        write_openpose_json("pose.openpose.json", people, 64)
        arguments = ["generate", "a hand", "-o", "x.png", "--hands", "pose.openpose.json", "--model", checkpoint]
        assert main([*arguments, "--seed", "0"]) == 0
        fitted = fit_hands(read_openpose_json("pose.openpose.json")).hand_params
        assert torch.equal(HandParams.load("x.hands.safetensors").camera, fitted.camera)

    def test_refused(self, people, capsys):
        write_openpose_json("pose.json", people, 64)
        values = json.loads(Path("pose.json").read_text())
        del values["canvas_width"], values["canvas_height"]
        for content, words in [
            (values, "pose.json does not say how large its image is (canvas_width, canvas_height)"),
            ([], "pose.json: it is a list of 0 images; one at a time is read"),
            ({"people": 3}, "pose.json: it has no list of `people`"),
            ({"poses": []}, "Cannot read hand parameters from pose.json"),
            ("{", "Cannot read hand parameters from pose.json"),
        ]:
            Path("pose.json").write_text(content if isinstance(content, str) else json.dumps(content))
            assert words in error_of(capsys, "condition", "--hands", "pose.json", "-o", "x.png")

    def test_hand_params_name_the_way(self, people):
        write_openpose_json("pose.json", people, 64)
        with pytest.raises(ValueError, match="OpenPose's key points: `read_openpose_json` reads and `fit_hands` fits"):
            HandParams.load("pose.json")
