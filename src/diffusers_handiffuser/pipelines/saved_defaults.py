"""What a checkpoint says of itself: steps and guidance for calls that name none, and what its images are."""

from collections.abc import Mapping
from typing import Any

from ..utils.typing import MixinBase

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


class SavedDefaultsMixin(MixinBase):
    """Gives a pipeline what its checkpoint's config says."""

    def with_default(self, name: str, value: Any) -> Any:
        """The value of an argument: the caller's, else the one saved with the checkpoint, else the general one."""
        return with_default(self.config, name, value)

    @property
    def image_domain(self) -> str | None:
        """What the images of the checkpoint are, such as "photographs", if it says so."""
        return self.config.get("image_domain")
