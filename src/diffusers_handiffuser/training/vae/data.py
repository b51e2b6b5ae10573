"""Training data of the autoencoder: random crops of images, mirrored or not, and latents for the decoder."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL

from ...pipelines.images import vae_factor
from ..engine.images import normalize_images
from ..engine.option_parser import option
from ..engine.randomness import BatchRandom
from .latents import read_decoder_latents
from .objective import POOLED_CHANNELS, PYRAMID_LEVELS


@dataclass
class CropOptions:
    """Images, and latents that belong to them."""

    _argument_group_name: ClassVar[str] = "images"

    resolution: int = option(128, help="images are resized to this many pixels a side")
    random_flip: bool = option(False, help="mirror half of the images")
    random_crop: int | None = option(
        None, help="train on random squares of this many pixels: more images for the same work"
    )
    decoder_latents: str | None = option(
        None,
        help="with --train_decoder_only: safetensors file with `latents` (N, C, h, w) of the first N images, as a "
        "diffusion model makes them; the decoder learns from these pairs alone, and not from the encoder's latents",
    )

    @property
    def side(self) -> int:
        """Pixels per side of a training image."""
        return self.random_crop or self.resolution


def check_latent_size(options: CropOptions, vae: AutoencoderKL, pooled: bool) -> None:
    """Raises a `ValueError` if the images do not divide into latents, or if latents cannot be `pooled` ones."""
    factor, side = vae_factor(vae), options.side
    if side % factor or side % 2**PYRAMID_LEVELS or side > options.resolution:
        name = "random_crop" if options.random_crop else "resolution"
        raise ValueError(
            f"`{name}` must be divisible by {factor} and {2**PYRAMID_LEVELS}, and a crop no larger than `resolution`, "
            f"but is {side}"
        )
    if pooled and vae.config.latent_channels != POOLED_CHANNELS:
        raise ValueError(
            f"`pooled_latents_weight` needs {POOLED_CHANNELS} latent channels, the colours and the brightness, but "
            f"the VAE has {vae.config.latent_channels}; set it to 0, or `latent_channels` in `vae_config` to "
            f"{POOLED_CHANNELS}"
        )


class CropDataset:
    """Batches of random crops, with their latents where a file gives them.

    Args:
        images (`np.ndarray` of shape (N, resolution, resolution, 3)): uint8, to train on.
        options (`CropOptions`): sizes, crops and mirroring.
        vae (`AutoencoderKL`): its config gives the latents' shape.
        device (`torch.device`): of the batches.
    """

    def __init__(self, images: np.ndarray, options: CropOptions, vae: AutoencoderKL, device: torch.device):
        self.images, self.options, self.device = images, options, device
        self.factor, channels = vae_factor(vae), vae.config.latent_channels
        self.latent_shape = (channels, options.side // self.factor, options.side // self.factor)
        self.latents: torch.Tensor | None = None
        if options.decoder_latents is not None:
            whole = (channels, options.resolution // self.factor, options.resolution // self.factor)
            self.latents = read_decoder_latents(options.decoder_latents, len(images), whole)

    def __len__(self) -> int:
        return len(self.images if self.latents is None else self.latents)

    def batch(self, rows: np.ndarray, random: BatchRandom) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images (B, 3, side, side) in [-1, 1], and their latents or `None`."""
        images = normalize_images(self.images[rows], self.device)
        latents = None if self.latents is None else self.latents[rows].to(self.device).float()
        corners = random.integers(self.options.resolution - self.options.side + 1, 2)
        if latents is not None:
            corners = corners // self.factor * self.factor
            latents = crop(latents, corners // self.factor, self.options.side // self.factor)
        images = crop(images, corners, self.options.side)
        if self.options.random_flip:
            flipped = (random.uniform() < 0.5).view(-1, 1, 1, 1)
            images = torch.where(flipped, images.flip(-1), images)
            latents = None if latents is None else torch.where(flipped, latents.flip(-1), latents)
        return images, latents


def crop(images: torch.Tensor, corners: torch.Tensor, side: int) -> torch.Tensor:
    """Of each image (B, C, H, W) the square whose upper left corner is at row and column `corners` (B, 2)."""
    places = zip(images, corners.tolist(), strict=True)
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in places])
