"""Exponential moving averages of the weights."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch.distributed.tensor import DTensor

from .options import EMAOptions


class WeightAverages:
    """The averages of models' trained weights, by the models' names; none unless the options ask.

    Args:
        options (`EMAOptions`): decay, and where the averages wait between steps.
        models (`Mapping[str, torch.nn.Module]`): as `accelerator.prepare` left them.
        device (`torch.device`): of the models.
    """

    def __init__(self, options: EMAOptions, models: Mapping[str, torch.nn.Module], device: torch.device):
        self.models, self.device = models, device
        self.resting_device = torch.device("cpu") if options.offload_ema else device
        self.emas = {
            name: EMAModel(local_parameters(model), decay=options.ema_decay, foreach=True)
            for name, model in models.items()
            if options.use_ema
        }
        self._move(self.resting_device)

    def __bool__(self) -> bool:
        return bool(self.emas)

    def step(self) -> None:
        """Takes the present weights into the averages."""
        self._move(self.device)
        for name, ema in self.emas.items():
            ema.step(local_parameters(self.models[name]))
        self._move(self.resting_device)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The models have the averages as their weights."""
        for name, ema in self.emas.items():
            parameters = local_parameters(self.models[name])
            ema.store(parameters)
            ema.copy_to(parameters)
        try:
            yield
        finally:
            for name, ema in self.emas.items():
                ema.restore(local_parameters(self.models[name]))

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Settings and numbers of steps as JSON; the averages themselves are saved as models."""
        return {name: {**ema.state_dict(), "shadow_params": None} for name, ema in self.emas.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        for name, ema in self.emas.items():
            ema.optimization_step = state[name]["optimization_step"]

    def load_weights(self, load: Callable[[str], None]) -> None:
        """Reads the averages: `load(name)` puts those of one model into its parameters, which are then restored."""
        for name, ema in self.emas.items():
            parameters = local_parameters(self.models[name])
            ema.store(parameters)
            load(name)
            ema.load_state_dict({"shadow_params": [p.detach().clone() for p in local_parameters(self.models[name])]})
            ema.restore(local_parameters(self.models[name]))
        self._move(self.resting_device)

    def _move(self, device: torch.device) -> None:
        for ema in self.emas.values():
            ema.to(device, non_blocking=True)


def local_parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The trained parameters; of one that is sharded the part in this process, in the same memory."""
    return [
        parameter.detach().to_local().requires_grad_()  # type: ignore[attr-defined]
        if isinstance(parameter, DTensor)
        else parameter
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
