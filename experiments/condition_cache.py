"""Images of hands that a ControlNet is trained with: drawn once, kept on disk."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.training.engine.caches import cached_together
from diffusers_handiffuser.training.engine.images import weights_hash
from diffusers_handiffuser.training.engine.sources import cache_folder, open_rows
from diffusers_handiffuser.training.engine.tracking import progress
from diffusers_handiffuser.training.hand_params_to_image.options import ImageTrainingOptions

_BATCH = 64


def cache_conditions(
    name: str,
    draw: Callable[[HandParams, HandBodyModel, int], torch.Tensor],
    options: ImageTrainingOptions,
    body_model: HandBodyModel,
    accelerator: Accelerator,
) -> np.ndarray:
    """Conditions of all rows, uint8 (1 or 2, N, 3, resolution, resolution); [1] are those of mirrored rows.

    Args:
        name (`str`): of the conditions, for the file.
        draw (callable): from B hands, the body and a size to images `(B, 3, size, size)`, uint8.
        options (`ImageTrainingOptions`): data and resolution.
        body_model ([`HandBodyModel`]): the body that is drawn.
        accelerator (`Accelerator`): its processes share the work.
    """
    dataset, size = open_rows(options.data, need_images=True), options.images.resolution
    both = [dataset.hand_params, dataset.hand_params.mirror()] if options.images.random_flip else [dataset.hand_params]

    def fill(array: np.ndarray, rows: range) -> None:
        for start in progress(range(rows.start, rows.stop, _BATCH), name, accelerator):
            batch = slice(start, min(start + _BATCH, rows.stop))
            for number, hands in enumerate(both):
                array[number, batch] = draw(hands[batch], body_model, size).numpy()

    shape = (len(both), len(dataset), 3, size, size)
    key = f"{name}-{dataset.fingerprint}-{size}-{weights_hash(body_model)}-{len(both)}.npy"
    folder = cache_folder(options.data, options.run.output_dir)
    return cached_together(folder / key, shape, np.uint8, fill, accelerator)
