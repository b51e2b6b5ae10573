"""Atomic writes of memory-mapped `.npy` files: filled at a temporary path, then renamed."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from .atomic_files import atomic_write


def cached_array(
    path: str | Path, shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    """Read-only memory map of `path`; if it does not exist yet, `fill(array)` computes it first.

    Raises a `ValueError` if the file holds an array of another shape or type.
    """
    path = Path(path)
    if not path.is_file():
        with atomic_array(path, shape, dtype) as temporary:
            array = np.load(temporary, mmap_mode="r+")
            fill(array)
            array.flush()
            del array  # Windows does not rename open files
    return open_array(path, shape, dtype)


@contextlib.contextmanager
def atomic_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[Path]:
    """Yields the path of a new array of zeros, which one or several processes fill; it replaces `path` at the end.

    It is removed after an error; what a killed process leaves has a temporary name, see `atomic_write`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        yield temporary


def open_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Read-only memory map of an array that must have this shape and type; otherwise raises a `ValueError`."""
    array = np.load(path, mmap_mode="r")
    if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: delete it")
    return array
