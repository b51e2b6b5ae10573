"""What the U-Net draws of an image: all of it, resized and perhaps padded, or a region."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.image_processor import VaeImageProcessor

from ..hands import ImageCrop
from .images import filled_crop, hard_masks


@dataclass(frozen=True)
class Canvas:
    """How images become what is drawn.

    Args:
        size (`tuple[int, int]`): width and height that images are resized to, pixels.
        drawn (`tuple[int, int]`): those that are drawn: `size`, or more where a factor does not divide it. Images are
            then continued at the right and at the bottom by their last pixels, and results cut back.
        region (`tuple[int, int, int, int]`, *optional*): left, top, right and bottom of what is drawn instead of the
            whole image, in diffusers' resize mode "fill".
    """

    size: tuple[int, int]
    drawn: tuple[int, int]
    region: tuple[int, int, int, int] | None = None

    @classmethod
    def padded(cls, size: tuple[int, int], multiple: int) -> "Canvas":
        """For whole images, drawn with sides that `multiple` divides."""
        width, height = (-(-side // multiple) * multiple for side in size)
        return cls(size, (width, height))

    @property
    def is_padded(self) -> bool:
        return self.region is None and self.drawn != self.size

    def crops(self, sizes: Sequence[tuple[int, int]], num_results: int) -> list[ImageCrop]:
        """How results show images of the given widths and heights, one for all or one per result."""
        if self.region is not None:
            crops = [filled_crop(size, self.region, self.drawn) for size in sizes]
        else:
            across, down = self.drawn[0] / self.size[0], self.drawn[1] / self.size[1]
            crops = [ImageCrop(size, (0, 0, size[0] * across, size[1] * down), self.drawn) for size in sizes]
        return crops * num_results if len(crops) == 1 else crops

    def preprocess(self, images: Any, processor: VaeImageProcessor) -> torch.Tensor:
        """Whole images of one form as `processor` makes them, `(B, C, H, W)`, of the size drawn."""
        width, height = self.size
        if not self.is_padded:
            return processor.preprocess(images, height, width)
        exactly = VaeImageProcessor.from_config(processor.config, vae_scale_factor=1)
        columns, rows = torch.arange(self.drawn[0]), torch.arange(self.drawn[1])
        pixels = exactly.preprocess(images, height, width)
        return pixels[:, :, rows.clamp(max=height - 1)][..., columns.clamp(max=width - 1)]

    def pad_masks(self, mask_image: Any) -> torch.Tensor:
        """Masks `(B, 1, H, W)`, black where the images are padded."""
        width, height = self.size
        masks = hard_masks(mask_image, height, width)[:, None].float()
        return F.pad(masks, (0, self.drawn[0] - width, 0, self.drawn[1] - height))

    def cut(self, results: Any) -> Any:
        """Results of the size drawn, in any form but latents, without what pads them."""
        width, height = self.size
        if isinstance(results, list):
            return [image.crop((0, 0, width, height)) for image in results]
        return results[..., :height, :width] if isinstance(results, torch.Tensor) else results[:, :height, :width]
