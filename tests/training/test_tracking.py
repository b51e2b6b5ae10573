"""What a run tells: TensorBoard and other trackers, pictures, the progress bar, its loss curve."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from test_run import OPTIONS, make_run, train

from diffusers_handiffuser.training.engine.options import DataOptions
from diffusers_handiffuser.training.engine.publishing import card_facts, draw_curve, read_losses
from diffusers_handiffuser.training.engine.tracking import check_report_to, image_grid


def test_tensorboard_gets_numbers_pictures_and_options(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = ("--report_to", "tensorboard", "--tracker_project_name", "mine", "--logging_dir", "told")
    run = train(tmp_path, *OPTIONS, *report, "--validation_steps", 3,
                validate=lambda whole: {"number": 2.0})  # fmt: skip
    run.show("square", np.zeros((4, 6, 3), np.uint8))
    run.close()
    events = EventAccumulator(str(tmp_path / "told/mine"), size_guidance={"images": 0}).Reload()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = {point.step: point.value for point in events.Scalars("loss")}
    assert told == pytest.approx({line["step"]: line["loss"] for line in lines if "loss" in line})
    assert [point.step for point in events.Scalars("validation_number")] == [3, 6]
    assert [(image.width, image.height, image.step) for image in events.Images("square")] == [(6, 4, 6)]
    options = next((tmp_path / "told/mine").glob("*/hparams.yml")).read_text()
    assert "learning_rate: 0.01" in options and "hub_token" not in options


def test_trackers_that_are_not_installed_are_named(tmp_path):
    with pytest.raises(ValueError, match="`report_to` no_such_tracker: its package is not installed"):
        make_run(tmp_path, *OPTIONS, "--report_to", "no_such_tracker")
    for name in (None, "none", "all"):
        check_report_to(name)


def test_without_trackers_only_the_log_is_written(tmp_path):
    run = train(tmp_path, *OPTIONS)
    assert not (tmp_path / "logs").exists() and run.accelerator.trackers == []
    path = run.show("square", np.full((2, 2, 3), 7, np.uint8))
    assert path == tmp_path / "samples/0000006-square.png" and np.asarray(Image.open(path)).max() == 7


@pytest.mark.parametrize("watched", [True, False])
def test_progress_bar_is_for_those_who_look(tmp_path, monkeypatch, capsys, watched):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    train(tmp_path, *OPTIONS)
    printed = capsys.readouterr()
    assert ("steps" in printed.err and "6/6" in printed.err) == watched
    assert printed.out.startswith("step 2/6 ")


def test_loss_curve_takes_a_step_as_it_was_taken_last(tmp_path):
    lines = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 3, "loss": 9.0},
             {"step": 2, "resumed_from": "checkpoint-2"}, {"step": 2, "validation_mse": 1.0},
             {"step": 4, "loss": 1.0}]  # fmt: skip
    (tmp_path / "log.jsonl").write_text('{"step": 0, "lo\n' + "\n".join(map(json.dumps, lines)) + "\n")
    losses = read_losses(tmp_path / "log.jsonl")
    assert losses == {1: 4.0, 2: 3.0, 4: 1.0}
    draw_curve(losses, tmp_path / "curve.png")
    curve = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB")).astype(int)
    blue = np.argwhere((curve[..., 2] > 150) & (curve[..., 0] < 100))
    left, right = blue[blue[:, 1].argmin()], blue[blue[:, 1].argmax()]
    assert curve.shape == (320, 640, 3)
    assert left[0] < 50 and right[0] > 200  # falls from the upper left to the lower right


def test_grid_of_lines_of_different_lengths():
    grid = image_grid([[np.ones((2, 3, 3), np.uint8)] * 2, [], [np.full((4, 3, 3), 2, np.uint8)]])
    assert grid.shape == (6, 6, 3) and grid[2:, 3:].max() == 0 and grid[2:, :3].min() == 2


@pytest.mark.parametrize("token", [("--hub_token", "secret"), ("--hub_token=secret",), ("--hub_t", "secret")])
def test_token_stays_out_of_the_card(token):
    facts = card_facts("vae", ["--seed", "3", *token, "--rank", "2"], DataOptions(dataset_name="someone/hands"))
    assert facts["command"] == "python -m diffusers_handiffuser.training.vae --seed 3 --rank 2"
    assert "huggingface.co/datasets/someone/hands" in facts["training_data"]
