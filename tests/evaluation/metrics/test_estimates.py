import pytest
import torch

from diffusers_handiffuser.evaluation import Cases, bootstrap_mean


def test_interval_covers_and_shrinks():
    generator = torch.Generator().manual_seed(0)
    few, many = (bootstrap_mean(torch.randn(n, generator=generator) + 3) for n in (20, 2000))
    assert few.low < 3 < few.high and many.low < 3 < many.high
    assert 5 < (few.high - few.low) / (many.high - many.low) < 20
    assert many.high - many.low == pytest.approx(2 * 1.96 / 2000**0.5, rel=0.15)


def test_bad_values():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean(torch.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(torch.tensor([1.0, float("nan")]))


def test_cases():
    cases = Cases(4)
    cases.add("a/b", torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.0, float("nan")]))
    cases.add("a/b", [2, 0], [1.0, 0.5])
    assert cases.to_dict() == {"a/b": [0.5, None, 1.0, None]}
    assert cases.estimates(seed=3)["a/b"].n == 2 and cases.estimates(seed=3)["a/b"].value == 0.75
