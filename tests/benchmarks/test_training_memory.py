"""Bytes that are counted are bytes that are taken."""

import copy

import pytest
import torch
from training_memory import training_memory

from diffusers_handiffuser.training.hand_params_to_image.lora import add_lora, cast_frozen


def bytes_of(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("lora", [False, True])
def test_counts_what_a_step_leaves(picture_components, hand_components, lora):
    models = [copy.deepcopy(m) for m in (picture_components["unet"], hand_components["text_encoder"])]
    for model in models:
        model.requires_grad_(True)
    if lora:
        add_lora(*models, rank=2)
        cast_frozen(models[0], torch.bfloat16)
    parameters = [p for model in models for p in model.parameters()]
    trained = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    states = [v for state in optimizer.state.values() for name, v in state.items() if name != "step"]

    counted = training_memory(models, use_ema=True)
    assert counted["weights"] == bytes_of(parameters)
    assert counted["gradients"] == counted["average"] == bytes_of(trained)
    assert counted["optimizer"] == bytes_of(states)
    assert counted["total"] == bytes_of(parameters) + 2 * bytes_of(trained) + bytes_of(states)
    assert training_memory(models, use_ema=True, offload_ema=True)["average"] == 0
    shards = 7 * training_memory(models, use_ema=True, num_shards=7)["total"]
    assert counted["total"] <= shards < counted["total"] + 4 * 7, "they hold everything, and the parts are rounded up"


def test_counts_the_moments_of_bitsandbytes():
    optim = pytest.importorskip("bitsandbytes.optim")
    model = torch.nn.Linear(500, 9)  # the last of the weights' blocks is not full; the biases stay in 32 bits
    optimizer = optim.AdamW8bit(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    states = [optimizer.state[parameter] for parameter in model.parameters()]
    assert states[0]["state1"].dtype == torch.uint8
    kept = [state[name] for state in states for name in state if name.startswith(("state", "absmax"))]
    assert training_memory([model], use_8bit_adam=True)["optimizer"] == bytes_of(kept)
