"""Images of a data set, read and encoded in batches."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from ...pipelines.images import vae_factor

Batch = dict[str, torch.Tensor]

Rows = np.ndarray | Sequence[int]


def normalize_images(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    tensor = torch.from_numpy(np.array(images)).to(device)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()


def weights_hash(model: nn.Module) -> str:
    """Short hash of a model's weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def encode_images(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Latents of images in [-1, 1]: the posterior's mode times `scaling_factor`."""
    return vae.encode(images.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor


def check_resolution(resolution: int, vae: AutoencoderKL) -> None:
    if resolution % vae_factor(vae):
        raise ValueError(f"`resolution` must be divisible by {vae_factor(vae)}, but is {resolution}")


class ImageLoader:
    """Decodes the images of a batch, and those of the next in the background.

    Args:
        load (`Callable`): takes a row and the resolution, returns uint8 (resolution, resolution, 3).
        resolution (`int`): pixels a side.
        num_workers (`int`): threads; 0 decodes on demand.
    """

    def __init__(self, load: Callable[[int, int], np.ndarray], resolution: int, num_workers: int):
        self._load, self.resolution = load, resolution
        self._pool = ThreadPoolExecutor(num_workers) if num_workers else None
        self._waiting: dict[int, Future] = {}

    def __enter__(self) -> "ImageLoader":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def load(self, rows: Rows, following: Rows = ()) -> np.ndarray:
        """Images (B, H, W, 3) of rows; decoding of the `following` ones starts."""
        if self._pool is None:
            return np.stack([self._load(int(row), self.resolution) for row in rows])
        for row in map(int, (*rows, *following)):
            if row not in self._waiting:
                self._waiting[row] = self._pool.submit(self._load, row, self.resolution)
        images = np.stack([self._waiting[int(row)].result() for row in rows])
        self._waiting = {row: self._waiting[row] for row in map(int, following)}
        return images
