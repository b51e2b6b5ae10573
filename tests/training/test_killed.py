"""A run that is killed again and again, at any moment, ends bit-equal with one that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffusers_handiffuser.training.engine.checkpointing import STATE_NAME, find_checkpoint, list_checkpoints


def last_lines(folder) -> dict[int, tuple]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: (line["loss"], line["grad_norm"], line["lr"]) for line in lines if "loss" in line}


def rows_by_step(path) -> dict[int, list]:
    """The rows of the two forward passes of each step, as they were taken last."""
    rows = {}
    for line in path.read_text().splitlines():
        step, taken = json.loads(line)
        rows.setdefault(step, []).append(taken)
    return {step: taken[-2:] for step, taken in rows.items()}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_killed_at_random_ends_bit_equal(tmp_path, same_tree):
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run([sys.executable, script, tmp_path], stderr=subprocess.PIPE, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "kills").read_text()) >= 3

    ends = [find_checkpoint(tmp_path / name, "latest") for name in ("whole", "killed")]
    assert [end.name for end in ends] == ["checkpoint-12"] * 2
    same_tree(*ends)
    states = [json.loads((end / STATE_NAME).read_text()) for end in ends]
    assert states[0]["ema"] == states[1]["ema"] and states[0]["step"] == states[1]["step"]
    assert last_lines(tmp_path / "whole") == last_lines(tmp_path / "killed")
    assert rows_by_step(tmp_path / "whole.rows") == rows_by_step(tmp_path / "killed.rows")
    assert list_checkpoints(tmp_path / "killed") and not list((tmp_path / "killed").glob("*.tmp"))
