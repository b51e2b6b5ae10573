"""Trains in children that are killed at random moments, for `test_killed.py`: python killed_run.py FOLDER

A process of its own, because a child may only be forked from one that has trained nothing yet.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from small_run import train

from diffusers_handiffuser.training.engine.checkpointing import STATE_NAME, list_checkpoints

STEPS = 12
OPTIONS = ("--max_train_steps", STEPS, "--checkpointing_steps", 1, "--checkpoints_total_limit", 2, "--use_ema",
           "--lr_scheduler", "cosine", "--gradient_accumulation_steps", 2, "--logging_steps", 1,
           "--use_cpu")  # fmt: skip


def start(folder: Path) -> int:
    """A child that trains, or goes on, and writes down which rows each step takes; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(f"{folder}.rows", "a") as rows, open(f"{folder}.out", "a") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)

            def tell(run) -> None:
                rows.write(json.dumps([run.step, run.seen[-1].tolist()]) + "\n")
                rows.flush()

            train(folder, *OPTIONS, "--resume_from_checkpoint", "latest", compute=tell)
        code = 0
    finally:
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """The exit code of a child, or None if it is still running after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill_until_done(folder: Path, seconds: float) -> int:
    """Kills again and again, each time a little later; a whole run takes so many seconds. Returns how often."""
    kills, patience = 0, random.Random(0)
    while (code := wait(child := start(folder), seconds * (patience.uniform(0.05, 0.3) + 0.05 * kills))) is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        for checkpoint in list_checkpoints(folder):
            assert {"line", "line_ema", "optimizer.bin", STATE_NAME} <= {path.name for path in checkpoint.iterdir()}
    assert code == 0, Path(f"{folder}.out").read_text()
    return kills


if __name__ == "__main__":
    folder, begin = Path(sys.argv[1]), time.monotonic()
    assert wait(start(folder / "whole"), 300) == 0, (folder / "whole.out").read_text()
    (folder / "kills").write_text(str(kill_until_done(folder / "killed", time.monotonic() - begin)))
