"""The training loop: batches, optimiser, learning rate, checkpoints, resume, in one process or many.

A trainer builds its data and an objective (a module whose forward computes the loss of a batch), and calls
`TrainingRun.train`. All randomness is a function of the seed and the step number, so a run that was killed and resumed
ends with the weights of an uninterrupted one. Processes, precision and sharding are accelerate's; a global batch is
split between processes, so their number changes no row and no noise.
"""

import contextlib
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import DistributedType, ProjectConfiguration
from torch.distributed.tensor import DTensor
from transformers.integrations import unset_hf_deepspeed_config

from . import checkpointing
from .optimization import LearningRate, build_optimizer
from .option_parser import option_values
from .options import HardwareOptions, TrainingOptions
from .processes import Processes
from .randomness import BatchRandom, ShuffledRows, seeded_generator
from .tracking import RunLog, check_report_to
from .weights import RunWeights

_RATE_TOLERANCE = 0.02
"""By how much of its peak the learning rate may differ on resuming: runs by time do not know when a step began."""


class TrainingRun:
    """One training run.

    Args:
        options (`TrainingOptions`): of the loop; those that a subclass adds are logged, too.
        accelerator (`Accelerator`): of `start_run`.
        objective (`torch.nn.Module`): its forward computes the loss, or what the loss is computed from; all its
            parameters that require a gradient are trained.
        models (`dict[str, ModelMixin | PreTrainedModel]`): the trained models inside the objective; each is written
            to the sub-folder of its name.
        num_rows (`int`, *optional*): rows to draw from; `None` for a stream, which has an order of its own.
        whole (`bool`): the models are trained as a whole, and written with `save_pretrained`; else checkpoints hold
            their trained parameters alone.
    """

    def __init__(
        self,
        options: TrainingOptions,
        accelerator: Accelerator,
        objective: torch.nn.Module,
        models: dict,
        num_rows: int | None,
        whole: bool = True,
    ):
        self.options, self.accelerator = options, accelerator
        self.output_dir = Path(options.run.output_dir)
        for model in models.values():
            prepare_model(model, options.hardware, accelerator.device)

        run = options.run
        self.forward_batch = run.train_batch_size * accelerator.num_processes
        self.step_batch = self.forward_batch * run.gradient_accumulation_steps
        self.max_steps = self._steps(run.max_train_steps, run.num_train_epochs, num_rows)
        self.validation_steps = self._steps(run.validation_steps, run.validation_epochs, num_rows)
        self.order = ShuffledRows(num_rows, run.seed)

        self.weights = RunWeights(options.ema, accelerator, objective, models, whole)
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.num_trained = sum(parameter.numel() for parameter in trained)
        self.learning_rate = LearningRate(options.optimizer, self.max_steps, self.step_batch)
        optimizer = build_optimizer(options.optimizer, trained)
        del trained  # else sharding would not free them
        self.objective, self.optimizer = accelerator.prepare(objective, optimizer)
        self.weights.start(self.objective)
        accelerator.register_save_state_pre_hook(self.weights.save)
        accelerator.register_load_state_pre_hook(self.weights.load)
        self.processes = Processes(accelerator)
        self.reports = RunLog(options.tracking, self.output_dir, accelerator, self.max_steps, option_values(options))

        self.step = 0
        self.seconds = 0.0
        self.following_rows: np.ndarray = np.empty(0, dtype=np.int64)
        """Rows of the next forward pass, for reading ahead."""
        self._signal = 0
        self._stopped_by = 0
        self._unchecked: list[tuple[int, list[int], torch.Tensor]] = []
        self._resume(options.checkpoints.resume_from_checkpoint)

    def _steps(self, steps: int | None, epochs: int | None, num_rows: int | None) -> int | None:
        """A number of optimiser steps that may be given in passes over the data."""
        if steps is not None or epochs is None or num_rows is None:
            return steps
        return math.ceil(epochs * num_rows / self.step_batch)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def progress(self) -> float:
        """The part of the run that is done, by steps if their number is given, else by time."""
        if self.max_steps is not None:
            return self.step / self.max_steps
        return self.seconds / (60.0 * (self.options.run.max_train_minutes or math.inf))

    @property
    def finished(self) -> bool:
        minutes = self.options.run.max_train_minutes
        out_of_time = minutes is not None and self.seconds >= 60.0 * minutes
        return out_of_time or (self.max_steps is not None and self.step >= self.max_steps)

    def train(
        self,
        compute_loss: Callable[[np.ndarray, BatchRandom], dict[str, torch.Tensor]],
        validate: Callable[[Any], dict[str, float]] | None = None,
    ) -> None:
        """Trains until the run is finished.

        Args:
            compute_loss: gets the row numbers of this process and their `BatchRandom`, calls `self.objective` and
                returns scalars by name; the one called "loss" is minimised, all are logged.
            validate: called in the main process every `validation_steps` and at the end, with the objective as
                `whole_objective` gives it; returns numbers to log.
        """
        with self._saving_on_signals():
            self.reports.start(self.step)
            clock = time.monotonic()
            logged, logged_clock = self.step, clock
            sums: dict[str, torch.Tensor] = {}
            while not self.finished:
                scalars = self._take_step(compute_loss)
                for name, value in scalars.items():
                    sums[name] = sums.get(name, 0.0) + value
                now = time.monotonic()
                self._agree(self.seconds + now - clock)
                clock = now
                self.reports.advance(self.step)

                if self.step % self.options.tracking.logging_steps == 0 or self.finished:
                    self._check_finite()
                    means = self._means(sums, self.step - logged)
                    rate = (self.step - logged) * self.step_batch / max(time.monotonic() - logged_clock, 1e-9)
                    lr = self.optimizer.param_groups[0]["lr"]
                    self.log({**means, "lr": lr, "samples_per_second": round(rate, 2)})
                    logged, logged_clock, sums = self.step, time.monotonic(), {}
                if self._stopped_by:
                    self.save_checkpoint()
                    self.log({"stopped_by_signal": self._stopped_by})
                    raise SystemExit(128 + self._stopped_by)
                pause = time.monotonic()
                if self.step % self.options.checkpoints.checkpointing_steps == 0 or self.finished:
                    self.save_checkpoint()
                every = self.validation_steps
                if validate is not None and (self.finished or (every and self.step % every == 0)):
                    self.validate(validate)
                logged_clock += time.monotonic() - pause

    def _take_step(self, compute_loss: Callable) -> dict[str, torch.Tensor]:
        """One optimiser step; returns its scalars, averaged over the accumulated forward passes."""
        rate, max_norm = self.learning_rate(self.step, self.progress), self.options.optimizer.max_grad_norm
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        accumulation = self.options.run.gradient_accumulation_steps
        scalars, losses_here = {}, []
        for part in range(accumulation):
            rows, random = self._draw(part)
            with self.accelerator.accumulate(self.objective):
                with self.accelerator.autocast():
                    losses = compute_loss(rows, random)
                self.accelerator.backward(losses["loss"])
                if self.accelerator.sync_gradients and max_norm > 0:
                    norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), max_norm)
                    if norm is not None:
                        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
                        scalars["grad_norm"] = torch.as_tensor(norm, device=self.device).float()
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in losses.items():
                scalars[name] = scalars.get(name, 0.0) + value.detach().float() / accumulation
            losses_here.append((self.step, rows.tolist(), losses["loss"].detach()))
        self._check_finite()
        self._unchecked = losses_here
        self.weights.averages.step()
        self.step += 1
        return scalars

    def _draw(self, part: int) -> tuple[np.ndarray, BatchRandom]:
        """This process's rows and random numbers of one forward pass."""
        first = self.step * self.step_batch + part * self.forward_batch
        number, size = self.accelerator.process_index, self.options.run.train_batch_size
        mine = slice(number * size, (number + 1) * size)
        rows = self.order[first : first + self.forward_batch][mine]
        self.following_rows = self.order[first + self.forward_batch : first + 2 * self.forward_batch][mine]
        generator = seeded_generator(self.options.run.seed, "step", self.step, part)
        torch.manual_seed(int(generator.initial_seed() + number) % 2**63)
        return rows, BatchRandom(generator, self.forward_batch, mine, self.device)

    def _agree(self, seconds: float) -> None:
        """Makes all processes stop at the same step, and share one clock."""
        stopped_by, self.seconds = self.processes.largest(self._signal, seconds)
        self._stopped_by = int(stopped_by)

    def _means(self, sums: dict[str, torch.Tensor], steps: int) -> dict[str, float]:
        """Means over the steps since the last line and over all processes."""
        names = sorted(sums)
        means = torch.stack([sums[name].to(self.device) / steps for name in names])
        if self.accelerator.num_processes > 1:
            means = self.accelerator.reduce(means, "mean")
        return dict(zip(names, means.tolist(), strict=True))

    def _check_finite(self) -> None:
        """Stops the run if a loss of the latest step was NaN or infinite.

        Called after the next step is computed, so as not to wait for the device, and before logging and saving.
        """
        bad = [(step, rows, value) for step, rows, loss in self._unchecked if not math.isfinite(value := loss.item())]
        self._unchecked = []
        if not self.processes.largest(len(bad))[0]:
            return
        found = "; ".join(
            f"the loss is {v} at step {step} (rows {rows})" for step, rows, v in self.processes.gather(bad)
        )
        good = checkpointing.list_checkpoints(self.output_dir)
        raise FloatingPointError(f"{found}; last good checkpoint: {good[-1] if good else 'none'}")

    def validate(self, validate: Callable[[Any], dict[str, float]]) -> None:
        with self.whole_objective() as objective:
            if objective is not None:
                training = objective.training
                objective.eval()
                with torch.no_grad(), self.accelerator.autocast():
                    numbers = validate(objective)
                objective.train(training)
                if numbers:
                    self.log({f"validation_{name}": value for name, value in numbers.items()})
        self.accelerator.wait_for_everyone()

    def whole_objective(self) -> contextlib.AbstractContextManager[Any]:
        """The unwrapped objective, with the averaged weights if there are any; `None` in all but the main process.

        A collective operation.
        """
        return self.weights.whole_objective()

    def log(self, numbers: dict) -> None:
        """Logs scalars of this step, see `tracking.RunLog`."""
        self.reports.numbers(self.step, self.seconds / 60.0, numbers)

    def show(self, name: str, image: np.ndarray) -> Path:
        """Logs an image of this step, see `tracking.RunLog`."""
        return self.reports.image(self.step, name, image)

    def save_checkpoint(self) -> None:
        self._check_finite()
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "ema": self.weights.averages.state_dict(),
        }
        checkpointing.write_checkpoint(
            self.output_dir,
            state,
            self.accelerator.save_state,
            self.options.checkpoints.checkpoints_total_limit,
            self.accelerator.is_main_process,
            self.accelerator.wait_for_everyone,
        )

    def close(self) -> None:
        """Ends the run's trackers and its process group."""
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def _resume(self, resume_from: str | None) -> None:
        """Goes on from a checkpoint, if the options ask; else refuses a folder that holds some."""
        checkpoint = checkpointing.find_checkpoint(self.output_dir, resume_from)
        if checkpoint is None:
            if checkpointing.list_checkpoints(self.output_dir):
                raise ValueError(
                    f"`output_dir` {self.output_dir} holds checkpoints of an earlier run: "
                    "continue it with --resume_from_checkpoint latest, or choose another folder"
                )
            return
        state, averages = checkpointing.read_state(checkpoint), self.weights.averages
        if not averages.emas.keys() <= state["ema"].keys():
            raise ValueError(f"`resume_from_checkpoint`: {checkpoint} was written without --use_ema")
        self.accelerator.load_state(checkpoint)
        self.step, self.seconds = state["step"], state["seconds"]
        averages.load_state_dict(state["ema"])
        self.log({"resumed_from": str(checkpoint)})
        if self.accelerator.is_main_process:
            self._warn_if_rate_jumps()
            checkpointing.tidy(self.output_dir)

    def _warn_if_rate_jumps(self) -> None:
        """Compares the checkpoint's last rate with what these options give for its step, as after more steps."""
        last = float(self.optimizer.param_groups[0]["lr"])
        progress = self.progress if self.max_steps is None else (self.step - 1) / self.max_steps
        same = self.learning_rate(self.step - 1, progress)
        if self.finished or abs(same - last) <= _RATE_TOLERANCE * max(self.learning_rate.peak, last):
            return
        rate, run, options = self.learning_rate(self.step, self.progress), self.options.run, self.options.optimizer
        length = f"{run.max_train_minutes:g} minutes" if self.max_steps is None else f"{self.max_steps} steps"
        warnings.warn(
            f"The learning rate jumps from {last:.3g} to {rate:.3g} on resuming at step {self.step}: the run before "
            f"had another length or other options than --lr_scheduler {options.lr_scheduler} with --learning_rate "
            f"{options.learning_rate:g} over {length}.",
            stacklevel=2,
        )

    @contextlib.contextmanager
    def _saving_on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the current step, with a checkpoint; a second SIGINT at once."""

        def stop(number: int, frame: object) -> None:
            if self._signal and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = number

        previous = {}
        if threading.current_thread() is threading.main_thread():  # no other may handle signals in Python
            previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            self.reports.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)


def start_run(options: TrainingOptions, find_unused_parameters: bool = False) -> Accelerator:
    """Sets up logging, torch, the output folder and the accelerator; the first call of a trainer.

    Args:
        options (`TrainingOptions`): of the loop.
        find_unused_parameters (`bool`): some steps leave out some of the trained parameters.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # so that a log that goes to a file can be followed
    transformers.utils.logging.disable_progress_bar()
    check_report_to(options.tracking.report_to)
    run, hardware, tracking = options.run, options.hardware, options.tracking
    if hardware.num_threads is not None:
        torch.set_num_threads(hardware.num_threads)
    if hardware.allow_tf32:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    Path(run.output_dir).mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=hardware.mixed_precision,
        cpu=hardware.use_cpu,
        gradient_accumulation_steps=run.gradient_accumulation_steps,
        log_with=None if tracking.report_to == "none" else tracking.report_to,
        project_config=ProjectConfiguration(run.output_dir, str(Path(run.output_dir, tracking.logging_dir))),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters),
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),  # the others wait for what one process does alone
        ],
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        _configure_deepspeed(accelerator, options)
    return accelerator


def _configure_deepspeed(accelerator: Accelerator, options: TrainingOptions) -> None:
    """Copies the options, and what saving needs, into DeepSpeed's configuration."""
    accumulation = options.run.gradient_accumulation_steps
    accelerator.gradient_accumulation_steps = accumulation  # accelerate's own settings went first
    config = accelerator.state.deepspeed_plugin.deepspeed_config
    config["gradient_accumulation_steps"] = accumulation
    config["train_micro_batch_size_per_gpu"] = options.run.train_batch_size
    config["gradient_clipping"] = options.optimizer.max_grad_norm
    config.setdefault("zero_optimization", {})["stage3_gather_16bit_weights_on_model_save"] = True
    unset_hf_deepspeed_config()  # else transformers spreads every model that it loads at stage 3, frozen ones too


def prepare_model(model: Any, options: HardwareOptions, device: torch.device) -> None:
    """Enables gradient checkpointing and xformers in a model, as the options ask."""
    if options.gradient_checkpointing:
        names = (  # diffusers, transformers, older transformers
            "enable_gradient_checkpointing",
            "activation_checkpointing_enable",
            "gradient_checkpointing_enable",
        )
        next(getattr(model, name) for name in names if hasattr(model, name))()
    if options.enable_xformers_memory_efficient_attention:
        if device.type != "cuda":
            raise ValueError(
                f"`enable_xformers_memory_efficient_attention` needs a CUDA device, but this run is on {device}"
            )
        if hasattr(model, "enable_xformers_memory_efficient_attention"):  # transformers' models do not
            try:
                model.enable_xformers_memory_efficient_attention()
            except (ImportError, ModuleNotFoundError, ValueError) as error:
                raise ValueError(f"`enable_xformers_memory_efficient_attention`: {error}") from error


def count_training_rows(num_rows: int, num_validation_rows: int) -> int:
    """Number of rows for training when the last ones are held out; raises a `ValueError` if there are none."""
    if num_rows - num_validation_rows < 1:
        fewer = min(max(1, num_rows // 10), num_rows - 1)
        raise ValueError(
            f"--num_validation_rows {num_validation_rows} leaves none of {num_rows} rows for training; "
            f"try --num_validation_rows {fewer}"
        )
    return num_rows - num_validation_rows
