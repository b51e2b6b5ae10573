"""The autoencoder's training objective."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from ..engine.images import normalize_images
from ..engine.option_parser import option
from ..engine.options import refuse_negative

PYRAMID_LEVELS = 3


@dataclass
class AutoencoderLossOptions:
    """Weights of the autoencoder's losses."""

    _argument_group_name: ClassVar[str] = "loss"

    kl_weight: float = option(1e-4, help="weight of the mean KL divergence per latent value")
    pooled_latents_weight: float = option(
        0.5,
        help="weight of the mean squared distance of the latents from each position's average colour and brightness; "
        "0 leaves them free",
    )
    latent_noise: float = option(
        0.0,
        help="standard deviation of noise on the decoder's input: the latents of a small diffusion model are noisy, "
        "and a decoder trained with noise smooths it",
    )

    def __post_init__(self) -> None:
        refuse_negative(self, "latent_noise")


def pyramid_l1(prediction: torch.Tensor, target: torch.Tensor, levels: int = PYRAMID_LEVELS) -> torch.Tensor:
    """L1 of the images plus L1 of the bands of their Laplacian pyramids.

    L1 alone blurs edges: fingers are thin, and cover few pixels. The bands (the difference from the image halved and
    enlarged again) consist of edges.

    Args:
        prediction (`torch.Tensor` of shape (B, C, H, W)): images.
        target (`torch.Tensor` of shape (B, C, H, W)): images.
        levels (`int`): number of bands; H and W must be divisible by 2 ** levels.
    """
    difference = prediction - target
    loss = difference.abs().mean()
    for _ in range(levels):
        halved = functional.avg_pool2d(difference, 2)
        band = difference - functional.interpolate(halved, scale_factor=2.0, mode="nearest")
        loss = loss + band.abs().mean()
        difference = halved
    return loss


POOLED_CHANNELS = 4
"""Red, green, blue and brightness. The last follows from the others; there are four because some of diffusers'
pipelines (inpainting) expect as many as Stable Diffusion has."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def quant_convolutions(vae: AutoencoderKL) -> tuple[Any, Any]:
    """The 1 x 1 convolutions on either side of the latent, which `model.load_or_create_vae` has checked."""
    return vae.quant_conv, vae.post_quant_conv


def pooled_latents(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Targets of the latents, before they are standardised.

    Args:
        images (`torch.Tensor` of shape (B, 3, H, W)): in [-1, 1].
        factor (`int`): pixels per side of one position.

    Returns:
        `torch.Tensor` of shape (B, 4, H / factor, W / factor): average red, green, blue and brightness.
    """
    colors = functional.avg_pool2d(images, factor)
    return torch.cat([colors, torch.einsum("bchw,c->bhw", colors, colors.new_tensor(LUMA))[:, None]], 1)


def pooled_statistics(images: np.ndarray, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation `(1, 4, 1, 1)` of `pooled_latents` of uint8 images `(N, H, W, 3)`."""
    pooled = pooled_latents(normalize_images(images, "cpu"), factor)
    return pooled.mean((0, 2, 3), keepdim=True), pooled.std((0, 2, 3), keepdim=True)


class AutoencoderObjective(torch.nn.Module):
    """`pyramid_l1 + kl_weight * KL + pooled_latents_weight * mean((latents - pooled)²)` of a batch of images.

    Args:
        vae (`AutoencoderKL`): is trained.
        options (`AutoencoderLossOptions`): weights, and noise on the decoder's input besides the posterior's.
        pooled_mean, pooled_std (`torch.Tensor`): of [`pooled_statistics`]; the latents' targets are
            `(pooled - mean) / std`.
    """

    pooled_mean: torch.Tensor
    pooled_std: torch.Tensor

    def __init__(
        self,
        vae: AutoencoderKL,
        options: AutoencoderLossOptions,
        pooled_mean: torch.Tensor | float = 0.0,
        pooled_std: torch.Tensor | float = 1.0,
    ):
        super().__init__()
        self.vae, self.options = vae, options
        self.register_buffer("pooled_mean", torch.as_tensor(pooled_mean), persistent=False)
        self.register_buffer("pooled_std", torch.as_tensor(pooled_std), persistent=False)

    def forward(
        self, images: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Scalars "loss", "reconstruction", "kl" and "pooled".

        Args:
            images (`torch.Tensor` of shape (B, 3, H, W)): in [-1, 1].
            noise (`torch.Tensor`): standard normal, of the latents' shape.
            latents (`torch.Tensor`, *optional*): the decoder's input instead of the encoder's latents; the encoder is
                not run then, and "kl" and "pooled" are missing.
        """
        options = self.options
        if latents is not None:
            decoded = self.vae.decode(latents + options.latent_noise * noise).sample
            reconstruction = pyramid_l1(decoded.float(), images)
            return {"loss": reconstruction, "reconstruction": reconstruction}
        with torch.set_grad_enabled(torch.is_grad_enabled() and quant_convolutions(self.vae)[0].weight.requires_grad):
            posterior = self.vae.encode(images).latent_dist
        std = (posterior.var + options.latent_noise**2).sqrt()
        decoded = self.vae.decode(posterior.mean + std * noise).sample
        reconstruction, kl = pyramid_l1(decoded.float(), images), posterior.kl().mean() / noise[0].numel()
        losses = {"loss": reconstruction + options.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}
        if options.pooled_latents_weight:
            losses["pooled"] = self._distance_from_pooled(posterior.mean, images)
            losses["loss"] = losses["loss"] + options.pooled_latents_weight * losses["pooled"]
        return losses

    def _distance_from_pooled(self, latents: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        pooled = pooled_latents(images, images.shape[-1] // latents.shape[-1])
        return (latents.float() - (pooled - self.pooled_mean) / self.pooled_std).square().mean()
