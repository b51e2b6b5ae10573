"""Arrays on disk that the processes of a run compute once, each its share."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ...utils.atomic_arrays import atomic_array, open_array


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
    return {name: open_array(path, shapes[name], dtypes[name]) for name, path in paths.items()}


def _fill_files(paths: Mapping, shapes: Mapping, dtypes: Mapping, fill: Callable, accelerator: Accelerator) -> None:
    temporary: list[Path | None] = [None] * len(paths)
    with contextlib.ExitStack() as files:
        if accelerator.is_main_process:
            temporary = [
                files.enter_context(atomic_array(path, shapes[name], dtypes[name])) for name, path in paths.items()
            ]
        # The paths of the main process; other runs may write the same caches to paths of their own.
        temporary = broadcast_object_list(temporary)
        num_rows, shares = next(iter(shapes.values()))[1], accelerator.num_processes
        bounds = [num_rows * share // shares for share in range(shares + 1)]
        mine = range(bounds[accelerator.process_index], bounds[accelerator.process_index + 1])
        _fill_share(dict(zip(paths, temporary, strict=True)), fill, mine)
        accelerator.wait_for_everyone()
    accelerator.wait_for_everyone()


def _fill_share(paths: Mapping, fill: Callable, rows: range) -> None:
    arrays = {name: np.load(path, mmap_mode="r+") for name, path in paths.items()}
    if rows:
        fill(arrays, rows)
    for array in arrays.values():
        array.flush()
