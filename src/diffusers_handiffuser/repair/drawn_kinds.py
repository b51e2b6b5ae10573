"""Whether a checkpoint draws images of the kind that is to be repaired."""

import warnings
from typing import Any

import numpy as np
from PIL import Image

_SIDE = 256
"""Pixels: larger images are looked at in a smaller copy."""
_TEXTURE = 2.0
"""Of 255: the median of the Laplacian's absolute values. Images of the studio and of the bundled checkpoint have at
most 1.4; of sixteen photographs of hands, fifteen have more than 2.6."""


def warn_of_another_kind(pipe: Any, pixels: np.ndarray) -> None:
    """Warns if the image looks like a photograph and a pipeline says that it draws something else.

    Args:
        pipe: the pipeline, whose config may have an `image_domain`, such as `"renderings of hands"`; most say nothing
            of what they draw.
        pixels (`np.ndarray` of shape `(H, W, 3)`, uint8): the image.
    """
    domain = getattr(getattr(pipe, "config", None), "image_domain", None)
    if domain is not None and "photograph" not in domain and has_texture(pixels):
        warnings.warn(
            f"The pipeline draws {domain}, but the image looks like a photograph, which they do not fit in. Pass a "
            "pipeline that draws photographs, such as Stable Diffusion 1.5 with the ControlNet "
            "gxkok/control_sd15_depth_hand (`--model` and `--controlnet`).",
            UserWarning,
            stacklevel=4,
        )


def has_texture(pixels: np.ndarray) -> bool:
    """Whether an image `(H, W, 3)`, uint8, has the fine texture of photographs, which no image of the studio has."""
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    grey = np.asarray(image, np.float32).mean(-1)
    if min(grey.shape) < 3:
        return False
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return bool(np.median(np.abs(4 * inner - around)) > _TEXTURE)
