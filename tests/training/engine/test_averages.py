import pytest
import torch

from diffusers_handiffuser.training.engine.averages import WeightAverages
from diffusers_handiffuser.training.engine.options import EMAOptions


@pytest.mark.parametrize("offload", [False, True])
def test_averages_follow_the_weights_and_stand_in_for_them(offload):
    model = torch.nn.Linear(1, 1, bias=False)
    options = EMAOptions(use_ema=True, ema_decay=0.5, offload_ema=offload)
    averages = WeightAverages(options, {"line": model}, torch.device("cpu"))
    weights = [model.weight.item(), 1.0, 3.0]
    for value in weights[1:]:
        torch.nn.init.constant_(model.weight, value)
        averages.step()
    expected = weights[0]
    for step, value in enumerate(weights[1:], start=1):
        decay = min(0.5, step / (9 + step)) if step > 1 else 0.0
        expected = decay * expected + (1 - decay) * value
    with averages.in_place():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 3.0
    assert averages.state_dict()["line"]["optimization_step"] == 2


def test_without_use_ema_there_are_none():
    model = torch.nn.Linear(1, 1)
    averages = WeightAverages(EMAOptions(), {"line": model}, torch.device("cpu"))
    averages.step()
    with averages.in_place():
        assert not averages and averages.state_dict() == {}
