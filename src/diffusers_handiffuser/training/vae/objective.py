"""The autoencoder's training objective."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch.nn import functional

from ..engine.images import normalize_images


def pyramid_l1(
    prediction: torch.Tensor, target: torch.Tensor, levels: int = 3, detail_weight: float = 1.0
) -> torch.Tensor:
    """L1 of the pictures plus L1 of the bands of their Laplacian pyramids.

    The L1 alone is content with blurred edges: fingers are thin, and few pixels pay for them. The bands (what is lost
    by halving the picture and enlarging it again) are all edges.

    Args:
        prediction, target (`torch.Tensor` of shape (B, C, H, W)): pictures.
        levels (`int`): number of bands; H and W must be divisible by 2 ** levels.
        detail_weight (`float`): weight of the sum of the bands' L1.
    """
    difference = prediction - target
    loss = difference.abs().mean()
    for _ in range(levels):
        halved = F.avg_pool2d(difference, 2)
        band = difference - F.interpolate(halved, scale_factor=2.0, mode="nearest")
        loss = loss + detail_weight * band.abs().mean()
        difference = halved
    return loss


POOLED_CHANNELS = 4
"""Red, green, blue and brightness, which the colours give already: there are four because Stable Diffusion's latents
have four, and some of diffusers' pipelines (inpainting) count on it."""

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue give to brightness (ITU-R BT.601)."""


def convolutions(vae: AutoencoderKL) -> tuple[Any, Any]:
    """On either side of the latent; `main` sees to it that they are there."""
    return vae.quant_conv, vae.post_quant_conv


def pooled_latents(pictures: torch.Tensor, factor: int) -> torch.Tensor:
    """What the latents are held near, before it is brought to mean 0 and standard deviation 1.

    Args:
        pictures (`torch.Tensor` of shape (B, 3, H, W)): in [-1, 1].
        factor (`int`): pixels a side of one position.

    Returns:
        `torch.Tensor` of shape (B, 4, H / factor, W / factor): average red, green, blue and brightness.
    """
    colors = functional.avg_pool2d(pictures, factor)
    return torch.cat([colors, torch.einsum("bchw,c->bhw", colors, colors.new_tensor(LUMA))[:, None]], 1)


def pooled_statistics(pictures: np.ndarray, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation `(1, 4, 1, 1)` of `pooled_latents` of uint8 pictures `(N, H, W, 3)`."""
    pooled = pooled_latents(normalize_images(pictures, "cpu"), factor)
    return pooled.mean((0, 2, 3), keepdim=True), pooled.std((0, 2, 3), keepdim=True)


class AutoencoderObjective(torch.nn.Module):
    """Reconstruction and KL losses of a batch of pictures, and the distance of the latents from `pooled_latents`.

    Args:
        vae (`AutoencoderKL`): what is trained.
        kl_weight, detail_weight, pooled_latents_weight (`float`): weights in the loss.
        latent_noise (`float`): standard deviation of noise that the decoder gets besides the posterior's.
        pyramid_levels (`int`): of [`pyramid_l1`].
        pooled_mean, pooled_std (`torch.Tensor`): of [`pooled_statistics`]; the latents are held near
            `(pooled - mean) / std`.
    """

    pooled_mean: torch.Tensor
    pooled_std: torch.Tensor

    def __init__(
        self,
        vae: AutoencoderKL,
        kl_weight: float,
        detail_weight: float,
        pyramid_levels: int,
        pooled_latents_weight: float = 0.0,
        pooled_mean: torch.Tensor | float = 0.0,
        pooled_std: torch.Tensor | float = 1.0,
        latent_noise: float = 0.0,
    ):
        super().__init__()
        self.vae = vae
        self.kl_weight, self.detail_weight, self.pyramid_levels = kl_weight, detail_weight, pyramid_levels
        self.pooled_latents_weight, self.latent_noise = pooled_latents_weight, latent_noise
        self.register_buffer("pooled_mean", torch.as_tensor(pooled_mean), persistent=False)
        self.register_buffer("pooled_std", torch.as_tensor(pooled_std), persistent=False)

    def forward(
        self, pictures: torch.Tensor, noise: torch.Tensor, latents: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1]; standard normal noise of the latents' shape; latents for the decoder, if
        they are not to be the encoder's, which is then not asked."""
        if latents is not None:
            decoded = self.vae.decode(latents + self.latent_noise * noise).sample
            reconstruction = self._reconstruction(decoded, pictures)
            return {"loss": reconstruction, "reconstruction": reconstruction}
        with torch.set_grad_enabled(torch.is_grad_enabled() and convolutions(self.vae)[0].weight.requires_grad):
            posterior = self.vae.encode(pictures).latent_dist
        std = (posterior.var + self.latent_noise**2).sqrt()
        decoded = self.vae.decode(posterior.mean + std * noise).sample
        reconstruction = self._reconstruction(decoded, pictures)
        kl = posterior.kl().mean() / noise[0].numel()
        losses = {"loss": reconstruction + self.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}
        if self.pooled_latents_weight:
            pooled = pooled_latents(pictures, pictures.shape[-1] // noise.shape[-1])
            wanted = (pooled - self.pooled_mean) / self.pooled_std
            losses["pooled"] = (posterior.mean.float() - wanted).square().mean()
            losses["loss"] = losses["loss"] + self.pooled_latents_weight * losses["pooled"]
        return losses

    def _reconstruction(self, decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        return pyramid_l1(decoded.float(), pictures, self.pyramid_levels, self.detail_weight)
