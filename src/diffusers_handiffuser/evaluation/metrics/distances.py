"""Distances between two sets of features: Fréchet (FID) and kernel (KID), with bootstrap intervals.

torchmetrics computes both for images, but gives no interval for FID and needs subsets of equal size for KID. Here sets
may be small, rows are grouped by caption, and both distances also apply to hand parameters. A test compares both with
torchmetrics. FID is biased upwards on small sets, which no interval corrects: compare only FIDs of sets of the same
size. KID is unbiased: its mean on identical distributions is 0, and estimates may be negative.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from .estimates import Estimate


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Fréchet distance between normal distributions with the means and covariances of two sets (Heusel et al., 2017).

    `|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)` in float64. The last trace is the sum of the singular values of
    `A1 A2ᵀ / sqrt((n1 - 1)(n2 - 1))` for the centred features A. This avoids the root of a matrix that may not have a
    real one, and is exact also for fewer rows than features.

    Args:
        first (`torch.Tensor` of shape `(N1, D)`): at least two rows.
        second (`torch.Tensor` of shape `(N2, D)`): at least two rows.

    Raises:
        ValueError: if a set has another shape or is not finite.
    """
    first, second = _checked(first, second)
    return _frechet(first, second)


def kernel_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel `(x·y / D + 1)³` (Bińkowski et al., 2018).

    Args:
        first (`torch.Tensor` of shape `(N1, D)`): at least two rows.
        second (`torch.Tensor` of shape `(N2, D)`): at least two rows.

    Raises:
        ValueError: if a set has another shape or is not finite.
    """
    first, second = _checked(first, second)
    return _Kernels(first, second, _numbered(None, None, len(first), len(second))).discrepancy()


def frechet_estimate(
    first: torch.Tensor,
    second: torch.Tensor,
    first_groups: torch.Tensor | None = None,
    second_groups: torch.Tensor | None = None,
    seed: int = 0,
    resamples: int = 200,
) -> Estimate:
    """`frechet_distance` with a 95 % interval.

    Whole groups (captions, with all their samples and hands) are resampled, jointly for both sets where they share
    groups. A resampled set has fewer distinct rows and so a larger distance; the interval is the spread of the
    resampled distances about their mean, shifted to the value and cut off at 0. `n` is the size of the smaller set.

    Args:
        first (`torch.Tensor` of shape `(N1, D)`): at least two rows.
        second (`torch.Tensor` of shape `(N2, D)`): at least two rows.
        first_groups (`torch.Tensor` of shape `(N1,)`, int64, *optional*): group of each row; by default every row is
            its own, and the sets are independent.
        second_groups (`torch.Tensor` of shape `(N2,)`, int64, *optional*): likewise.
        seed (`int`): of the bootstrap.
        resamples (`int`): number of resampled sets.

    Returns:
        [`Estimate`].
    """
    first, second = _checked(first, second)
    groups = _numbered(first_groups, second_groups, len(first), len(second))
    found = []
    for times in _resampled(groups, seed, resamples):
        a, b = (rows.repeat_interleave(times[ids], 0) for rows, ids in zip((first, second), groups, strict=True))
        if min(len(a), len(b)) > 1:
            found.append(_frechet(a, b))
    estimate = _around(_frechet(first, second), found, min(len(first), len(second)), seed)
    return replace(estimate, low=max(0.0, estimate.low))


def kernel_estimate(
    first: torch.Tensor,
    second: torch.Tensor,
    first_groups: torch.Tensor | None = None,
    second_groups: torch.Tensor | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Estimate:
    """`kernel_distance` with a 95 % interval; arguments and interval as in `frechet_estimate`.

    Rows of one group are not compared with each other, within a set or across both: the unbiased estimator requires
    independent rows. The same rows in the same groups are therefore at distance 0, and a group that is drawn twice in
    resampling does not reintroduce the bias.
    """
    first, second = _checked(first, second)
    groups = _numbered(first_groups, second_groups, len(first), len(second))
    kernels = _Kernels(first, second, groups)
    drawn = kernels.discrepancies(torch.stack(list(_resampled(groups, seed, resamples))).double())
    found = drawn[drawn.isfinite()].tolist()
    return _around(kernels.discrepancy(), found, min(len(first), len(second)), seed)


def _checked(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for name, rows in (("first", first), ("second", second)):
        if rows.ndim != 2 or len(rows) < 2:
            raise ValueError(f"`{name}` must have shape (N, D) with at least two rows, got {tuple(rows.shape)}.")
        if not rows.isfinite().all():
            raise ValueError(f"`{name}` must be finite.")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"`second` must have {first.shape[1]} features as `first` has, got {second.shape[1]}.")
    return first.detach().cpu().double(), second.detach().cpu().double()


def _frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    gap = (first.mean(0) - second.mean(0)).square().sum()
    roots = [(rows - rows.mean(0)) / (len(rows) - 1) ** 0.5 for rows in (first, second)]
    traces = sum(root.square().sum() for root in roots)
    # Only AᵀA matters, and R of A = QR has the same with at most D rows.
    small = [torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root for root in roots]
    common = torch.linalg.svdvals(small[0] @ small[1].T).sum()
    return max(0.0, (gap + traces - 2 * common).item())


class _Kernels:
    """Kernels of all pairs of rows of different groups, each row weighted by its group.

    Args:
        first (`torch.Tensor` of shape `(N1, D)`): features.
        second (`torch.Tensor` of shape `(N2, D)`): features.
        groups (`tuple` of `torch.Tensor`): of their rows, numbered from 0.
    """

    def __init__(self, first: torch.Tensor, second: torch.Tensor, groups: tuple[torch.Tensor, torch.Tensor]):
        self.number = 1 + max(int(ids.max()) for ids in groups)
        pairs = ((first, first, groups[0], groups[0]), (second, second, groups[1], groups[1]))
        self.sums = []
        for a, b, ids_a, ids_b in (*pairs, (first, second, *groups)):
            kernel = (a @ b.T / a.shape[1] + 1) ** 3
            kernel[ids_a[:, None] == ids_b] = 0
            self.sums.append(self._by_group(kernel, ids_a, ids_b))
        self.sizes = [torch.bincount(ids, minlength=self.number).double() for ids in groups]

    def _by_group(self, kernel: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Sums over the rows and columns of each pair of groups, `(G, G)`."""
        summed = kernel.new_zeros(self.number, kernel.shape[1]).index_add_(0, rows, kernel)
        return kernel.new_zeros(self.number, self.number).index_add_(1, columns, summed)

    def discrepancy(self) -> float:
        return self.discrepancies(torch.ones(1, self.number, dtype=torch.float64)).item()

    def discrepancies(self, times: torch.Tensor) -> torch.Tensor:
        """Discrepancies `(R,)` with groups taken `times` `(R, G)`; NaN where a set has fewer than two groups left."""
        first, second = (times * sizes for sizes in self.sizes)
        total = times.new_zeros(len(times))
        pairs = ((1, first, first), (1, second, second), (-2, first, second))
        for kernel, (factor, a, b) in zip(self.sums, pairs, strict=True):
            number = a.sum(-1) * b.sum(-1) - (a * b).sum(-1)
            total += factor * ((times @ kernel) * times).sum(-1) / number
        return total


def _numbered(
    first: torch.Tensor | None, second: torch.Tensor | None, first_rows: int, second_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups numbered from 0; by default every row is its own."""
    if first is None or second is None:
        groups = torch.arange(first_rows + second_rows)
    else:
        if (len(first), len(second)) != (first_rows, second_rows):
            raise ValueError(f"`groups` must hold a number for each of {first_rows} and {second_rows} rows.")
        groups = torch.unique(torch.cat([first.cpu(), second.cpu()]), return_inverse=True)[1]
    return groups[:first_rows], groups[first_rows:]


def _resampled(groups: tuple[torch.Tensor, torch.Tensor], seed: int, resamples: int) -> Iterator[torch.Tensor]:
    """How often each group is drawn, `(G,)`, in each resampling. Sets that share groups are resampled jointly."""
    members = [ids.unique() for ids in groups]
    number = 1 + max(int(ids.max()) for ids in groups)
    strata = [torch.arange(number)] if torch.isin(*members).any() else members
    generator = torch.Generator().manual_seed(seed)
    for _ in range(resamples):
        drawn = [ids[torch.randint(len(ids), (len(ids),), generator=generator)] for ids in strata]
        yield torch.bincount(torch.cat(drawn), minlength=number)


def _around(value: float, found: list[float], n: int, seed: int) -> Estimate:
    """The value, with the spread of the resampled values about their mean as interval."""
    if not found:
        return Estimate(value, float("-inf"), float("inf"), n, seed)
    values = torch.tensor(found, dtype=torch.float64)
    low, high = (values - values.mean()).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(value, value + low, value + high, n, seed)
