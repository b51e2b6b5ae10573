"""The rows that are evaluated, and the seeds of their samples."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch

from ..data import HandRow, RowError, find_shards, parse_row
from ..hands import HandParams


def read_rows(data: str | Path, num: int | None = None, split: str = "train") -> list[HandRow]:
    """The first rows of a data set, with all their columns; pictures are not decoded yet.

    Args:
        data, split: see `diffusers_handiffuser.data.find_shards`.
        num (`int`, *optional*): how many; all by default.
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
    """Refuses rows without a `scene`, which those of other data sets do not have."""
    missing = next((i for i, row in enumerate(rows) if not row.get("scene")), None)
    if not rows or missing is not None:
        raise ValueError(f"`rows` must be rows of the studio, with a `scene`; got {missing if rows else 'no row'}.")


def check_samples(samples: int) -> None:
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1, got {samples}.")


def stack_hands(rows: Sequence[Mapping]) -> HandParams:
    """The hands of rows of a studio data set, batch shape `(N,)`."""
    return HandParams.cat([HandParams.from_dict(row).reshape(1) for row in rows])


def sample_generators(seed: int, start: int, rows: int, samples: int) -> list[torch.Generator]:
    """One for each sample of rows from `start` on: sample `k` of row `i` has the seed `seed + i * samples + k`."""
    first = seed + start * samples
    return [torch.Generator().manual_seed(first + k) for k in range(rows * samples)]
