"""The frame of a run, with the smallest model there can be."""

import json
import os
import shutil
import signal
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from diffusers.optimization import get_scheduler
from small_run import OPTIONS, Line, make_run, train

from diffusers_handiffuser.training.engine.checkpointing import find_checkpoint, list_checkpoints
from diffusers_handiffuser.training.engine.optimization import LearningRate, build_optimizer
from diffusers_handiffuser.training.engine.option_parser import parse_options
from diffusers_handiffuser.training.engine.options import TrainingOptions
from diffusers_handiffuser.training.engine.randomness import BatchRandom, ShuffledRows, seeded_generator
from diffusers_handiffuser.training.engine.run import count_training_rows, prepare_model


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


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


class TestRateOfResumedRuns:
    """A schedule that ends with the run gives another rate where the run becomes longer."""

    def warning(self, tmp_path, *options) -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run, _ = make_run(tmp_path, *OPTIONS, "--resume_from_checkpoint", "latest", *options)
        rate = run.learning_rate(run.step, run.progress)
        return " ".join(str(warning.message) for warning in caught).replace(f"to {rate:.3g}", "to NEW")

    def test_a_jump_is_reported(self, tmp_path):
        train(tmp_path, *OPTIONS)
        last = log_of(tmp_path)[-1]["lr"]
        for options in (("--max_train_steps", 12), ("--max_train_steps", 9, "--lr_scheduler", "linear")):
            text = self.warning(tmp_path, *options)
            assert f"The learning rate jumps from {last:.3g} to NEW on resuming at step 6" in text, text
            assert f"over {options[1]} steps" in text

    @pytest.mark.parametrize("name", ["constant", "constant_with_warmup", "cosine", "constant_with_decay"])
    def test_a_rate_that_goes_on_is_not(self, tmp_path, name):
        options = ("--lr_scheduler", name)
        train(tmp_path, *OPTIONS, *options)
        assert "jumps" not in self.warning(tmp_path, *options)  # which is finished
        shutil.rmtree(tmp_path / "checkpoint-6")
        assert "jumps" not in self.warning(tmp_path, *options)
        if name in ("constant", "constant_with_warmup"):
            assert "jumps" not in self.warning(tmp_path, *options, "--max_train_steps", 12)
        assert "jumps" in self.warning(tmp_path, *options, "--learning_rate", 0.5)

    def test_nor_is_that_of_a_run_by_time(self, tmp_path, monkeypatch):
        by_time = ("--lr_scheduler", "cosine", "--max_train_minutes")
        run, _ = make_run(tmp_path, *by_time, 1)
        run.seconds, run.step = 30.0, 3
        run.optimizer.param_groups[0]["lr"] = run.learning_rate(2, 0.5)
        run.save_checkpoint()
        for minutes, jumps in ((1, False), (2, True)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                make_run(tmp_path, *by_time, minutes, "--resume_from_checkpoint", "latest")
            assert any("jumps" in str(warning.message) for warning in caught) is jumps, minutes


def test_ema_is_saved_with_its_buffers_and_used_in_validation(tmp_path):
    seen = []
    run, model = make_run(tmp_path, *OPTIONS, "--ema_decay", 0.5)
    run.train(lambda rows, random: {"loss": run.objective(random.normal(3)).square().mean()},
              lambda whole: seen.append(whole.linear.weight.clone()) or {"number": 1.0})  # fmt: skip
    averaged = Line.from_pretrained(tmp_path / "checkpoint-6/line_ema")
    assert torch.equal(averaged.linear.weight, seen[0])
    assert not torch.equal(model.linear.weight, seen[0])
    assert averaged.offset.item() == 0.5
    with run.whole_objective() as whole:
        assert torch.equal(whole.linear.weight, seen[0])
    assert not torch.equal(model.linear.weight, seen[0])
    assert log_of(tmp_path)[-1]["validation_number"] == 1.0


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


def test_run_by_time_ends_and_decays(tmp_path):
    run = train(tmp_path, "--max_train_minutes", 0.005, "--lr_scheduler", "linear", "--logging_steps", 1)
    assert run.finished and run.seconds >= 0.3
    assert list_checkpoints(tmp_path)
    rates = [line["lr"] for line in log_of(tmp_path) if "lr" in line]
    assert rates[-1] < max(rates)


def test_every_row_comes_once_per_epoch():
    order = ShuffledRows(7, seed=3)
    stream = np.concatenate([order[start : start + 5] for start in range(0, 35, 5)])
    assert all(sorted(epoch) == list(range(7)) for epoch in stream.reshape(5, 7))
    assert not np.array_equal(stream[:7], stream[7:14])
    assert np.array_equal(ShuffledRows(7, seed=3)[12:20], stream[12:20])


def test_random_numbers_of_a_row_do_not_depend_on_the_processes():
    def draw(rows):
        random = BatchRandom(seeded_generator(0, "step", 5), 4, rows)
        return random.one_uniform(), random.normal(3), random.uniform(), random.integers(10, 2)

    whole, parts = draw(slice(0, 4)), [draw(slice(0, 2)), draw(slice(2, 4))]
    assert whole[0] == parts[0][0] == parts[1][0]
    for ours, first, second in zip(whole[1:], parts[0][1:], parts[1][1:], strict=True):
        assert torch.equal(ours, torch.cat([first, second]))


def parsed(*options) -> TrainingOptions:
    return parse_options(TrainingOptions, ["--output_dir", "o", "--max_train_steps", "1", *map(str, options)])


def schedule(max_steps, name, *options) -> LearningRate:
    """With rates from 0 to 1."""
    optimizer = parsed("--lr_scheduler", name, "--learning_rate", 1, *options).optimizer
    return LearningRate(optimizer, max_steps)


@pytest.mark.parametrize(
    "name", ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]
)
def test_learning_rates_are_those_of_diffusers_step_for_step(name):
    options = parsed("--lr_scheduler", name, "--lr_warmup_steps", 3).optimizer
    ours = LearningRate(options, 10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=options.learning_rate)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=10)
    for step in range(10):
        assert ours(step, 0.0) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", (1.0, 1.0, 1.0)),
        ("constant_with_warmup", (0.5, 1.0, 1.0)),
        ("linear", (0.5, 0.5, 0.0)),
        ("cosine", (0.5, 0.5, 0.0)),
        ("constant_with_decay", (0.5, 1.0, 0.0)),
    ],
)
def test_learning_rates_of_a_run_by_time(name, factors):
    rate = schedule(None, name, "--lr_warmup_steps", 10)
    points = ((5, 0.0), (50, 0.5), (100, 1.0))
    assert [rate(step, progress) for step, progress in points] == pytest.approx(factors, abs=1e-6)


def test_constant_with_decay_falls_over_the_last_part_of_the_steps():
    rate = schedule(8, "constant_with_decay", "--lr_warmup_steps", 2, "--lr_decay_fraction", 0.5)
    assert [rate(step, step / 8) for step in range(8)] == pytest.approx([0, 0.5, 1, 1, 1, 0.75, 0.5, 0.25])


def test_scale_lr_multiplies_by_the_batch_of_a_step(tmp_path):
    run, _ = make_run(tmp_path, *OPTIONS, "--scale_lr", "--train_batch_size", 4, "--gradient_accumulation_steps", 3,
                      "--learning_rate", 0.01, "--lr_scheduler", "constant")  # fmt: skip
    assert run.learning_rate(0, 0.0) == pytest.approx(0.12)


class TestEightBitAdam:
    parameters = [torch.nn.Parameter(torch.zeros(2))]

    def test_needs_its_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
        monkeypatch.setitem(sys.modules, "bitsandbytes", None)
        with pytest.raises(ValueError, match=r"needs bitsandbytes: pip install \"\.\[8bit\]\""):
            build_optimizer(parsed("--use_8bit_adam").optimizer, self.parameters)

    def test_gets_the_options(self, monkeypatch):
        stand_in = types.SimpleNamespace(AdamW8bit=type("AdamW8bit", (torch.optim.AdamW,), {}))
        monkeypatch.setitem(sys.modules, "bitsandbytes", types.SimpleNamespace(optim=stand_in))
        monkeypatch.setitem(sys.modules, "bitsandbytes.optim", stand_in)
        options = parsed("--use_8bit_adam", "--learning_rate", 0.5, "--adam_beta2", 0.9, "--adam_weight_decay", 0.1)
        optimizer = build_optimizer(options.optimizer, self.parameters)
        assert type(optimizer) is stand_in.AdamW8bit
        group = optimizer.param_groups[0]
        assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.9, 0.9), 0.1)

    def test_the_real_one_trains_and_resumes(self, tmp_path):
        pytest.importorskip("bitsandbytes")
        options = (*OPTIONS, "--use_8bit_adam", "--use_cpu", "--logging_steps", 1)
        train(tmp_path / "whole", *options)
        shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
        train(tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
        assert log_of(tmp_path / "whole")[-1]["loss"] == log_of(tmp_path / "killed")[-1]["loss"]


def test_xformers_without_cuda_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`enable_xformers_memory_efficient_attention` needs a CUDA device, .* cpu"):
        make_run(tmp_path, *OPTIONS, "--use_cpu", "--enable_xformers_memory_efficient_attention")


def test_xformers_is_switched_on_or_its_absence_told(tmp_path):
    options = parsed("--enable_xformers_memory_efficient_attention").hardware
    device = torch.device("cuda")
    switched = []
    with_it = types.SimpleNamespace(enable_xformers_memory_efficient_attention=lambda: switched.append(True))
    prepare_model(with_it, options, device)
    prepare_model(torch.nn.Linear(1, 1), options, device)  # a model that knows no such thing stays as it is
    assert switched == [True]

    def without():
        raise ModuleNotFoundError("Refer to the pages of xformers")

    without_it = types.SimpleNamespace(enable_xformers_memory_efficient_attention=without)
    with pytest.raises(ValueError, match="`enable_xformers_memory_efficient_attention`: Refer to"):
        prepare_model(without_it, options, device)


def test_rows_to_train_on():
    assert count_training_rows(10, 3) == 7
    with pytest.raises(
        ValueError, match="--num_validation_rows 10 leaves none of 10 rows for training; try --num_validation_rows 1"
    ):
        count_training_rows(10, 10)


def test_offloaded_average_is_the_same(tmp_path, same_tree):
    train(tmp_path / "here", *OPTIONS)
    train(tmp_path / "offloaded", *OPTIONS, "--offload_ema")
    same_tree(tmp_path / "here/checkpoint-6", tmp_path / "offloaded/checkpoint-6")


def test_validation_by_epochs(tmp_path):
    seen = []
    run, _ = make_run(tmp_path, *OPTIONS, "--validation_epochs", 1)  # 10 rows, 4 in a step
    run.train(lambda rows, random: {"loss": run.objective(random.normal(3)).square().mean()},
              lambda whole: seen.append(run.step) or {})  # fmt: skip
    assert seen == [3, 6]


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
