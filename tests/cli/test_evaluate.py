"""`handiffuser evaluate`: the report that it writes, and its errors."""

import json

import pytest
from PIL import Image

from diffusers_handiffuser.cli import main
from diffusers_handiffuser.cli.evaluate import _CONDITIONS
from diffusers_handiffuser.evaluation import read_sentences, sentences
from diffusers_handiffuser.rendering.conditions import CONDITIONS
from diffusers_handiffuser.studio import make_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 12, "test", size=64, progress=False).parent


def test_conditions_are_those_that_can_be_drawn():
    assert tuple(CONDITIONS) == _CONDITIONS


class TestCommand:
    def test_writes_a_report(self, folder, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my_detector.py").write_text("def nothing(image): return []\n")
        command = f"evaluate --data {folder} --num 4 --samples 1 --seed 5 --steps 2 --hand-steps 2 --output out"
        assert main([*command.split(), "--detector", "my_detector:nothing", "--device", "cpu"]) == 0, (
            capsys.readouterr().err
        )
        out = tmp_path / "out"
        report = json.loads((out / "report.json").read_text())
        assert report["settings"]["seed"] == 5 and report["settings"]["arguments"]["num_inference_steps"] == 2
        assert report["estimates"]["detector"]["detected"] == {"value": 0, "low": 0, "high": 0, "n": 4, "seed": 5}
        assert report["versions"]["diffusers"] and "CLIPScore" in report["absent"]
        table = (out / "report.md").read_text()
        assert table in capsys.readouterr().out and "| fidelity: fid |" in table and "interval" in table
        assert len(json.loads((out / "cases.json").read_text())["detector/detected"]) == 4
        assert Image.open(out / "grid.png").size == (8 * 128, 128)

    def test_own_images(self, folder, tmp_path, capsys):
        command = f"evaluate --data {folder} --own-pictures --output {tmp_path / 'out'}"
        assert main(command.split()) == 0, capsys.readouterr().err
        found = json.loads((tmp_path / "out" / "report.json").read_text())["estimates"]["fidelity"]
        assert found["fid"]["value"] == pytest.approx(0, abs=1e-6) and abs(found["kid"]["value"]) < 1e-6

    def test_through_vae(self, folder, tmp_path, capsys):
        command = f"evaluate --data {folder} --own-pictures --through-vae --size 128 --output {tmp_path / 'out'}"
        assert main(command.split()) == 0, capsys.readouterr().err
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["settings"]["autoencoder"] == "AutoencoderKL" and report["settings"]["pipeline"] is None
        assert report["estimates"]["fidelity"]["fid"]["value"] > 1e-3  # something was lost
        assert report["estimates"]["stage_1"]["side_consistency"]["value"] == 1  # the rows' own hands
        assert main(f"evaluate --data {folder} --through-vae --output {tmp_path / 'no'}".split()) == 2
        assert "--through-vae goes with --own-pictures" in capsys.readouterr().err

    def test_hands_only(self, folder, quick_checkpoint, tmp_path, capsys):
        command = f"evaluate --data {folder} --num 3 --hands-only --model {quick_checkpoint} --output {tmp_path}"
        assert main([*command.split(), "--seed", "4", "--hand-guidance-scale", "1"]) == 0, capsys.readouterr().err
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["estimates"]["caption"]["fingers"]["n"] == 3 and "fidelity" not in report["estimates"]
        assert report["estimates"]["caption_of_data"]["number"]["value"] == 1
        settings = report["settings"]
        assert settings["samples"] == 2 and settings["seed"] == 4 and settings["data"] == str(folder)
        assert settings["arguments"] == {"hand_guidance_scale": 1.0} and not (tmp_path / "grid.png").exists()

    def test_natural(self, quick_checkpoint, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(sentences, "read_sentences", lambda: [*read_sentences()[:3], *read_sentences()[-2:]])
        command = f"evaluate --natural --hand-steps 1 --model {quick_checkpoint} --output {tmp_path}"
        assert main(command.split()) == 0, capsys.readouterr().err
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["settings"]["samples"] == 4 and report["settings"]["sentences"] == 5
        assert report["settings"]["arguments"] == {"num_hand_inference_steps": 1}
        assert report["estimates"]["sentences"]["some_hands"]["n"] == 3 and len(report["worst"][0]["came"]) == 4
        assert "| sentences: no_hands |" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "options, message",
        [
            ("--output out", "one of the arguments --data --natural is required"),
            ("--data d --natural --output out", "not allowed with argument"),
            ("--data d --hands-only --given-hands --output out", "not allowed with argument"),
        ],
    )
    def test_parser_refuses(self, capsys, options, message):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", *options.split()])
        assert stopped.value.code == 2 and message in capsys.readouterr().err

    @pytest.mark.parametrize(
        "options, message",
        [
            ("--natural --steps 2", "--steps does not go with --natural, which draws no images"),
            ("--natural --num 2", "--num does not go with --natural, which has its own sentences"),
            ("--natural --hands-only", "--hands-only does not go with --natural"),
            ("--data d --hands-only --clip c", "--clip does not go with --hands-only, which draws no images"),
            ("--natural --samples 0", "--samples must be at least 1, got 0"),
        ],
    )
    def test_options_that_would_do_nothing(self, quick_checkpoint, tmp_path, capsys, options, message):
        command = f"evaluate {options} --model {quick_checkpoint} --output {tmp_path / 'out'}"
        assert main(command.split()) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "wrong, message",
        [
            (["--num", "0"], "--num must be at least 1"),
            (
                ["--features", "resnet"],
                "--features must be studio, inception, a file of its weights (.pth), none or MODULE:FUNCTION",
            ),
            (
                ["--features", "none", "--detector", "yolo"],
                "--detector must be mediapipe, a .task file or MODULE:FUNCTION",
            ),
            (["--clip", "nowhere"], "has no config.json"),
            (["--batch-size", "0"], "--batch-size must be at least 1"),
            (["--detector", "mediapipe", "--detector-python", "nowhere"], "nowhere"),
        ],
    )
    def test_bad_input_is_one_line(self, folder, tmp_path, capsys, wrong, message):
        command = ["evaluate", "--data", str(folder), "--own-pictures", "--output", str(tmp_path / "out")]
        assert main([*command, *wrong]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()
