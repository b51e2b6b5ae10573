"""Distances between two sets of features: Fréchet (FID) and kernel (KID), with bootstrap intervals.

torchmetrics has both, on pictures; it gives FID no interval and wants subsets of one size for KID, while here a set
may be as small as the evaluation is, its rows belong to captions, and both distances are taken of parameters too. A
test holds both equal to torchmetrics. FID is biased upwards on small sets, which no interval mends: compare only FIDs
of sets of the same size. KID is not: on identical distributions its mean is 0, and it may come out below.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from .estimates import Estimate


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Fréchet distance between normal distributions with the means and covariances of two sets (Heusel et al., 2017).

    `|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)` in float64. The last trace is the sum of the singular values of
    `A1 A2ᵀ / sqrt((n1 - 1)(n2 - 1))` for the centred features A: no root of a matrix that need not have a real one,
    and right also for fewer rows than features.

    Args:
        first, second (`torch.Tensor` of shape `(N1, D)` and `(N2, D)`): two rows at least.
    """
    first, second = _checked(first, second)
    return _frechet(first, second)


def kernel_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel `(x·y / D + 1)³` (Bińkowski et al., 2018).

    Args:
        first, second (`torch.Tensor` of shape `(N1, D)` and `(N2, D)`): two rows at least.
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

    Whole groups (captions, with all their samples and hands) are resampled, the same of both sets where they share
    them. A resampled set has fewer different rows and so a larger distance; the interval is the spread of the
    resampled distances about their mean, laid around the value, from 0 on. `n` is the smaller set's number of rows.

    Args:
        first, second: see `frechet_distance`.
        first_groups, second_groups (`torch.Tensor` of shape `(N1,)` and `(N2,)`, int64, *optional*): which rows
            belong together; by default every row stands alone, and the sets are independent.
        seed, resamples (`int`): of the bootstrap.
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

    Rows of one group are not compared with each other, in one set or across both: they are not independent, as the
    unbiased estimator wants them. So the same rows in the same groups are at a distance of 0, and a group that is
    drawn twice in resampling does not bring the bias back.
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
            raise ValueError(f"`{name}` must have shape (N, D) with two rows at least, got {tuple(rows.shape)}.")
        if not rows.isfinite().all():
            raise ValueError(f"`{name}` must be finite.")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"`second` must have {first.shape[1]} features as `first` has, got {second.shape[1]}.")
    return first.detach().cpu().double(), second.detach().cpu().double()


def _frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    gap = (first.mean(0) - second.mean(0)).square().sum()
    roots = [(rows - rows.mean(0)) / (len(rows) - 1) ** 0.5 for rows in (first, second)]
    traces = sum(root.square().sum() for root in roots)
    # What matters of A is AᵀA, which R of A = QR has too, with no more rows than there are features.
    small = [torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root for root in roots]
    common = torch.linalg.svdvals(small[0] @ small[1].T).sum()
    return max(0.0, (gap + traces - 2 * common).item())


class _Kernels:
    """Kernels of all pairs of rows of different groups, each row weighted by its group.

    Args:
        first, second: features.
        groups: of their rows, numbered from 0.
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
        """With every group taken so many times, `(R, G)`: `(R,)`, NaN where less than two groups are left of a set."""
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
    """Groups as numbers from 0; by default every row is one."""
    if first is None or second is None:
        groups = torch.arange(first_rows + second_rows)
    else:
        if (len(first), len(second)) != (first_rows, second_rows):
            raise ValueError(f"`groups` must hold a number for each of {first_rows} and {second_rows} rows.")
        groups = torch.unique(torch.cat([first.cpu(), second.cpu()]), return_inverse=True)[1]
    return groups[:first_rows], groups[first_rows:]


def _resampled(groups: tuple[torch.Tensor, torch.Tensor], seed: int, resamples: int) -> Iterator[torch.Tensor]:
    """How often each group comes, `(G,)`, in each resampling. Sets that share groups are resampled together."""
    members = [ids.unique() for ids in groups]
    number = 1 + max(int(ids.max()) for ids in groups)
    strata = [torch.arange(number)] if torch.isin(*members).any() else members
    generator = torch.Generator().manual_seed(seed)
    for _ in range(resamples):
        drawn = [ids[torch.randint(len(ids), (len(ids),), generator=generator)] for ids in strata]
        yield torch.bincount(torch.cat(drawn), minlength=number)


def _around(value: float, found: list[float], n: int, seed: int) -> Estimate:
    """The spread of resampled values about their mean, laid around the value."""
    if not found:
        return Estimate(value, float("-inf"), float("inf"), n, seed)
    values = torch.tensor(found, dtype=torch.float64)
    low, high = (values - values.mean()).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(value, value + low, value + high, n, seed)
