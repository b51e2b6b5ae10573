"""Means with bootstrap intervals."""

from dataclasses import asdict, dataclass

import torch

_CHUNK = 100
"""Resampled sets held at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean over independent cases and its 95 % bootstrap interval.

    Args:
        value, low, high (`float`): the mean and the ends of the interval.
        n (`int`): how many cases it was taken over.
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

    Cases that depend on each other (several samples of one caption) have to be averaged before they come here.
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
