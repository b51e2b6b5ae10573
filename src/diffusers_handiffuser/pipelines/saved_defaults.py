"""Steps and guidance of a call that names none: the checkpoint's, else general ones."""

from collections.abc import Mapping
from typing import Any

GENERAL_DEFAULTS = {
    "num_inference_steps": 50,
    "guidance_scale": 7.5,
    "num_hand_inference_steps": 50,
    "hand_guidance_scale": 2.5,
}
"""Used where neither the caller nor the checkpoint says anything: Stable Diffusion's for the image, MDM's for the
hands. The paper states neither."""


def with_default(config: Mapping[str, Any], name: str, value: Any) -> Any:
    """The value of an argument: the caller's, else the `default_...` in a pipeline's config, else the general one."""
    if value is None:
        value = config.get(f"default_{name}")
    return GENERAL_DEFAULTS[name] if value is None else value
