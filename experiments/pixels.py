"""Pictures as what is saved and looked at."""

import torch


def to_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """RGB in [0, 1] of any shape to uint8."""
    return (pictures.clamp(0, 1) * 255).round().byte()
