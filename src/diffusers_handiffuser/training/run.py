"""The frame of a training run: batches, optimiser, EMA, learning rate, logging, checkpoints, resume.

A trainer builds its data and an objective (a module whose forward computes the loss of a batch), and calls
`TrainingRun.train`. Everything that varies from step to step is a function of the seed and the step number, so a run
that was killed and resumed ends with the weights of one that never was.
"""

import argparse
import contextlib
import copy
import hashlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from accelerate import Accelerator
from diffusers.training_utils import EMAModel

from ..hub import forget_origin
from . import checkpointing


def seeded_generator(seed: int, *key) -> torch.Generator:
    """CPU generator whose stream depends on the seed and on every part of the key."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class BatchRandom:
    """Random numbers for the rows of one step.

    Drawn on the CPU for the whole batch of all processes, then cut to `rows`, the slice that this process holds: what
    a row receives does not depend on how the batch is shared.
    """

    def __init__(self, generator: torch.Generator, batch_size: int, rows: slice, device: torch.device | str = "cpu"):
        self.generator, self.batch_size, self.rows, self.device = generator, batch_size, rows, device

    def one_uniform(self) -> float:
        """One number in [0, 1) for the whole batch, the same in all processes."""
        return float(torch.rand((), generator=self.generator))

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers (rows, *shape)."""
        return torch.randn(self.batch_size, *shape, generator=self.generator)[self.rows].to(self.device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Numbers in [0, 1) of shape (rows, *shape)."""
        return torch.rand(self.batch_size, *shape, generator=self.generator)[self.rows].to(self.device)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers in [0, high) of shape (rows, *shape)."""
        return torch.randint(high, (self.batch_size, *shape), generator=self.generator)[self.rows].to(self.device)


class RowOrder:
    """An endless stream of row numbers: one permutation per pass over the data, read at any position."""

    def __init__(self, num_rows: int, seed: int):
        self.num_rows, self.seed = num_rows, seed
        self._epoch, self._order = None, None

    def __getitem__(self, positions: slice) -> np.ndarray:
        taken = []
        position = positions.start
        while position < positions.stop:
            epoch, offset = divmod(position, self.num_rows)
            if epoch != self._epoch:
                generator = seeded_generator(self.seed, "epoch", epoch)
                self._epoch, self._order = epoch, torch.randperm(self.num_rows, generator=generator).numpy()
            part = self._order[offset : offset + positions.stop - position]
            taken.append(part)
            position += len(part)
        return np.concatenate(taken)


def learning_rate_factor(
    name: str, step: int, warmup_steps: int, progress: float, decay_fraction: float = 0.2
) -> float:
    """What the learning rate is multiplied by; `progress` in [0, 1] is the part of the run that is done."""
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 and name != "constant" else 1.0
    left = 1.0 - min(max(progress, 0.0), 1.0)
    if name in ("constant", "constant_with_warmup"):
        decay = 1.0
    elif name == "linear":
        decay = left
    elif name == "cosine":
        decay = 0.5 * (1.0 - math.cos(math.pi * left))
    elif name == "constant_with_decay":
        decay = min(1.0, left / decay_fraction) if decay_fraction > 0 else 1.0
    else:
        raise ValueError(f"`lr_scheduler` must be one of those `--help` names, but is {name}")
    return warmup * decay


class TrainingRun:
    """One training run.

    Args:
        args (`argparse.Namespace`): the options of `options.add_training_options`.
        accelerator (`Accelerator`): of `start_run`.
        objective (`torch.nn.Module`): its forward computes the loss, or what the loss is computed from; all its
            parameters that require a gradient are trained.
        models (`dict[str, ModelMixin | PreTrainedModel]`): the trained models inside the objective; each is written
            to the sub-folder of its name, with `save_pretrained`.
        num_rows (`int`): rows to draw from.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        accelerator: Accelerator,
        objective: torch.nn.Module,
        models: dict,
        num_rows: int,
    ):
        self.args, self.accelerator, self.models = args, accelerator, models
        self.output_dir = Path(args.output_dir)
        if args.gradient_checkpointing:
            names = (  # diffusers, transformers, older transformers
                "enable_gradient_checkpointing",
                "activation_checkpointing_enable",
                "gradient_checkpointing_enable",
            )
            for model in models.values():
                next(getattr(model, name) for name in names if hasattr(model, name))()

        self.process_batch = args.train_batch_size
        self.forward_batch = args.train_batch_size * self.accelerator.num_processes
        self.step_batch = self.forward_batch * args.gradient_accumulation_steps
        self.max_steps = args.max_train_steps
        if self.max_steps is None and args.num_train_epochs is not None:
            self.max_steps = math.ceil(args.num_train_epochs * num_rows / self.step_batch)
        self.order = RowOrder(num_rows, args.seed)

        parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters,
            lr=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            weight_decay=args.adam_weight_decay,
            eps=args.adam_epsilon,
            fused=True,
        )
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.parameters = parameters
        self.emas = {}
        if args.use_ema:
            self.emas = {
                name: EMAModel(model.parameters(), decay=args.ema_decay, foreach=True)
                for name, model in models.items()
            }
        self.accelerator.register_save_state_pre_hook(self._save_models)
        self.accelerator.register_load_state_pre_hook(self._load_models)

        self.step = 0
        self.seconds = 0.0
        self._stopped_by: int | None = None
        self._unchecked: tuple[int, np.ndarray, torch.Tensor] | None = None
        checkpoint = checkpointing.find_checkpoint(self.output_dir, args.resume_from_checkpoint)
        if checkpoint is not None:
            self._resume(checkpoint)
        elif checkpointing.list_checkpoints(self.output_dir):
            raise ValueError(
                f"`output_dir` {self.output_dir} holds checkpoints of an earlier run: "
                "continue it with --resume_from_checkpoint latest, or choose another folder"
            )

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def progress(self) -> float:
        """The part of the run that is done, by steps if their number is given, else by time."""
        if self.max_steps is not None:
            return self.step / self.max_steps
        return self.seconds / (60.0 * self.args.max_train_minutes)

    @property
    def finished(self) -> bool:
        minutes = self.args.max_train_minutes
        out_of_time = minutes is not None and self.seconds >= 60.0 * minutes
        return out_of_time or (self.max_steps is not None and self.step >= self.max_steps)

    def train(
        self,
        compute_loss: Callable[[np.ndarray, BatchRandom], dict[str, torch.Tensor]],
        validate: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """Trains until the run is finished.

        Args:
            compute_loss: gets the row numbers of this process and their `BatchRandom`, calls `self.objective` and
                returns scalars by name; the one called "loss" is minimised, all are logged.
            validate: called every `validation_steps` and at the end, with EMA weights in place; returns numbers to
                log.
        """
        with self._saving_on_signals():
            clock = time.monotonic()
            logged, logged_clock, sums = self.step, clock, {}
            while not self.finished:
                scalars = self._take_step(compute_loss)
                for name, value in scalars.items():
                    sums[name] = sums.get(name, 0.0) + value
                now = time.monotonic()
                self.seconds += now - clock
                clock = now

                if self.step % self.args.logging_steps == 0 or self.finished:
                    self._check_finite()
                    steps = self.step - logged
                    means = {name: float(value) / steps for name, value in sums.items()}
                    rate = steps * self.step_batch / max(time.monotonic() - logged_clock, 1e-9)
                    lr = self.optimizer.param_groups[0]["lr"]
                    self.log({**means, "lr": lr, "samples_per_second": round(rate, 2)})
                    logged, logged_clock, sums = self.step, time.monotonic(), {}
                if self._stopped_by is not None:
                    self.save_checkpoint()
                    self.log({"stopped_by_signal": self._stopped_by})
                    raise SystemExit(128 + self._stopped_by)
                pause = time.monotonic()
                if self.step % self.args.checkpointing_steps == 0 or self.finished:
                    self.save_checkpoint()
                every = self.args.validation_steps
                if validate is not None and (self.finished or (every and self.step % every == 0)):
                    self.validate(validate)
                logged_clock += time.monotonic() - pause

    def _take_step(self, compute_loss) -> dict[str, torch.Tensor]:
        """One optimiser step; returns its scalars, averaged over the accumulated forward passes."""
        factor = learning_rate_factor(
            self.args.lr_scheduler, self.step, self.args.lr_warmup_steps, self.progress, self.args.lr_decay_fraction
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.learning_rate * factor

        accumulation = self.args.gradient_accumulation_steps
        scalars = {}
        for part in range(accumulation):
            first = self.step * self.step_batch + part * self.forward_batch
            mine = slice(
                self.accelerator.process_index * self.process_batch,
                (self.accelerator.process_index + 1) * self.process_batch,
            )
            rows = self.order[first : first + self.forward_batch][mine]
            generator = seeded_generator(self.args.seed, "step", self.step, part)
            random = BatchRandom(generator, self.forward_batch, mine, self.device)
            torch.manual_seed(int(generator.initial_seed() + self.accelerator.process_index) % 2**63)
            last = part == accumulation - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.objective):
                with self.accelerator.autocast():
                    losses = compute_loss(rows, random)
                self.accelerator.backward(losses["loss"] / accumulation)
            for name, value in losses.items():
                scalars[name] = scalars.get(name, 0.0) + value.detach().float() / accumulation
            self._check_finite()
            self._unchecked = (self.step, rows, losses["loss"].detach())

        if self.args.max_grad_norm > 0:
            scalars["grad_norm"] = self.accelerator.clip_grad_norm_(self.parameters, self.args.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for name, ema in self.emas.items():
            ema.step(self.models[name].parameters())
        self.step += 1
        return scalars

    def _check_finite(self) -> None:
        """Stops the run if the latest loss was NaN or infinite. Read one forward pass late, so as not to wait."""
        if self._unchecked is None:
            return
        step, rows, loss = self._unchecked
        self._unchecked = None
        if not math.isfinite(loss.item()):
            good = checkpointing.list_checkpoints(self.output_dir)
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step} (rows {rows.tolist()}); "
                f"last good checkpoint: {good[-1] if good else 'none'}"
            )

    def validate(self, validate: Callable[[], dict[str, float]]) -> None:
        if not self.accelerator.is_main_process:
            return
        training = self.objective.training
        self.objective.eval()
        with self.ema_weights(), torch.no_grad():
            self.log({f"validation_{name}": value for name, value in validate().items()})
        self.objective.train(training)

    @contextlib.contextmanager
    def ema_weights(self) -> Iterator[None]:
        """The averaged weights inside the models, where there are any."""
        for name, ema in self.emas.items():
            ema.store(self.models[name].parameters())
            ema.copy_to(self.models[name].parameters())
        try:
            yield
        finally:
            for name, ema in self.emas.items():
                ema.restore(self.models[name].parameters())

    def save_models(self, folder: Path) -> None:
        """The models as they should be used (averaged if there is an average), each in the sub-folder of its name."""
        with self.ema_weights():
            for name, model in self.models.items():
                save_model(model, Path(folder) / name)

    def sample_path(self, name: str) -> Path:
        """Where a sample picture of this step goes."""
        path = self.output_dir / "samples" / f"{self.step:07d}-{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, numbers: dict) -> None:
        """One line to stdout and to log.jsonl."""
        if not self.accelerator.is_main_process:
            return
        minutes = round(self.seconds / 60.0, 2)
        with open(self.output_dir / "log.jsonl", "a") as lines:
            lines.write(json.dumps({"step": self.step, "minutes": minutes, **numbers}) + "\n")
        shown = " ".join(f"{name} {_short(value)}" for name, value in numbers.items())
        of = f"/{self.max_steps}" if self.max_steps is not None else ""
        print(f"step {self.step}{of} minutes {minutes} {shown}", flush=True)

    def save_checkpoint(self) -> None:
        self._check_finite()
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "ema": {name: {**ema.state_dict(), "shadow_params": None} for name, ema in self.emas.items()},
        }
        if self.accelerator.is_main_process:
            checkpointing.write_checkpoint(
                self.output_dir, state, self.accelerator.save_state, self.args.checkpoints_total_limit
            )
        self.accelerator.wait_for_everyone()

    def _save_models(self, objectives, weights, folder) -> None:
        weights.clear()
        for name, model in self.models.items():
            save_model(model, Path(folder) / name)
        for name, ema in self.emas.items():
            averaged = copy.deepcopy(self.models[name])
            ema.copy_to(averaged.parameters())
            save_model(averaged, Path(folder) / f"{name}_ema")

    def _load_models(self, objectives, folder) -> None:
        objectives.clear()
        for name, model in self.models.items():
            load_model(model, Path(folder) / name)
        for name, ema in self.emas.items():
            averaged = copy.deepcopy(self.models[name])
            load_model(averaged, Path(folder) / f"{name}_ema")
            ema.load_state_dict({"shadow_params": [p.detach().clone() for p in averaged.parameters()]})
            ema.to(self.device)

    def _resume(self, checkpoint: Path) -> None:
        state = checkpointing.read_state(checkpoint)
        missing = sorted(set(self.emas) - set(state["ema"]))
        if missing:
            raise ValueError(f"`resume_from_checkpoint`: {checkpoint} was written without --use_ema")
        self.accelerator.load_state(checkpoint)
        self.step, self.seconds = state["step"], state["seconds"]
        for name, ema in self.emas.items():
            ema.optimization_step = state["ema"][name]["optimization_step"]
        self.log({"resumed_from": str(checkpoint)})

    @contextlib.contextmanager
    def _saving_on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the current step, with a checkpoint; a second SIGINT at once."""

        def stop(number, frame):
            if self._stopped_by is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stopped_by = number

        if threading.current_thread() is not threading.main_thread():
            yield  # Python lets only the main thread handle signals
            return
        previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def start_run(args: argparse.Namespace) -> Accelerator:
    """Prepares process, torch and output folder as the options ask; the first thing a trainer does."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # so that a log that goes to a file can be followed
    transformers.utils.logging.disable_progress_bar()
    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    if args.allow_tf32:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    return Accelerator(mixed_precision=args.mixed_precision, cpu=args.use_cpu)


def save_model(model, folder: Path) -> None:
    """`save_pretrained`, without a trace of where this machine keeps its files."""
    model.save_pretrained(folder, safe_serialization=True)
    forget_origin(Path(folder))


def load_model(model, folder: Path) -> None:
    """Puts the weights that `save_model` wrote into an existing model of the same configuration."""
    model.load_state_dict(type(model).from_pretrained(folder).state_dict())


def _short(value) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
