"""Arrays on disk that the processes of a run compute once, each its share."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ...utils.atomic_files import temporary_path, tidy_once


def cached_together(paths: Any, shapes: Any, dtypes: Any, fill: Callable, accelerator: Accelerator) -> Any:
    """Read-only memory maps; where they do not exist yet, each process of the machine fills its share of the rows.

    Args:
        paths (`Path` or mapping of `Path`): one array, or several that are computed together.
        shapes: of each (1 or 2, N, ...): N rows.
        dtypes: of each.
        fill (`Callable`): gets the array, or the arrays by name, and the rows (a `range`) to write into `[:, rows]`.
        accelerator (`Accelerator`): of the processes.

    The files are written to temporary paths and renamed when all processes are done. Raises a `ValueError` if they are
    missing and there are several machines, which could not safely write into the same files.
    """
    if not isinstance(paths, Mapping):
        arrays = cached_together(
            {"": paths}, {"": shapes}, {"": dtypes}, lambda arrays, rows: fill(arrays[""], rows), accelerator
        )
        return arrays[""]
    missing = [path for path in paths.values() if not path.is_file()]
    accelerator.wait_for_everyone()  # all have checked before the first one writes
    if missing:
        if accelerator.num_processes > int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)):
            raise ValueError(
                f"{missing[0]} does not exist yet: with several machines, make the caches on one of them first "
                "(the same command with --cache_only)"
            )
        _fill_files(paths, shapes, dtypes, fill, accelerator)
    return {name: _open(path, shapes[name], dtypes[name]) for name, path in paths.items()}


def _fill_files(paths: Mapping, shapes: Mapping, dtypes: Mapping, fill: Callable, accelerator: Accelerator) -> None:
    names = broadcast_object_list(
        [temporary_path(path).name for path in paths.values()]
    )  # other runs may write them, too
    temporary = {name: path.with_name(place) for (name, path), place in zip(paths.items(), names, strict=True)}
    try:
        if accelerator.is_main_process:
            for name, path in temporary.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                tidy_once(path.parent)
                np.lib.format.open_memmap(path, mode="w+", dtype=dtypes[name], shape=shapes[name])
        accelerator.wait_for_everyone()
        arrays = {name: np.load(path, mmap_mode="r+") for name, path in temporary.items()}
        num_rows, shares = next(iter(shapes.values()))[1], accelerator.num_processes
        bounds = [num_rows * share // shares for share in range(shares + 1)]
        mine = range(bounds[accelerator.process_index], bounds[accelerator.process_index + 1])
        if mine:
            fill(arrays, mine)
        for array in arrays.values():
            array.flush()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            for name, path in paths.items():
                os.replace(temporary[name], path)
    finally:
        if accelerator.is_main_process:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    accelerator.wait_for_everyone()


def _open(path: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    array = np.load(path, mmap_mode="r")
    if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: delete it")
    return array
