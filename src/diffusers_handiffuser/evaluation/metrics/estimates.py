"""Means with bootstrap intervals, and scores row by row."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch

_CHUNK = 100
"""Resampled sets in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean over independent cases and its 95 % bootstrap interval.

    Args:
        value (`float`): the mean.
        low (`float`): lower end of the interval.
        high (`float`): upper end of the interval.
        n (`int`): number of cases.
        seed (`int`): of the resampling.
    """

    value: float
    low: float
    high: float
    n: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def bootstrap_mean(values: torch.Tensor, seed: int = 0, resamples: int = 2000) -> Estimate:
    """The mean of `values` `(n,)` and the 2.5 and 97.5 percentiles of the means of `resamples` resampled sets.

    Cases must be independent: average several samples of one caption first.
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"`values` must have shape (n,) with at least one case, got {tuple(values.shape)}.")
    if not values.isfinite().all():
        raise ValueError("`values` must be finite.")
    generator = torch.Generator().manual_seed(seed)
    sizes = [min(_CHUNK, resamples - start) for start in range(0, resamples, _CHUNK)]
    drawn = (torch.randint(len(values), (size, len(values)), generator=generator) for size in sizes)
    means = torch.cat([values[rows].mean(1) for rows in drawn])
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(values.mean().item(), low, high, len(values), seed)


class Cases:
    """Scores of rows under names like `"detector/handedness"`; a row counts once, with its mean.

    Args:
        num_rows (`int`): number of rows.
    """

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, name: str, rows: torch.Tensor | Iterable[int], values: torch.Tensor | Iterable[float]) -> None:
        """Adds scores `(N,)` of rows `(N,)`; NaN where a score is not defined."""
        numbers = torch.as_tensor(rows if isinstance(rows, torch.Tensor) else list(rows), dtype=torch.long).cpu()
        scores = torch.as_tensor(values if isinstance(values, torch.Tensor) else list(values)).double().cpu()
        sums = self._sums.setdefault(name, torch.zeros(2, self.num_rows, dtype=torch.float64))
        defined = ~scores.isnan()
        sums[0].index_add_(0, numbers[defined], scores[defined])
        sums[1].index_add_(0, numbers[defined], torch.ones_like(scores[defined]))

    def by_row(self, name: str) -> torch.Tensor:
        """Each row's mean `(R,)`, NaN where it has none."""
        total, count = self._sums[name]
        return total / count

    def estimates(self, seed: int = 0) -> dict[str, Estimate]:
        """The mean over the rows that have a score, for each name with any."""
        found = {}
        for name in self._sums:
            values = self.by_row(name)
            values = values[~values.isnan()]
            if len(values):
                found[name] = bootstrap_mean(values, seed)
        return found

    def to_dict(self) -> dict[str, list[float | None]]:
        """For JSON: each row's mean by name, None where it has none."""
        return {
            name: [None if value != value else value for value in self.by_row(name).tolist()] for name in self._sums
        }
