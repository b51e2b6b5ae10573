"""Bounds on what a config may ask for, by what lies beside it: a model is not much larger than its weights.

Models are built from their config before their weights are looked at, in time and memory that a config of a hundred
bytes can ask for at will. Here they are first built without memory, on torch's meta device, and counted as they grow:
as soon as there is more of them than the safetensors files of their folder can fill, that is an error. Neither the
names of a config's entries nor the kind of model matter for it. What passed once is not built again in this process
when the same class is loaded from the same config and as many weights.

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

_NUMBERS_PER_BYTE = 2
"""Of stored weights: quantized ones are kept in four bits."""
_TENSORS_PER_TENSOR = 4
"""Made for each that is stored: some are computed and thrown away."""
_SPARE_NUMBERS, _SPARE_TENSORS = 2**26, 1000
"""What small models may have on top, such as tables that are computed rather than stored."""

_passed: WeakKeyDictionary[type, set[bytes]] = WeakKeyDictionary()
"""By class, digests of the config and the sizes of the weights of models that are not too large."""
_enabled: ContextVar[bool] = ContextVar("check_sizes", default=True)


class _TooLarge(Exception):
    """Ends the building of a model that is larger than its weights."""


@contextlib.contextmanager
def sizes_checked(enabled: bool | None) -> Iterator[None]:
    """Whether the bounds hold for what is loaded inside; `None` is what holds outside.

    diffusers loads the models of a pipeline without the arguments of the pipeline.
    """
    token = _enabled.set(sizes_are_checked() if enabled is None else enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def sizes_are_checked() -> bool:
    return _enabled.get()


def check_size(name: str, build: Callable[[], Any], folder: Path, model_class: type, config: str) -> None:
    """Refuses a model that is much larger than the weights in its folder.

    Args:
        name (`str`): of the component.
        build (`Callable`): makes it, with weights of its own, of its config.
        folder (`Path`): with its weights. If there are none, which loading reports, nothing is built.
        model_class (`type`), config (`str`): all that `build` depends on.
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
            f"{num_tensors} tensors); `check_sizes=False` builds it all the same"
        ) from None
    passed.add(digest)


def _build_counted(build: Callable[[], Any], numbers: int, tensors: int) -> None:
    """Builds without memory; a model that cannot be built so, as parts of it are computed, with that of its tables."""
    try:
        with torch.device("meta"), _Counted(numbers, tensors):
            build()
    except (NotImplementedError, RuntimeError):
        with init_empty_weights(), _Counted(numbers, tensors):
            build()


class _Counted(TorchFunctionMode):
    """Raises `_TooLarge` as soon as this thread has made more tensors, or more numbers in them, than these."""

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
        raise OSError(f"{str(path)!r} cannot be read: {error}") from error
