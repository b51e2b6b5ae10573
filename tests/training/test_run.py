"""The frame of a run, with the smallest model there can be."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from diffusers_handiffuser.training.checkpointing import find_checkpoint, list_checkpoints, write_checkpoint
from diffusers_handiffuser.training.options import add_training_options, check_training_options
from diffusers_handiffuser.training.run import (
    BatchRandom,
    RowOrder,
    TrainingRun,
    learning_rate_factor,
    seeded_generator,
    start_run,
)

ROWS = 10


class Line(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 3):
        super().__init__()
        self.linear = torch.nn.Linear(width, 1)
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, x):
        return self.linear(x) + self.offset


def make_run(folder, *options) -> tuple[TrainingRun, Line]:
    parser = argparse.ArgumentParser()
    add_training_options(parser, train_batch_size=4, logging_steps=2, learning_rate=0.01, lr_warmup_steps=2)
    args = parser.parse_args(["--output_dir", str(folder), *map(str, options)])
    check_training_options(parser, args)
    torch.manual_seed(0)
    model = Line()
    model.offset.fill_(0.5)
    return TrainingRun(args, start_run(args), model, {"line": model}, ROWS), model


def train(folder, *options, compute=None, validate=None) -> TrainingRun:
    run, _ = make_run(folder, *options)
    seen = []

    def compute_loss(rows, random):
        seen.append(rows)
        if compute is not None:
            compute(run)
        x = torch.from_numpy(rows).float()[:, None] / ROWS + 0.1 * random.normal(3)
        loss = (run.objective(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": loss}

    run.seen = seen
    run.train(compute_loss, validate)
    return run


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


TWO_PROCESSES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run import OPTIONS, train
train(Path(sys.argv[2]), *OPTIONS, "--train_batch_size", 2, "--use_cpu")
"""
OPTIONS = ("--max_train_steps", 6, "--checkpointing_steps", 2, "--use_ema", "--lr_scheduler", "cosine")


def test_resumed_run_ends_bit_equal(tmp_path, same_tree):
    whole = train(tmp_path / "whole", *OPTIONS, "--gradient_accumulation_steps", 2)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    (tmp_path / "killed/checkpoint-4.tmp").mkdir()
    (tmp_path / "killed/checkpoint-6").mkdir()  # renamed by hand, without a state: not complete
    resumed = train(
        tmp_path / "killed", *OPTIONS, "--gradient_accumulation_steps", 2, "--resume_from_checkpoint", "latest"
    )
    assert np.array_equal(np.concatenate(whole.seen[4:]), np.concatenate(resumed.seen))
    for step in (4, 6):
        same_tree(tmp_path / f"whole/checkpoint-{step}", tmp_path / f"killed/checkpoint-{step}")
    ours, theirs = (log_of(tmp_path / name)[-1] for name in ("whole", "killed"))
    assert (ours["loss"], ours["lr"]) == (theirs["loss"], theirs["lr"])


def test_ema_is_saved_with_its_buffers_and_used_in_validation(tmp_path):
    seen = []
    run, model = make_run(tmp_path, *OPTIONS, "--ema_decay", 0.5)
    run.train(lambda rows, random: {"loss": run.objective(random.normal(3)).square().mean()},
              lambda: seen.append(model.linear.weight.clone()) or {"number": 1.0})  # fmt: skip
    averaged = Line.from_pretrained(tmp_path / "checkpoint-6/line_ema")
    assert torch.equal(averaged.linear.weight, seen[0])
    assert not torch.equal(model.linear.weight, seen[0])
    assert averaged.offset.item() == 0.5
    run.save_models(tmp_path)
    assert torch.equal(Line.from_pretrained(tmp_path / "line").linear.weight, seen[0])
    assert log_of(tmp_path)[-1]["validation_number"] == 1.0


@pytest.mark.slow
def test_two_processes_end_where_one_does(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", TWO_PROCESSES, str(Path(__file__).parent), str(tmp_path / "shared")]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(command, env={**common, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    train(tmp_path / "alone", *OPTIONS)
    assert [path.name for path in list_checkpoints(tmp_path / "shared")] == [f"checkpoint-{k}" for k in (2, 4, 6)]
    for part in ("line", "line_ema"):
        ours, theirs = (
            Line.from_pretrained(tmp_path / name / "checkpoint-6" / part).state_dict() for name in ("alone", "shared")
        )
        for key in ours:
            torch.testing.assert_close(theirs[key], ours[key])


def test_sigterm_saves_and_exits_and_the_rest_follows_on(tmp_path, same_tree):
    train(tmp_path / "whole", *OPTIONS)

    def stop(run):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "stopped", *OPTIONS, compute=stop)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert find_checkpoint(tmp_path / "stopped", "latest").name == "checkpoint-3"
    train(tmp_path / "stopped", *OPTIONS, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-6", tmp_path / "stopped/checkpoint-6")


def test_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path):
    run, _ = make_run(tmp_path, *OPTIONS)

    def compute_loss(rows, random):
        scale = float("nan") if run.step == 3 else 1.0
        return {"loss": scale * run.objective(random.normal(3)).square().mean()}

    with pytest.raises(
        FloatingPointError, match=r"nan at step 3 \(rows \[.*\]\); last good checkpoint: .*checkpoint-2"
    ):
        run.train(compute_loss)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-2"]


def test_only_the_newest_checkpoints_stay(tmp_path):
    train(tmp_path, *OPTIONS, "--checkpoints_total_limit", 2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-6"]


def test_folder_of_an_earlier_run_is_not_mixed_up(tmp_path):
    train(tmp_path, *OPTIONS)
    with pytest.raises(ValueError, match="holds checkpoints of an earlier run"):
        make_run(tmp_path, *OPTIONS)
    with pytest.raises(FileNotFoundError, match="checkpoint-5 is not a complete checkpoint folder"):
        make_run(tmp_path, *OPTIONS, "--resume_from_checkpoint", "checkpoint-5")
    run, _ = make_run(tmp_path, *OPTIONS, "--resume_from_checkpoint", "checkpoint-4")
    assert run.step == 4


def test_checkpoint_that_fails_half_way_is_never_seen(tmp_path):
    def write(folder):
        (folder / "half").write_text("")
        raise OSError("disk full")

    write_checkpoint(tmp_path, {"step": 1}, lambda folder: None)
    with pytest.raises(OSError):
        write_checkpoint(tmp_path, {"step": 2}, write, total_limit=1)
    assert find_checkpoint(tmp_path, "latest").name == "checkpoint-1"
    assert find_checkpoint(tmp_path / "empty", "latest") is None


def test_run_by_time_ends_and_decays(tmp_path):
    run = train(tmp_path, "--max_train_minutes", 0.005, "--lr_scheduler", "linear", "--logging_steps", 1)
    assert run.finished and run.seconds >= 0.3
    assert list_checkpoints(tmp_path)
    rates = [line["lr"] for line in log_of(tmp_path) if "lr" in line]
    assert rates[-1] < rates[2]


def test_every_row_comes_once_per_epoch():
    order = RowOrder(7, seed=3)
    stream = np.concatenate([order[start : start + 5] for start in range(0, 35, 5)])
    assert all(sorted(epoch) == list(range(7)) for epoch in stream.reshape(5, 7))
    assert not np.array_equal(stream[:7], stream[7:14])
    assert np.array_equal(RowOrder(7, seed=3)[12:20], stream[12:20])


def test_random_numbers_of_a_row_do_not_depend_on_the_processes():
    def draw(rows):
        random = BatchRandom(seeded_generator(0, "step", 5), 4, rows)
        return random.one_uniform(), random.normal(3), random.uniform(), random.integers(10, 2)

    whole, parts = draw(slice(0, 4)), [draw(slice(0, 2)), draw(slice(2, 4))]
    assert whole[0] == parts[0][0] == parts[1][0]
    for ours, first, second in zip(whole[1:], parts[0][1:], parts[1][1:], strict=True):
        assert torch.equal(ours, torch.cat([first, second]))


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", (1.0, 1.0, 1.0)),
        ("constant_with_warmup", (0.1, 1.0, 1.0)),
        ("linear", (0.1, 0.5, 0.0)),
        ("cosine", (0.1, 0.5, 0.0)),
        ("constant_with_decay", (0.1, 1.0, 0.0)),
    ],
)
def test_learning_rates(name, factors):
    points = ((0, 0.0), (50, 0.5), (100, 1.0))
    found = [learning_rate_factor(name, step, 10, progress, 0.25) for step, progress in points]
    assert found == pytest.approx(factors)


@pytest.mark.parametrize(
    "options",
    [
        ("--max_train_steps", "0"),
        (),
        ("--max_train_steps", "5", "--train_batch_size", "0"),
        ("--max_train_steps", "5", "--ema_decay", "1"),
    ],
)
def test_options_that_cannot_work_are_refused(options, tmp_path, capsys):
    with pytest.raises(SystemExit):
        make_run(tmp_path, *options)
    assert "--" in capsys.readouterr().err
