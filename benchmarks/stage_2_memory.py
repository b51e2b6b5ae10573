"""Memory that stage 2 takes on the device, for every way to train it from Stable Diffusion 1.5.

    python benchmarks/stage_2_memory.py                  # computed: no weights, no GPU
    python benchmarks/stage_2_memory.py --measure        # also on the GPU of this machine, with random weights

Computed means: the models are made with their sizes but without their numbers (torch's fake tensors), one step of
training runs on them, and every tensor that would be there is counted, at the moment when most of them are. A GPU
needs more: CUDA itself (about half a gigabyte), workspaces, and what the allocator cannot use for being in pieces.
"""

import argparse
import contextlib
import functools
import weakref
from collections.abc import Iterable, Iterator

import torch
from diffusers import UNet2DConditionModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from training_memory import training_memory

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training.hand_params_to_image.lora import add_lora, cast_frozen
from diffusers_handiffuser.training.hand_params_to_image.loss import ImageObjective

SD_1_5_UNET = {"sample_size": 64, "cross_attention_dim": 768}
TINY_UNET = {
    **{"sample_size": 8, "cross_attention_dim": 768, "block_out_channels": (32, 64), "layers_per_block": 1},
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
TINY_ENCODER = {"vocab_size": 100, "num_hidden_layers": 1}
WAYS = {
    "full": {"method": "full"},
    "full, EMA": {"method": "full", "use_ema": True},
    "full, 8-bit Adam": {"method": "full", "use_8bit_adam": True},
    "LoRA 16": {"method": "lora"},
}
GIB = 2**30


def build(method: str, half: torch.dtype, checkpointing: bool, tiny: bool) -> ImageObjective:
    """U-Net and encoder as the trainer has them on the device, for mixed precision."""
    unet = UNet2DConditionModel(**(TINY_UNET if tiny else SD_1_5_UNET))
    text_encoder = TextHandEncoder(**(TINY_ENCODER if tiny else {}))
    if method == "lora":
        add_lora(unet, text_encoder, rank=16)
        cast_frozen(unet, half)
    if checkpointing:
        unet.enable_gradient_checkpointing()
        text_encoder.enable_gradient_checkpointing()
    return ImageObjective(unet, text_encoder).train()


def make_fake(model: torch.nn.Module) -> None:
    """Fake tensors of the CPU in the place of tensors of the meta device, on which autocast does nothing."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(module, name, torch.nn.Parameter(fake, requires_grad=parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, and remembers the most there were."""

    def __init__(self, there: Iterable[torch.Tensor]):
        super().__init__()
        self.alive, self.now, self.peak = set(), 0, 0
        for tensor in there:
            self._add(tensor)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.alive:
            self.alive.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self.alive.discard(key)
        self.now -= size


def inputs(batch: int, side: int, basis_points: int, device: str) -> dict[str, torch.Tensor]:
    return {
        "noisy_latents": torch.zeros(batch, 4, side, side, device=device),
        "timesteps": torch.zeros(batch, dtype=torch.long, device=device),
        "input_ids": torch.zeros(batch, 77, dtype=torch.long, device=device),
        "hand_rotations": torch.zeros(batch, 2, 16, 3, 3, device=device),
        "hand_bps": torch.zeros(batch, 2, basis_points, device=device),
        "hand_joints_2d": torch.zeros(batch, 2, 21, 2, device=device),
        "hand_visible": torch.ones(batch, 2, dtype=torch.bool, device=device),
    }


def step(objective: ImageObjective, batch: dict[str, torch.Tensor], device: str, half: torch.dtype) -> None:
    with torch.autocast(device, dtype=half):
        prediction = objective(**batch)
    prediction.float().square().mean().backward()


@contextlib.contextmanager
def norms_in_float32() -> Iterator[None]:
    """Under autocast, normalisation runs in float32 on CUDA, but not on the CPU, whose fake tensors are used here."""
    functional = torch.nn.functional
    originals = functional.group_norm, functional.layer_norm
    functional.group_norm = lambda x, *args, **kwargs: originals[0](x.float(), *args, **kwargs)
    functional.layer_norm = lambda x, *args, **kwargs: originals[1](x.float(), *args, **kwargs)
    try:
        yield
    finally:
        functional.group_norm, functional.layer_norm = originals


@functools.cache
def peak_of_step(method: str, half: torch.dtype, checkpointing: bool, batch: int, tiny: bool) -> int:
    """Bytes of weights, gradients and what the backward pass needs, when they are most."""
    with torch.device("meta"):
        objective = build(method, half, checkpointing, tiny)
    with FakeTensorMode(), norms_in_float32():
        make_fake(objective)
        basis_points = objective.text_encoder.config.num_basis_points
        arguments = inputs(batch, objective.unet.config.sample_size, basis_points, "cpu")
        counter = PeakMemory([*objective.parameters(), *objective.buffers(), *arguments.values()])
        with counter:
            step(objective, arguments, "cpu", half)
    return counter.peak


def computed(way: dict, half: torch.dtype, checkpointing: bool, batch: int, tiny: bool) -> dict[str, float]:
    """GiB of weights, gradients and the rest in every step, and of all that is there at the peak of one."""
    with torch.device("meta"):
        objective = build(way["method"], half, checkpointing, tiny)
    states = training_memory([objective], **{name: on for name, on in way.items() if name.startswith("use_")})
    peak = peak_of_step(way["method"], half, checkpointing, batch, tiny)
    # Optimiser and average are there all the time.
    states["peak"] = peak + states["optimizer"] + states["average"]
    return {name: value / GIB for name, value in states.items()}


def measured(way: dict, half: torch.dtype, checkpointing: bool, batch: int, tiny: bool) -> float:
    """GiB at the peak of the second step, as the CUDA allocator tells."""
    with torch.device("cuda"):
        objective = build(way["method"], half, checkpointing, tiny)
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if way.get("use_8bit_adam"):
        from bitsandbytes.optim import AdamW8bit

        optimizer = AdamW8bit(trained)
    else:
        optimizer = torch.optim.AdamW(trained, fused=True)
    average = [parameter.detach().clone() for parameter in trained] if way.get("use_ema") else []
    side = objective.unet.config.sample_size
    arguments = inputs(batch, side, objective.text_encoder.config.num_basis_points, "cuda")
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        step(objective, arguments, "cuda", half)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    del average
    return torch.cuda.max_memory_allocated() / GIB


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--measure", action="store_true", help="also measure, on the CUDA device of this machine")
    parser.add_argument("--tiny", action="store_true", help="another, very small U-Net: to see whether this runs")
    args = parser.parse_args(argv)
    if args.measure and not torch.cuda.is_available():
        parser.error("--measure needs a CUDA device")
    half = torch.bfloat16
    print("GiB, bf16 mixed precision, 512 x 512 images, latents and geometry from the caches")
    columns = ["weights", "gradients", "optimizer", "average", "peak"]
    print("| way | batch | checkpointing | " + " | ".join(columns) + (" | measured |" if args.measure else " |"))
    print("|" + "---|" * (3 + len(columns) + args.measure))
    for name, way in WAYS.items():
        for batch in args.batch_sizes:
            for checkpointing in (False, True):
                found = computed(way, half, checkpointing, batch, args.tiny)
                cells = [name, batch, "yes" if checkpointing else "no", *(f"{found[c]:.1f}" for c in columns)]
                if args.measure:
                    cells.append(f"{measured(way, half, checkpointing, batch, args.tiny):.1f}")
                    torch.cuda.empty_cache()
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
