"""A grid of the first images, each also with the 2D skeletons of its hands."""

import torch
from diffusers.utils import make_image_grid
from PIL import Image

from ..rendering.drawing import draw_skeleton
from .batches import ImageBatch

_MAX_COLUMNS = 8


class SkeletonGrid:
    """Collects the first sample of each row and draws them as one image.

    Args:
        num_images (`int`): number of images, from the first.
        samples (`int`): images of each row in a batch.
    """

    def __init__(self, num_images: int, samples: int):
        self.num_images, self.samples = num_images, samples
        self._tiles: list[Image.Image] = []

    def add(self, batch: ImageBatch, joints: torch.Tensor) -> None:
        """Adds images; `joints` `(N, 2, 21, 2)` are their hands' joints in pixels."""
        height, width = batch.images.shape[1:3]
        scale = torch.tensor([width, height]) / min(width, height)
        for number in range(0, len(batch.rows), self.samples):
            if len(self._tiles) >= 2 * self.num_images:
                return
            image = Image.fromarray(batch.images[number].numpy())
            joints_2d = (2 * joints[number] / torch.tensor([width, height]) - 1) * scale
            self._tiles += [image, draw_skeleton(image, joints_2d, batch.hands.hand_visible[number])]

    def draw(self) -> Image.Image | None:
        """The grid, or `None` if no image was added."""
        if not self._tiles:
            return None
        columns = min(_MAX_COLUMNS, len(self._tiles))
        blank = Image.new("RGB", self._tiles[0].size)
        padded = self._tiles + [blank] * (-len(self._tiles) % columns)
        return make_image_grid(padded, len(padded) // columns, columns)
