"""Bodies that are free to publish. `hands`, which stands above this package, registers them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch


class FreeBody(NamedTuple):
    """What the search for licensed bodies knows of a class of body models.

    Args:
        load_arrays: loads the arrays of the body that ships with the package.
        stored_sha256: SHA-256 of a stored model, from its config and its tensors; raises if they do not fit.
    """

    load_arrays: Callable[[], Mapping[str, np.ndarray]]
    stored_sha256: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], str]


FREE_BODIES: dict[str, FreeBody] = {}
"""By the name of the model's class, as in its config."""


def register_free_body(
    class_name: str,
    load_arrays: Callable[[], Mapping[str, np.ndarray]],
    stored_sha256: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], str],
) -> None:
    """Registers a class of body models, see [`FreeBody`]."""
    FREE_BODIES[class_name] = FreeBody(load_arrays, stored_sha256)
