"""The optimiser and its learning rate."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.optimization import get_scheduler

from ...utils.messages import install_extra
from .options import OptimizerOptions

_FINE = 1_000_000


def build_optimizer(options: OptimizerOptions, parameters: Iterable) -> torch.optim.Optimizer:
    """AdamW as the options ask; with `use_8bit_adam` that of bitsandbytes, whose state takes 2 bytes a parameter.

    Raises a `ValueError` if that is not installed.
    """
    settings: dict[str, Any] = {
        "lr": options.learning_rate,
        "betas": (options.adam_beta1, options.adam_beta2),
        "weight_decay": options.adam_weight_decay,
        "eps": options.adam_epsilon,
    }
    if not options.use_8bit_adam:
        return torch.optim.AdamW(parameters, **settings, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(f"`use_8bit_adam` needs bitsandbytes: {install_extra('8bit')} ({error})") from error
    return AdamW8bit(parameters, **settings)


class LearningRate:
    """The learning rate as a function of the step (from 0) and of the part of the run behind it.

    With a number of steps it is diffusers' schedule of that name, step for step, or ours: `constant_with_decay`, a
    warm-up, a constant rate, and a linear fall to zero over the last `lr_decay_fraction` of the run. Without one the
    run's length is a time: the warm-up goes by steps, and the schedule by the part of the time that has passed.

    Args:
        options (`OptimizerOptions`): the schedule and its largest rate.
        max_steps (`int`, *optional*): length of the run.
        rows_per_step (`int`): what `scale_lr` multiplies the rate by.
    """

    def __init__(self, options: OptimizerOptions, max_steps: int | None, rows_per_step: int = 1):
        self.peak = options.learning_rate * (rows_per_step if options.scale_lr else 1)
        self.decay_fraction = max(options.lr_decay_fraction, 1e-12)
        self.decays = options.lr_scheduler == "constant_with_decay"
        self.by_steps = max_steps is not None
        name, warmup_steps = options.lr_scheduler, options.lr_warmup_steps
        self.warmup = self._diffusers_schedule("constant_with_warmup", 0 if name == "constant" else warmup_steps, None)
        if self.by_steps and not self.decays:
            self.schedule = self._diffusers_schedule(name, warmup_steps, max_steps)
        elif not self.decays:
            self.schedule = self._diffusers_schedule(name.removesuffix("_with_warmup"), 0, _FINE)

    def __call__(self, step: int, progress: float) -> float:
        if self.decays:
            return self.peak * (self.warmup(step) * min(1.0, max(1.0 - progress, 0.0) / self.decay_fraction))
        if self.by_steps:
            return self.peak * self.schedule(step)
        return self.peak * (self.warmup(step) * self.schedule(int(min(max(progress, 0.0), 1.0) * _FINE)))

    def _diffusers_schedule(self, name: str, warmup_steps: int, max_steps: int | None) -> Callable[[int], float]:
        """A schedule of diffusers, which comes as part of an optimiser's scheduler, as a function of the step."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=self.peak)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup_steps, num_training_steps=max_steps)
        return scheduler.lr_lambdas[0]
