"""Latents: their statistics, and starting points that keep them calm."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..engine.images import normalize_images
from .objective import convolutions


def silence_residual_branches(vae: AutoencoderKL) -> None:
    """Starts every residual block as the identity, which learns a good deal faster than diffusers' initial weights."""
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            for parameter in module.conv2.parameters():
                torch.nn.init.zeros_(parameter)


def quiet_posterior(vae: AutoencoderKL) -> None:
    """Starts with latents of standard deviation e^-2.5, so that their noise does not drown what they say."""
    channels, (moments, _) = vae.config.latent_channels, convolutions(vae)
    torch.nn.init.zeros_(moments.weight[channels:])
    torch.nn.init.constant_(moments.bias[channels:], -5.0)


def use_residual_branches(vae: AutoencoderKL, use: bool) -> None:
    """With `use=False` every residual block passes on its input (through its shortcut, where it has one) and no more.

    What is left, a chain of a few convolutions, runs several times as fast and is where training best begins: branches
    that start as the identity join it later without a jump.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            if use:
                module.__dict__.pop("forward", None)
            else:
                shortcut = module.conv_shortcut or torch.nn.Identity()
                module.forward = lambda hidden_states, *_, shortcut=shortcut, **__: shortcut(hidden_states)  # type: ignore[method-assign]


def read_decoder_latents(path: str, num_pictures: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """The `latents` of the file, float16 or as they are stored, for no more than `num_pictures`.

    Raises a `ValueError` if the file cannot be read, or holds none or some of another shape than (N, *shape).
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"`decoder_latents`: {path} is no safetensors file that can be read ({error})") from error
    latents = tensors.get("latents")
    if latents is None or tuple(latents.shape[1:]) != shape or not len(latents):
        found = f"{sorted(tensors)}" if latents is None else f"shape {tuple(latents.shape)}"
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"`decoder_latents` must hold `latents` of shape (N, {wanted}), but {path} holds {found}")
    return latents[:num_pictures]


@torch.no_grad()
def latent_statistics(
    vae: AutoencoderKL, pictures: np.ndarray, device: torch.device | str, batch_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (C,) of each channel of *sampled* latents.

    Sampled, because a channel that the KL term switched off (constant mean, unit variance) would be blown up to noise
    if it were divided by the deviation of its mean.
    """
    count, total, square = 0, torch.zeros(()), torch.zeros(())
    for start in range(0, len(pictures), batch_size):
        posterior = vae.encode(normalize_images(pictures[start : start + batch_size], device)).latent_dist
        mean, var = posterior.mean.double(), posterior.var.double()
        count += mean.numel() // mean.shape[1]
        total = total + mean.sum((0, 2, 3))
        square = square + (mean.square() + var).sum((0, 2, 3))
    mean = total / count
    return mean.float(), (square / count - mean.square()).clamp(min=1e-12).sqrt().float()


@torch.no_grad()
def normalize_latents(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Changes the VAE so that its latents are (latent - mean) / std and its pictures stay what they were.

    `quant_conv` makes the moments and `post_quant_conv` reads the latent; both are 1 x 1 convolutions, so the change
    is exact.
    """
    channels = mean.numel()
    moments, reader = convolutions(vae)
    moments.weight[:channels] /= std.view(-1, 1, 1, 1)
    moments.bias[:channels] = (moments.bias[:channels] - mean) / std
    moments.bias[channels:] -= 2 * std.log()
    reader.bias += torch.einsum("oi,i->o", reader.weight[:, :, 0, 0], mean)
    reader.weight *= std.view(1, -1, 1, 1)
