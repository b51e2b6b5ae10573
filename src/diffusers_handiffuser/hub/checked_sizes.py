"""Bounds on a model's size: its config may not ask for much more than the weights beside it.

Models are built from their config before their weights are read, and a config of a hundred bytes can ask for any
amount of time and memory. Here a model is first built without memory, on torch's meta device, and counted as it grows:
exceeding what the safetensors files of its folder can fill is an error at once. This depends neither on the names of
config entries nor on the kind of model. A model that passed is not built again in this process when the same class is
loaded from the same config and as many weights.

`check_sizes=False`, an argument of `from_pretrained` of this package's models and pipelines, turns the bounds off.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from torch.overrides import TorchFunctionMode

from ..utils.messages import reason_of

_NUMBERS_PER_BYTE = 2
"""Of stored weights: quantized ones take four bits each."""
_TENSORS_PER_TENSOR = 4
"""Created for each stored one: some are only temporary."""
_SPARE_NUMBERS, _SPARE_TENSORS = 2**26, 1000
"""Allowance on top, such as for tables that are computed rather than stored."""

_passed: WeakKeyDictionary[type, set[bytes]] = WeakKeyDictionary()
"""By class, digests of the configs and weight sizes that passed."""
_enabled: ContextVar[bool] = ContextVar("check_sizes", default=True)


class _TooLarge(Exception):
    """Stops the construction of a model that is larger than its weights."""


@contextlib.contextmanager
def sizes_checked(enabled: bool | None) -> Iterator[None]:
    """Sets whether the bounds apply to models loaded inside; `None` keeps the outer setting.

    diffusers does not pass a pipeline's arguments on to the loading of its models.
    """
    token = _enabled.set(sizes_are_checked() if enabled is None else enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def sizes_are_checked() -> bool:
    """Whether the bounds apply here."""
    return _enabled.get()


def check_size(name: str, build: Callable[[], Any], folder: Path, model_class: type, config: str) -> None:
    """Refuses a model that is much larger than the weights in its folder.

    Args:
        name (`str`): the component's name.
        build (`Callable`): builds it from its config, with newly initialised weights.
        folder (`Path`): the folder of its weights. Without weights, which loading reports, nothing is built.
        model_class (`type`): the class that `build` makes.
        config (`str`): the config that `build` reads.
    """
    files = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if not files or not sizes_are_checked():
        return
    num_bytes = sum(path.stat().st_size for path in files)
    num_tensors = sum(_count_tensors(path) for path in files)
    digest = hashlib.sha256(f"{num_bytes} {num_tensors}\n{config}".encode()).digest()
    if digest in (passed := _passed.setdefault(model_class, set())):
        return
    try:
        _build_counted(
            build,
            num_bytes * _NUMBERS_PER_BYTE + _SPARE_NUMBERS,
            num_tensors * _TENSORS_PER_TENSOR + _SPARE_TENSORS,
        )
    except _TooLarge:
        raise ValueError(
            f"the config of `{name}` asks for a model much larger than its weights ({num_bytes} bytes in "
            f"{num_tensors} tensors); `check_sizes=False` builds it anyway"
        ) from None
    passed.add(digest)


def _build_counted(build: Callable[[], Any], numbers: int, tensors: int) -> None:
    """Builds on the meta device; a model that computes tables as it is built gets memory for those."""
    try:
        with torch.device("meta"), _Counted(numbers, tensors):
            build()
    except (NotImplementedError, RuntimeError):
        with init_empty_weights(), _Counted(numbers, tensors):
            build()


class _Counted(TorchFunctionMode):
    """Raises `_TooLarge` as soon as this thread has created more tensors, or more numbers in them, than allowed."""

    def __init__(self, numbers: int, tensors: int):
        super().__init__()
        self.numbers, self.tensors = numbers, tensors

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":  # there is no memory to initialise
            return args[0] if args else kwargs["tensor"]
        made = func(*args, **kwargs)
        is_new = not any(isinstance(argument, torch.Tensor) for argument in (*args, *kwargs.values()))
        if isinstance(made, torch.Tensor) and is_new:
            self.tensors -= 1
            self.numbers -= made.numel()
            if self.tensors < 0 or self.numbers < 0:
                raise _TooLarge
        return made


def _count_tensors(path: Path) -> int:
    try:
        with safe_open(path, framework="pt") as file:
            return len(file.keys())
    except SafetensorError as error:
        raise OSError(f"{str(path)!r} cannot be read: {reason_of(error)}") from error
