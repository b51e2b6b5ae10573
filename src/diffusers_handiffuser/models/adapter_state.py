"""Restores the adapters of models after an operation that failed halfway."""

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def adapters_restored_on_error(*models: nn.Module, copy_weights: bool = False) -> Iterator[None]:
    """Restores the adapters, layers and flags of models if anything is raised inside.

    Args:
        models (`torch.nn.Module`): models whose adapters are about to be added or changed.
        copy_weights (`bool`): also restore the adapters' weights, for operations that write into them.
    """
    states = [_AdapterState(model, copy_weights) for model in models]
    try:
        yield
    except BaseException:
        for state in states:
            state.restore()
        raise


_CONTAINERS = (dict, OrderedDict, list, set)


class _AdapterState:
    """What PEFT changes in a model: attributes of its modules, `requires_grad` and weights of its parameters."""

    def __init__(self, model: nn.Module, copy_weights: bool):
        self._attributes = [(module, _attributes(module, copy_weights)) for module in model.modules()]
        self._trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._weights = [
            (parameter, parameter.data.clone() if copy_weights else parameter.data)
            for name, parameter in model.named_parameters()
            if "lora_" in name
        ]

    def restore(self) -> None:
        for module, attributes in self._attributes:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            for name, (value, entries) in attributes.items():
                if entries is not None:  # in place: others may hold the same dict or list
                    value.clear()
                    value.update(entries) if isinstance(value, dict | set) else value.extend(entries)
                vars(module)[name] = value
        for parameter, is_trained in self._trained:
            parameter.requires_grad_(is_trained)
        for parameter, data in self._weights:
            parameter.data = data


def _attributes(module: nn.Module, copy_weights: bool) -> dict[str, tuple[Any, Any]]:
    """Each attribute, with a copy of its entries if it is a dict, a list or a set."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in vars(module).items():
        entries = value.copy() if type(value) in _CONTAINERS else None
        if copy_weights and name == "scaling" and isinstance(entries, dict):
            entries = copy.deepcopy(entries)
        found[name] = (value, entries)
    return found
