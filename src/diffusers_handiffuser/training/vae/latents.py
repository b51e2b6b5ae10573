"""Latents: their statistics, standardisation, and those that are read from a file."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..engine.images import normalize_images
from .objective import quant_convolutions


def read_decoder_latents(path: str, num_images: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """The `latents` of the file, in the precision stored, for at most `num_images`.

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
    return latents[:num_images]


@torch.no_grad()
def latent_statistics(
    vae: AutoencoderKL, images: np.ndarray, device: torch.device | str, batch_size: int = 32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (C,) of each channel of *sampled* latents.

    Sampled, because a channel that the KL term has collapsed (constant mean, unit variance) would be amplified to
    noise if it were divided by the deviation of its mean.
    """
    count, total, square = 0, torch.zeros(()), torch.zeros(())
    for start in range(0, len(images), batch_size):
        posterior = vae.encode(normalize_images(images[start : start + batch_size], device)).latent_dist
        mean, var = posterior.mean.double(), posterior.var.double()
        count += mean.numel() // mean.shape[1]
        total = total + mean.sum((0, 2, 3))
        square = square + (mean.square() + var).sum((0, 2, 3))
    mean = total / count
    return mean.float(), (square / count - mean.square()).clamp(min=1e-12).sqrt().float()


@torch.no_grad()
def normalize_latents(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Changes the VAE so that its latents are (latent - mean) / std and its images stay the same.

    Exact, since `quant_conv` and `post_quant_conv` are 1 x 1 convolutions.
    """
    channels = mean.numel()
    moments, reader = quant_convolutions(vae)
    moments.weight[:channels] /= std.view(-1, 1, 1, 1)
    moments.bias[:channels] = (moments.bias[:channels] - mean) / std
    moments.bias[channels:] -= 2 * std.log()
    reader.bias += torch.einsum("oi,i->o", reader.weight[:, :, 0, 0], mean)
    reader.weight *= std.view(1, -1, 1, 1)
