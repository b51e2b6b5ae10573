"""Fréchet and kernel distances: known values, torchmetrics as a twin, no bias where there is none, intervals."""

import pytest
import torch
from torch import nn

from diffusers_handiffuser.evaluation import frechet_distance, frechet_estimate, kernel_distance, kernel_estimate


def normal(n, d=8, seed=0, shift=0.0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


@pytest.mark.parametrize("shape", [(50, 8), (20, 64)])
def test_a_set_against_itself(shape):
    rows = normal(*shape, scale=30.0)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, rows[torch.randperm(len(rows))]) == pytest.approx(0, abs=1e-6)
    small = normal(400)
    assert abs(kernel_distance(small, small)) < 0.05  # the pairs of equal rows make it a little negative


def test_frechet_of_known_distributions():
    first = normal(20_000, 4)
    assert frechet_distance(first, first + 2.0) == pytest.approx(4 * 4.0)
    assert frechet_distance(first, 3 * first) == pytest.approx(4 * (3 - 1) ** 2, rel=0.05)
    turned = first @ torch.linalg.qr(normal(4, 4, 5)).Q
    assert frechet_distance(first, turned) < 0.01


def test_the_same_rows_of_the_same_captions_are_at_no_distance():
    rows, groups = normal(40), torch.arange(40) // 2
    estimate = kernel_estimate(rows, rows, groups, groups, resamples=50)
    assert abs(estimate.value) < 1e-12 and estimate.high - estimate.low < 1e-12
    assert abs(frechet_estimate(rows, rows, groups, groups, resamples=5).value) < 1e-6


def test_without_shared_groups_it_is_the_plain_distance():
    first, second = normal(30), normal(40, seed=1, shift=0.5)
    alone = kernel_estimate(first, second, torch.arange(30), torch.arange(40) + 30, resamples=5)
    assert alone.value == pytest.approx(kernel_distance(first, second))


def test_fewer_rows_than_features_is_no_special_case():
    first, second = normal(30, 50), normal(40, 50, 1, 0.5)
    ones = torch.zeros(30, 10, dtype=torch.float64), torch.zeros(40, 10, dtype=torch.float64)
    padded = [torch.cat(pair, 1) for pair in zip((first, second), ones, strict=True)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(first, second))
    covariances = [torch.cov(rows.T) for rows in (first, second)]
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).sqrt().real.sum()
    naive = (first.mean(0) - second.mean(0)).square().sum() + sum(c.trace() for c in covariances) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(naive.item(), rel=1e-5)


class TestTwin:
    """torchmetrics takes images; an identity in place of its network gives it features."""

    def test_frechet(self):
        fid = pytest.importorskip("torchmetrics.image.fid")
        network = nn.Identity()
        network.num_features = 8
        metric = fid.FrechetInceptionDistance(feature=network, input_img_size=(3, 8, 8)).set_dtype(torch.float64)
        first, second = normal(60), normal(50, seed=1, shift=0.3)
        metric.update(first, real=True)
        metric.update(second, real=False)
        assert metric.compute().item() == pytest.approx(frechet_distance(first, second), rel=1e-6)

    def test_kernel(self):
        kid = pytest.importorskip("torchmetrics.image.kid")
        metric = kid.KernelInceptionDistance(feature=nn.Identity(), subsets=1, subset_size=50)
        first, second = normal(50), normal(50, seed=1, shift=0.3)
        metric.update(first, real=True)
        metric.update(second, real=False)
        assert metric.compute()[0].item() == pytest.approx(kernel_distance(first, second), rel=1e-6)


def test_kernel_distance_is_unbiased():
    """Over many splits of one distribution the mean is 0 within its error; the biased estimator is far from it."""
    values, biased = [], []
    for seed in range(200):
        first, second = normal(200, seed=2 * seed)[:100], normal(100, seed=2 * seed + 1)
        values.append(kernel_distance(first, second))
        kernel = [((a @ b.T) / 8 + 1) ** 3 for a, b in ((first, first), (second, second), (first, second))]
        biased.append((kernel[0].mean() + kernel[1].mean() - 2 * kernel[2].mean()).item())
    found, wrong = torch.tensor(values), torch.tensor(biased)
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean()) < 3 * error and (found < 0).any()
    assert wrong.mean() > 20 * error


def test_estimates_lie_around_their_value_and_shrink():
    for estimate in (frechet_estimate, kernel_estimate):
        few, many = (estimate(normal(n), normal(n, seed=1, shift=1.0), resamples=60) for n in (40, 640))
        assert few.low < few.value < few.high and many.low < many.value < many.high
        assert (many.high - many.low) < 0.5 * (few.high - few.low)
        assert few.n == 40 and estimate(normal(40), normal(40, seed=1, shift=1.0), resamples=60) == few


def test_identical_distributions_are_within_the_interval():
    estimate = kernel_estimate(normal(150), normal(150, seed=1))
    assert estimate.low < 0 < estimate.high


def test_groups_widen_the_interval():
    """Ten copies of each row are not ten times as many cases."""
    first, second = normal(30), normal(30, seed=1, shift=1.0)
    groups = torch.arange(30).repeat(10)
    copies = first.repeat(10, 1), second.repeat(10, 1)
    alone = kernel_estimate(*copies, resamples=200)
    grouped = kernel_estimate(*copies, groups, groups + 30, resamples=200)
    plain = kernel_estimate(first, second, torch.arange(30), torch.arange(30) + 30, resamples=200)
    widths = [estimate.high - estimate.low for estimate in (alone, grouped, plain)]
    assert widths[1] > 2 * widths[0] and widths[1] == pytest.approx(widths[2], rel=0.5)


def test_paired_sets_are_resampled_together():
    rows = normal(60)
    near = rows + 0.01 * normal(60, seed=3)
    groups = torch.arange(60)
    paired, apart = (kernel_estimate(rows, near, *ids, resamples=100) for ids in ((groups, groups), ()))
    assert (paired.high - paired.low) < 0.2 * (apart.high - apart.low)


def test_bad_input():
    with pytest.raises(ValueError, match="`first`"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="`second` must be finite"):
        kernel_distance(torch.zeros(4, 3), torch.full((4, 3), torch.nan))
    with pytest.raises(ValueError, match="3 features"):
        frechet_distance(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="`groups`"):
        frechet_estimate(torch.rand(4, 3), torch.rand(4, 3), torch.arange(3), torch.arange(4))
