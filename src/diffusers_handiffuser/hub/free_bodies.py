"""Registry of bodies that are free to publish; filled by `hands`, a layer above."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch


class FreeBody(NamedTuple):
    """A class of body models, as the search for licensed bodies needs it.

    Args:
        load_arrays: loads the arrays of the body that ships with the package.
        stored_sha256: SHA-256 of a stored model, from its config and its tensors; raises if they do not fit.
    """

    load_arrays: Callable[[], Mapping[str, np.ndarray]]
    stored_sha256: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], str]


FREE_BODIES: dict[str, FreeBody] = {}
"""By class name, as in the model's config."""


def register_free_body(
    class_name: str,
    load_arrays: Callable[[], Mapping[str, np.ndarray]],
    stored_sha256: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], str],
) -> None:
    """Registers a class of body models, see [`FreeBody`]."""
    FREE_BODIES[class_name] = FreeBody(load_arrays, stored_sha256)
