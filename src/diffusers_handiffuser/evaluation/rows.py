"""The rows that are evaluated, and the seeds of their samples."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch

from ..data import HandRow, RowError, find_shards, parse_row
from ..hands import HandParams


def read_rows(data: str | Path, num: int | None = None, split: str = "train") -> list[HandRow]:
    """The first rows of a data set, with all their columns; images are not decoded yet.

    Args:
        data (`str` or `Path`): see `diffusers_handiffuser.data.find_shards`.
        num (`int`, *optional*): how many rows; all by default.
        split (`str`): of the data set.

    Returns:
        `list[HandRow]`.

    Raises:
        ValueError: if `num` is less than 1, or there is no row.
        RowError: for the first row that cannot be read.
    """
    if num is not None and num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    rows = []
    for raw in islice((raw for shard in find_shards(data, split) for raw in shard.rows()), num):
        if isinstance(raw.value, RowError):
            raise raw.value
        rows.append(parse_row(raw.value, raw.where, raw.folder))
    if not rows:
        raise ValueError(f"{data} holds no rows.")
    return rows


def check_studio_rows(rows: Sequence[Mapping]) -> None:
    """Raises a `ValueError` if a row has no `scene`: it is not from the studio."""
    missing = next((i for i, row in enumerate(rows) if not row.get("scene")), None)
    if not rows or missing is not None:
        found = f"row {missing} has none" if rows else "got no row"
        raise ValueError(f"`rows` must be studio rows, with a `scene`; {found}.")


def check_samples(samples: int) -> None:
    """Raises a `ValueError` if `samples` is less than 1."""
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1, got {samples}.")


def stack_hands(rows: Sequence[Mapping]) -> HandParams:
    """The hands of raw studio rows, batch shape `(N,)`."""
    return HandParams.cat([HandParams.from_dict(row).reshape(1) for row in rows])


def sample_generators(seed: int, start: int, rows: int, samples: int) -> list[torch.Generator]:
    """A generator for each sample of rows from `start`; sample `k` of row `i` has seed `seed + i * samples + k`."""
    first = seed + start * samples
    return [torch.Generator().manual_seed(first + k) for k in range(rows * samples)]
