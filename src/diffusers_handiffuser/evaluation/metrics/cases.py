"""Scores by row: a caption counts once, with the mean of its samples and hands."""

from collections.abc import Iterable

import torch

from .estimates import Estimate, bootstrap_mean


class Cases:
    """Collects scores of rows under names like `"detector/handedness"`.

    Args:
        num_rows (`int`): how many rows there are.
    """

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, name: str, rows: torch.Tensor | Iterable[int], values: torch.Tensor | Iterable[float]) -> None:
        """Scores `(N,)` of rows `(N,)`; NaN where a score is not defined."""
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
        """Each row's mean under each name, None where it has none: for JSON."""
        return {
            name: [None if value != value else value for value in self.by_row(name).tolist()] for name in self._sums
        }
