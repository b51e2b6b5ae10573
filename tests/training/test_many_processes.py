"""Two processes on the CPU do what one does: plain, sharded, when a loss is not finite, and when they are stopped."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stage_2 import stable_diffusion, train
from two_processes import OPTIONS, SHARDED, SHARDED_STEPS, STEPS

from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.training.engine.checkpointing import list_checkpoints

pytestmark = pytest.mark.slow


def free_ports(number: int) -> list[str]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_data, picture_components, clip_text_model):
    """Where two processes have left what they did; `alone` is one process with the same global batch."""
    folder = tmp_path_factory.mktemp("processes")
    stable_diffusion(picture_components, clip_text_model).save_pretrained(folder / "sd")
    make_data(folder / "data")
    script = Path(__file__).with_name("two_processes.py")
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, str(script), str(folder), *free_ports(6)]
    processes = [
        subprocess.Popen(command, env={**common, "RANK": r, "LOCAL_RANK": r}, stderr=subprocess.PIPE, text=True)
        for r in "01"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
    shutil.copytree(folder / "data", folder / "data alone", ignore=shutil.ignore_patterns(".cache"))
    base = ("--pretrained_model_name_or_path", folder / "sd")
    for name, options in (("alone", OPTIONS), ("alone, for sharded", SHARDED)):
        train(folder / "data alone", folder / name, *base, *options, "--train_batch_size", 4)
    return folder


def losses(folder: Path, name: str = "loss") -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_losses_are_those_of_one_process(folder):
    ours, theirs = losses(folder / "ddp"), losses(folder / "alone")
    assert len(ours) == len(theirs) == STEPS
    assert ours == pytest.approx(theirs, abs=1e-4)
    for name in ("grad_norm", "joints", "joint_states", "palm", "validation_mse"):
        assert losses(folder / "ddp", name) == pytest.approx(losses(folder / "alone", name), abs=1e-4)


def test_weights_are_those_of_one_process(folder):
    for part in ("unet/diffusion_pytorch_model", "text_encoder_ema/diffusion_pytorch_model"):
        ours, theirs = (load_file(folder / name / f"checkpoint-20/{part}.safetensors") for name in ("ddp", "alone"))
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], atol=1e-3, rtol=0)


def test_caches_are_filled_together(folder):
    ours = sorted((folder / "data/.cache").iterdir())
    assert len(ours) == 5 and not any(path.name.endswith(".tmp") for path in ours)
    for path in ours:  # halves of floats whose last bit depends on how a machine shares a sum among threads
        theirs = np.load(folder / "data alone/.cache" / path.name)
        np.testing.assert_allclose(np.load(path), theirs, rtol=2**-9, atol=1e-6, err_msg=path.name)


def test_sharded_losses_are_those_of_one_process(folder):
    """FSDP; the second half of them twice, the second time after a resume."""
    ours, theirs = losses(folder / "fsdp"), losses(folder / "alone, for sharded")
    assert len(ours) == SHARDED_STEPS + 2
    assert ours == pytest.approx([*theirs, *theirs[2:]], abs=1e-4)
    theirs = losses(folder / "alone, for sharded", "validation_mse")
    assert losses(folder / "fsdp", "validation_mse") == pytest.approx(2 * theirs, abs=1e-4)


def test_sharded_result_is_whole(folder):
    ours, theirs = (HanDiffuserPipeline.from_pretrained(folder / name) for name in ("fsdp", "alone, for sharded"))
    for name in ("unet", "text_encoder"):
        state = getattr(theirs, name).state_dict()
        for key, value in getattr(ours, name).state_dict().items():
            torch.testing.assert_close(value, state[key], atol=1e-3, rtol=0)


def test_loss_that_is_not_finite_stops_both_and_names_the_row(folder):
    told = [(folder / f"nan-{rank}.txt").read_text() for rank in "01"]
    assert told[0] == told[1]
    assert told[0].startswith("the loss is inf at step ") and "3" in told[0].split("rows [")[1].split("]")[0]
    assert "last good checkpoint: " in told[0] and "checkpoint-" in told[0]


def test_signal_to_one_stops_both_at_the_same_step(folder):
    assert [json.loads((folder / f"stopped-{rank}.json").read_text()) for rank in "01"] == [[3, 143]] * 2
    assert list_checkpoints(folder / "stopped")[-1].name == "checkpoint-3"
