"""Images as what is saved and looked at."""

import torch


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """RGB in [0, 1] of any shape to uint8."""
    return (images.clamp(0, 1) * 255).round().byte()
