"""Feature networks by name: the FID Inception where its weights are, our small one everywhere, or your own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...utils.command_line import load_function
from ...utils.messages import install_extra

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity calls the FID network's weights in torch's cache."""
_INCEPTION_HASH = "6726825d"


@dataclass(frozen=True)
class FeatureNetwork:
    """What turns pictures into features.

    Args:
        name (`str`): for the report: distances in features of different networks cannot be compared.
        function (callable): pictures `(N, 3, H, W)`, uint8 RGB, to features `(N, D)`; a module or any other.
        crop_size (`int`): pixels per side of the hand crops that it is given.
    """

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]
    crop_size: int = 299

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor, batch_size: int = 50) -> torch.Tensor:
        """Features `(N, D)`, float32 on the CPU, of pictures `(N, H, W, 3)` uint8."""
        parts = []
        for part in pictures.permute(0, 3, 1, 2).split(batch_size):
            found = self.function(part)
            if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(part):
                shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
                raise ValueError(f"the feature network must return ({len(part)}, D) numbers, got {shape}.")
            parts.append(found.float().cpu())
        return torch.cat(parts) if parts else torch.empty(0, 0)


def load_features(name: str, device: str = "cpu") -> FeatureNetwork:
    """The feature network that a command names. Nothing is ever downloaded.

    Args:
        name (`str`): `"studio"` for the small one in the package; `"inception"` for the FID network, with its weights
            in torch's cache, or a file of them (`.pth`); `MODULE:FUNCTION` for one of your own, a function or module
            that turns pictures `(N, 3, H, W)` uint8 into `(N, D)`.
        device (`str`): where it runs; one of your own is left where it is.
    """
    if name == "studio":
        from .studio_judge import StudioFeatureNetwork

        network = StudioFeatureNetwork.bundled().to(device)
        return FeatureNetwork("studio", network, network.input_size)
    if name == "inception" or name.endswith(".pth"):
        cache = Path(torch.hub.get_dir(), "checkpoints", INCEPTION_FILE)
        return FeatureNetwork("FID Inception", _inception(cache if name == "inception" else Path(name), device))
    function = load_function(name, "--features")
    return FeatureNetwork(name, function.eval() if isinstance(function, torch.nn.Module) else function)


def _inception(weights: Path, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """torch-fidelity's port of the network that FID is defined by. torchvision's Inception is another network."""
    if not weights.is_file():
        raise FileNotFoundError(
            f"the FID network's weights are not at {weights}: download them from torch-fidelity's releases on GitHub, "
            "or use --features studio"
        )
    # The name of a release ends in the first digits of its hash; torch-fidelity unpickles what it is given.
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
    return lambda pictures: network(pictures.to(device))[0]
