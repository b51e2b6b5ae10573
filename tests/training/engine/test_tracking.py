"""What a run logs: TensorBoard and other trackers, images, the progress bar."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from small_run import OPTIONS, make_run, train

from diffusers_handiffuser.training.engine.tracking import check_report_to, image_grid


def test_tensorboard_gets_numbers_images_and_options(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = ("--report_to", "tensorboard", "--tracker_project_name", "mine", "--logging_dir", "elsewhere")
    run = train(tmp_path, *OPTIONS, *report, "--validation_steps", 3,
                validate=lambda whole: {"number": 2.0})  # fmt: skip
    run.show("square", np.zeros((4, 6, 3), np.uint8))
    run.close()
    events = EventAccumulator(str(tmp_path / "elsewhere/mine"), size_guidance={"images": 0}).Reload()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = {point.step: point.value for point in events.Scalars("loss")}
    assert logged == pytest.approx({line["step"]: line["loss"] for line in lines if "loss" in line})
    assert [point.step for point in events.Scalars("validation_number")] == [3, 6]
    assert [(image.width, image.height, image.step) for image in events.Images("square")] == [(6, 4, 6)]
    options = next((tmp_path / "elsewhere/mine").glob("*/hparams.yml")).read_text()
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


def test_grid_of_lines_of_different_lengths():
    grid = image_grid([[np.ones((2, 3, 3), np.uint8)] * 2, [], [np.full((4, 3, 3), 2, np.uint8)]])
    assert grid.shape == (6, 6, 3) and grid[2:, 3:].max() == 0 and grid[2:, :3].min() == 2
