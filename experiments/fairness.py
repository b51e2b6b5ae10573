"""How differently a model serves groups of people: the gap between the best and the worst group, and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diffusers_handiffuser.evaluation.metrics.estimates import Estimate


@dataclass(frozen=True)
class GroupGap:
    """The gap of a score between groups.

    Args:
        value (`float`): mean of the best group minus mean of the worst one.
        low, high (`float`): 95 % bootstrap interval of the difference between just these two groups. They were chosen
            by looking, so an interval above 0 is no proof of a gap; `p_value` is the test.
        best, worst (`str`): the two groups.
        p_value (`float`): how often a gap at least as large comes up when cases are dealt to the groups at random.
        groups (`dict` of `str` to [`Estimate`]): the mean of each group.
    """

    value: float
    low: float
    high: float
    best: str
    worst: str
    p_value: float
    groups: dict[str, Estimate]

    def __str__(self) -> str:
        interval = f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        pair = "all alike" if self.best == self.worst else f"{self.best} over {self.worst}"
        return f"{interval}, {pair}, p = {self.p_value:.3f}"


def group_gap(scores: torch.Tensor, labels: Sequence[str], seed: int = 0, resamples: int = 2000) -> GroupGap:
    """Compares the means of a score between groups.

    Args:
        scores (`torch.Tensor` of shape `(n,)`): one per independent case, larger is better; NaN where the score is not
            defined, which leaves the case out.
        labels (`Sequence[str]`): the group of each case.
        seed, resamples (`int`): of the bootstrap and of the permutations.

    Raises a `ValueError` if the two lengths differ or fewer than two groups have a score.
    """
    scores = torch.as_tensor(scores, dtype=torch.float64)
    if scores.ndim != 1 or len(scores) != len(labels):
        raise ValueError(f"`labels` must be as many as `scores`, {tuple(scores.shape)}, got {len(labels)}.")
    defined = [i for i, value in enumerate(scores.tolist()) if value == value]
    names = sorted({labels[i] for i in defined})
    if len(names) < 2:
        raise ValueError(f"`labels` must name at least two groups with a score, got {names}.")
    values = scores[defined]
    member = torch.tensor([names.index(labels[i]) for i in defined])
    of_group = [values[member == number] for number in range(len(names))]
    means = torch.stack([group.mean() for group in of_group])
    best, worst = int(means.argmax()), int(means.argmin())
    gap = means[best] - means[worst]

    generator = torch.Generator().manual_seed(seed)
    draws = [
        group[torch.randint(len(group), (resamples, len(group)), generator=generator)].mean(1) for group in of_group
    ]
    low, high = _interval(draws[best] - draws[worst])
    groups = {}
    for name, mean, drawn, group in zip(names, means.tolist(), draws, of_group, strict=True):
        lowest, highest = _interval(drawn)
        groups[name] = Estimate(value=mean, low=lowest, high=highest, n=len(group), seed=seed)

    shares = torch.nn.functional.one_hot(member, len(names)).double()
    shares = shares / shares.sum(0)
    dealt = values[torch.rand(resamples, len(values), generator=generator).argsort(1)] @ shares
    as_large = (dealt.amax(1) - dealt.amin(1) >= gap - 1e-12).sum().item()
    p_value = (1 + as_large) / (1 + resamples)
    return GroupGap(gap.item(), low, high, names[best], names[worst], p_value, groups)


def _interval(means: torch.Tensor) -> list[float]:
    """The middle 95 % of resampled means."""
    return means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
