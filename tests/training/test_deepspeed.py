"""DeepSpeed's ZeRO on two processes does what one process does. Needs `deepspeed`, which is no dependency."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deepspeed_process import train
from test_many_processes import free_ports, losses
from test_run import Line

pytestmark = pytest.mark.slow


def run_two(folder, config, resume="none") -> None:
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "LOCAL_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_ports(1)[0],
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(config),
    }
    script = Path(__file__).with_name("deepspeed_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script, folder, resume],
            env={**common, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("stage", [2])
def test_losses_weights_and_averages_are_those_of_one_process(tmp_path, stage):
    pytest.importorskip("deepspeed")
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "zero_optimization": {"stage": stage},
                "gradient_accumulation_steps": 2,
                "train_micro_batch_size_per_gpu": 2,
                "zero_allow_untested_optimizer": True,
            }
        )
    )
    run_two(tmp_path / "two", config)
    shutil.copytree(tmp_path / "two/checkpoint-4", tmp_path / "resumed/checkpoint-4")
    run_two(tmp_path / "resumed", config, "latest")
    train(tmp_path / "one", "--train_batch_size", 4, "--use_cpu")
    for name in ("loss", "validation_sum"):
        assert losses(tmp_path / "two", name) == pytest.approx(losses(tmp_path / "one", name), abs=1e-5)
    assert losses(tmp_path / "resumed") == pytest.approx(losses(tmp_path / "one")[4:], abs=1e-5)
    for part in ("line", "line_ema"):
        wanted = Line.from_pretrained(tmp_path / f"one/checkpoint-6/{part}").linear.weight
        for name in ("two", "resumed"):
            found = Line.from_pretrained(tmp_path / name / f"checkpoint-6/{part}").linear.weight
            torch.testing.assert_close(found, wanted)
