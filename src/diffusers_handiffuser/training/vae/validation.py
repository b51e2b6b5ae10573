"""Validation of the autoencoder: reconstructions of held-out images, and their PSNR."""

import numpy as np
import torch
from diffusers import AutoencoderKL

from ..engine.images import normalize_images
from ..engine.run import TrainingRun
from ..engine.tracking import image_grid
from .objective import AutoencoderObjective


class ReconstructionValidation:
    """PSNR of held-out images, and an image of some of them; see `TrainingRun.train`.

    Args:
        run (`TrainingRun`): logs the image.
        images (`np.ndarray` of shape (N, H, W, 3)): uint8, held out.
    """

    def __init__(self, run: TrainingRun, images: np.ndarray):
        self.run, self.images = run, images

    def __call__(self, objective: AutoencoderObjective) -> dict[str, float]:
        if not len(self.images):
            return {}
        decoded = reconstruct(objective.vae, self.images, self.run.device)
        errors = np.square(decoded.astype(np.float32) - self.images).mean((1, 2, 3))
        self.run.show("reconstructions", image_grid([self.images[:12], decoded[:12]]))
        return {"psnr": float(np.mean(10 * np.log10(255.0**2 / np.maximum(errors, 1e-3))))}


def reconstruct(vae: AutoencoderKL, images: np.ndarray, device: torch.device, batch_size: int = 8) -> np.ndarray:
    """uint8 images (N, H, W, 3) as the VAE encodes and decodes them."""
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    return np.concatenate(
        [
            to_pixels(vae.decode(vae.encode(normalize_images(batch, device)).latent_dist.mean).sample)
            for batch in batches
        ]
    )


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Converts images (B, 3, H, W) in [-1, 1] to uint8 (B, H, W, 3)."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
