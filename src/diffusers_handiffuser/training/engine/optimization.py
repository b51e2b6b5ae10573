"""The optimiser and its learning rate."""

import argparse
from collections.abc import Callable, Iterable

import torch
from diffusers.optimization import get_scheduler

LR_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "constant_with_decay",
)
"""Those of diffusers' training scripts, and ours."""
_FINE = 1_000_000


def build_optimizer(args: argparse.Namespace, parameters: Iterable) -> torch.optim.Optimizer:
    """AdamW as the options ask; with `use_8bit_adam` that of bitsandbytes, whose state takes 2 bytes a parameter.

    Raises a `ValueError` if that is not installed.
    """
    options = {
        "lr": args.learning_rate,
        "betas": (args.adam_beta1, args.adam_beta2),
        "weight_decay": args.adam_weight_decay,
        "eps": args.adam_epsilon,
    }
    if not args.use_8bit_adam:
        return torch.optim.AdamW(parameters, **options, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            f'`use_8bit_adam` needs bitsandbytes: pip install "diffusers_handiffuser[8bit]" ({error})'
        ) from error
    return AdamW8bit(parameters, **options)


def learning_rate_schedule(args: argparse.Namespace, max_steps: int | None) -> Callable[[int, float], float]:
    """What the learning rate is multiplied by: a function of the step (from 0) and of the part of the run behind it.

    With a number of steps it is diffusers' schedule of that name, step for step, or ours: `constant_with_decay`, a
    warm-up, a constant rate, and a linear fall to zero over the last `lr_decay_fraction` of the run. Without one the
    run's length is a time: the warm-up goes by steps, and the schedule by the part of the time that has passed.
    """
    name, warmup_steps = args.lr_scheduler, args.lr_warmup_steps
    if name == "constant_with_decay":
        warmup = _diffusers_schedule(args, "constant_with_warmup", warmup_steps, None)
        fraction = max(args.lr_decay_fraction, 1e-12)
        return lambda step, progress: warmup(step) * min(1.0, max(1.0 - progress, 0.0) / fraction)
    if max_steps is not None:
        schedule = _diffusers_schedule(args, name, warmup_steps, max_steps)
        return lambda step, progress: schedule(step)
    warmup = _diffusers_schedule(args, "constant_with_warmup", 0 if name == "constant" else warmup_steps, None)
    schedule = _diffusers_schedule(args, name.removesuffix("_with_warmup"), 0, _FINE)
    return lambda step, progress: warmup(step) * schedule(int(min(max(progress, 0.0), 1.0) * _FINE))


def _diffusers_schedule(
    args: argparse.Namespace, name: str, warmup_steps: int, max_steps: int | None
) -> Callable[[int], float]:
    """A schedule of diffusers, which comes as part of an optimiser's scheduler, as a function of the step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
    scheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup_steps,
        num_training_steps=max_steps,
        num_cycles=args.lr_num_cycles,
        power=args.lr_power,
    )
    return scheduler.lr_lambdas[0]
