"""Memory of weights, gradients, optimiser and average of a training run, counted from the models on any device."""

from collections.abc import Iterable

from torch import nn

_ADAM_STATES = 2
_8BIT_BLOCK, _8BIT_FROM = 256, 4096
"""bitsandbytes: one float32 scale for a block; smaller tensors stay in 32 bits."""


def training_memory(
    models: Iterable[nn.Module],
    use_8bit_adam: bool = False,
    use_ema: bool = False,
    offload_ema: bool = False,
    num_shards: int = 1,
) -> dict[str, int]:
    """Bytes held during the whole run. Activations that the forward pass keeps for the backward pass come on top.

    `benchmarks/stage_2_memory.py` adds that, for Stable Diffusion 1.5, by running a step without computing it.

    Args:
        models (iterable of `torch.nn.Module`): all on the device, in the precision that they have there; what is
            trained requires a gradient. May be on the `meta` device.
        use_8bit_adam, use_ema, offload_ema (`bool`): as the options of the trainers.
        num_shards (`int`): processes that share weights, gradients, optimiser and average: of FSDP's full sharding.

    Returns:
        `dict[str, int]`: "weights", "gradients", "optimizer" (two moments in float32, or in 8 bits with a scale for
        each 256), "average", and their sum "total".
    """
    parts = dict.fromkeys(("weights", "gradients", "optimizer", "average"), 0)
    for model in models:
        for parameter in model.parameters():
            size = parameter.numel() * parameter.element_size()
            parts["weights"] += size
            if parameter.requires_grad:
                parts["gradients"] += size
                parts["optimizer"] += _moment_bytes(parameter.numel(), use_8bit_adam)
                parts["average"] += size if use_ema and not offload_ema else 0
    parts = {name: -(-size // num_shards) for name, size in parts.items()}
    return {**parts, "total": sum(parts.values())}


def _moment_bytes(number: int, use_8bit: bool) -> int:
    if use_8bit and number >= _8BIT_FROM:
        return _ADAM_STATES * (number + 4 * -(-number // _8BIT_BLOCK))
    return _ADAM_STATES * 4 * number
