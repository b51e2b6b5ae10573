"""Gaps between groups on made-up scores."""

import pytest
import torch


@pytest.fixture
def group_gap(experiment_scripts):
    from fairness import group_gap

    return group_gap


def scores(means, number, seed=0, spread=0.1):
    generator = torch.Generator().manual_seed(seed)
    labels = [name for name in means for _ in range(number)]
    return torch.tensor([means[name] for name in labels]) + spread * torch.randn(
        len(labels), generator=generator
    ), labels


def test_a_gap_is_found_with_its_groups(group_gap):
    values, labels = scores({"a": 0.5, "b": 0.9, "c": 0.7}, 50)
    gap = group_gap(values, labels)
    assert (gap.best, gap.worst) == ("b", "a") and gap.low < gap.value < gap.high
    assert gap.value == pytest.approx(values[50:100].mean().item() - values[:50].mean().item(), abs=1e-6)
    assert gap.low < 0.4 < gap.high and gap.high - gap.low < 0.12 and gap.p_value < 0.001
    assert [e.n for e in gap.groups.values()] == [50] * 3
    for name, start in (("a", 0), ("b", 50), ("c", 100)):
        e = gap.groups[name]
        assert e.value == pytest.approx(values[start : start + 50].mean().item(), abs=1e-6)
        assert e.low < e.value < e.high
    assert "b over a" in str(gap)


def test_groups_that_are_alike_have_a_gap_by_chance_alone(group_gap):
    """Of eight equal groups one is best and one is worst, and the interval of the two may well exclude 0."""
    p_values = []
    for seed in range(40):
        values, labels = scores(dict.fromkeys("abcdefgh", 0.5), 12, seed)
        gap = group_gap(values, labels, resamples=300)
        assert gap.value > 0
        p_values.append(gap.p_value)
    assert sum(p < 0.05 for p in p_values) <= 6 and sum(p > 0.5 for p in p_values) >= 12


def test_interval_covers_the_truth_about_as_often_as_it_says(group_gap):
    covered = 0
    for seed in range(60):
        values, labels = scores({"a": 0.3, "b": 0.6}, 40, seed, spread=0.2)
        gap = group_gap(values, labels, resamples=300)
        covered += gap.low <= 0.3 <= gap.high
    assert covered >= 52


def test_cases_without_a_score_are_left_out(group_gap):
    values, labels = torch.tensor([1.0, torch.nan, 0.0, 0.0, torch.nan]), ["a", "a", "b", "b", "c"]
    gap = group_gap(values, labels)
    assert gap.value == 1 and set(gap.groups) == {"a", "b"} and gap.groups["a"].n == 1


def test_no_gap_at_all(group_gap):
    gap = group_gap(torch.ones(6), ["a", "b"] * 3)
    assert (gap.value, gap.low, gap.high, gap.p_value) == (0, 0, 0, 1) and "all alike" in str(gap)


def test_bad_input(group_gap):
    with pytest.raises(ValueError, match="`labels` must be as many as `scores`"):
        group_gap(torch.ones(3), ["a", "b"])
    with pytest.raises(ValueError, match="at least two groups with a score"):
        group_gap(torch.tensor([1.0, torch.nan]), ["a", "b"])
