"""Feature networks by name: the FID Inception if its weights are here, the bundled studio network, or your own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...utils.command_line import load_function
from ...utils.messages import install_extra
from ...utils.moved import renamed_argument

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity calls the FID network's weights in torch's cache."""
_INCEPTION_HASH = "6726825d"


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that maps images to features.

    Args:
        name (`str`): for the report; distances in the features of different networks cannot be compared.
        function (callable): images `(N, 3, H, W)`, uint8 RGB, to features `(N, D)`; a module or any other.
        crop_size (`int`): pixels per side of its hand crops.
    """

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]
    crop_size: int = 299

    @renamed_argument("pictures", "images")
    @torch.no_grad()
    def __call__(self, images: torch.Tensor, batch_size: int = 50) -> torch.Tensor:
        """Features `(N, D)`, float32 on the CPU, of images `(N, H, W, 3)` uint8."""
        parts = []
        for part in images.permute(0, 3, 1, 2).split(batch_size):
            found = self.function(part)
            if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(part):
                shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
                raise ValueError(f"the feature network must return ({len(part)}, D) numbers, got {shape}.")
            parts.append(found.float().cpu())
        return torch.cat(parts) if parts else torch.empty(0, 0)


def load_features(name: str, device: str = "cpu") -> FeatureNetwork:
    """The feature network of that name. Nothing is ever downloaded.

    Args:
        name (`str`): `"studio"` for the small network in the package; `"inception"` for the FID network, with its
            weights in torch's cache, or a file of them (`.pth`); `MODULE:FUNCTION` for your own, a function or module
            that maps images `(N, 3, H, W)` uint8 to features `(N, D)`.
        device (`str`): where it runs; your own stays where it is.

    Returns:
        [`FeatureNetwork`].

    Raises:
        FileNotFoundError: if the FID network's weights are missing.
        ValueError: if the file holds other weights.
        ImportError: if torch-fidelity is not installed.
    """
    if name == "studio":
        from .studio_judge import StudioFeatureNetwork

        network = StudioFeatureNetwork.bundled().to(device)
        return FeatureNetwork("studio", network, network.input_size)
    if name == "inception" or name.endswith(".pth"):
        cache = Path(torch.hub.get_dir(), "checkpoints", INCEPTION_FILE)
        return FeatureNetwork("FID Inception", _inception(cache if name == "inception" else Path(name), device))
    function = load_function(name, "--features", "studio, inception, a file of its weights (.pth), none or ")
    return FeatureNetwork(name, function.eval() if isinstance(function, torch.nn.Module) else function)


def _inception(weights: Path, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """torch-fidelity's port of the network that defines FID; torchvision's Inception is a different one."""
    if not weights.is_file():
        raise FileNotFoundError(
            f"the FID network's weights are not at {weights}: download them from torch-fidelity's releases on GitHub, "
            "or use --features studio"
        )
    # The file name ends in the first digits of its hash; torch-fidelity unpickles the file without a check.
    if not hashlib.sha256(weights.read_bytes()).hexdigest().startswith(_INCEPTION_HASH):
        raise ValueError(f"{weights} is not the FID network's: its SHA-256 does not begin with {_INCEPTION_HASH}")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ImportError(f"FID Inception needs torch-fidelity: {install_extra('evaluation')}") from error
    network: Any = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )
    network = network.to(device).eval()
    return lambda images: network(images.to(device))[0]
