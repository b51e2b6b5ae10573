"""DeepSpeed's ZeRO on two processes does what one process does. Needs `deepspeed`, which is no dependency."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stage_2
import torch
from deepspeed_process import IMAGES, STAGES, train
from small_run import Line
from test_many_processes import free_ports, losses

from diffusers_handiffuser import HanDiffuserPipeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_data, picture_components, clip_text_model):
    """Where two processes have left what they did, and in `... one ...` one process with the same global batch."""
    pytest.importorskip("deepspeed", reason="needs DeepSpeed, which is in no extra")
    folder = tmp_path_factory.mktemp("deepspeed")
    stage_2.stable_diffusion(picture_components, clip_text_model).save_pretrained(folder / "sd")
    make_data(folder / "data")
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "LOCAL_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_ports(1)[0],
        "ACCELERATE_USE_DEEPSPEED": "true",
    }
    command = [sys.executable, str(Path(__file__).with_name("deepspeed_process.py")), str(folder)]
    processes = [
        subprocess.Popen(command, env={**common, "RANK": r, "LOCAL_RANK": r}, stderr=subprocess.PIPE, text=True)
        for r in "01"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
    for name, average in (("one", ("--use_ema",)), ("one, not averaged", ())):
        train(folder / name, "--train_batch_size", 4, "--use_cpu", *average)
    shutil.copytree(folder / "data", folder / "data of one", ignore=shutil.ignore_patterns(".cache"))
    base = ("--pretrained_model_name_or_path", folder / "sd", "--use_cpu")
    stage_2.train(folder / "data of one", folder / "images of one", *base, *IMAGES, "--train_batch_size", 4)
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_those_of_one_process(folder, stage):
    """The last of them twice, the second time after a resume."""
    ours, theirs = folder / f"zero {stage}", folder / ("one" if stage < 3 else "one, not averaged")
    assert losses(ours) == pytest.approx([*losses(theirs), *losses(theirs)[4:]], abs=1e-5)
    assert losses(ours, "validation_sum") == pytest.approx(2 * losses(theirs, "validation_sum"), abs=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_weights_and_averages_are_those_of_one_process(folder, stage):
    for part in ("line", "line_ema") if stage < 3 else ("line",):
        ours, theirs = (Line.from_pretrained(folder / f"{n}/checkpoint-6/{part}") for n in (f"zero {stage}", "one"))
        torch.testing.assert_close(ours.linear.weight, theirs.linear.weight)


def test_images_of_spread_weights(folder):
    """Stage 2's trainer under ZeRO-3, where every process holds a part of every weight."""
    ours, theirs = folder / "images", folder / "images of one"
    for name in ("loss", "joints", "joint_states", "validation_mse"):
        assert losses(ours, name) == pytest.approx(losses(theirs, name), abs=1e-4)
    ours, theirs = (HanDiffuserPipeline.from_pretrained(path) for path in (ours, theirs))
    for name in ("unet", "text_encoder"):
        state = getattr(theirs, name).state_dict()
        for key, value in getattr(ours, name).state_dict().items():
            torch.testing.assert_close(value, state[key], atol=1e-3, rtol=0)
