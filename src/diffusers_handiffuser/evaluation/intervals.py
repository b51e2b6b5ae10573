"""Means with bootstrap intervals."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Estimate:
    """A mean over independent cases and its 95 % bootstrap interval.

    Args:
        value, low, high (`float`): the mean and the ends of the interval.
        n (`int`): how many cases it was taken over.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"


def bootstrap_mean(values: torch.Tensor, seed: int = 0, resamples: int = 2000) -> Estimate:
    """The mean of `values` `(n,)` and the 2.5 and 97.5 percentiles of the means of `resamples` resampled sets.

    Cases that depend on each other (several samples of one caption) have to be averaged before they come here.
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"`values` must have shape (n,) with at least one case, got {tuple(values.shape)}.")
    if not values.isfinite().all():
        raise ValueError("`values` must be finite.")
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [values[torch.randint(len(values), (len(values),), generator=generator)].mean() for _ in range(resamples)]
    )
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(values.mean().item(), low, high, len(values))
