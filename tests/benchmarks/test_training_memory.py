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
    assert counted["total"] == sum(counted[name] for name in ("weights", "gradients", "optimizer", "average"))
    assert training_memory(models, use_ema=True, offload_ema=True)["average"] == 0
    halves = training_memory(models, num_shards=2)
    assert halves["weights"] == -(-counted["weights"] // 2)


def test_eight_bits():
    with torch.device("meta"):
        model = torch.nn.Linear(512, 512)  # 262144 weights in 1024 blocks; the 512 biases stay in 32 bits
    assert training_memory([model], use_8bit_adam=True)["optimizer"] == 2 * (262144 + 4 * 1024) + 2 * 4 * 512
    assert training_memory([model])["optimizer"] == 8 * (262144 + 512)
