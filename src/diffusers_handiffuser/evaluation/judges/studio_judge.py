"""`StudioFeatureNetwork`: a small network that knows the studio, for feature distances and for judging hands offline.

The FID network's weights cannot be had everywhere, and it was trained on photographs of things. This one was trained
on the studio's pictures, whole ones and crops of hands, to name what they show; the layer before the names gives the
features. It is ours and no off-the-shelf judge: distances measured with it cannot be compared with any published FID,
and what it says of hands is worth as much as its accuracy, which `accuracy.json` beside its weights gives.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from torch import nn

from ...hands.skeleton import OPENPOSE_FINGERS
from ...hub.saving import SavingMixin
from ...studio import GESTURES
from ...studio.scenes import COLORS, KINDS, SKIN_TONES, TEXTURES, VIEWS
from ...utils.typing import register_to_config

STUDIO_FEATURES = Path(__file__).parent / "data" / "studio_features"
"""Folder of the weights that come with the package."""

GESTURE_NAMES = (*GESTURES, *(f"fingers_{number:05b}" for number in range(32)))
HEADS: dict[str, int] = {
    "gesture": len(GESTURE_NAMES),
    "side": 2,
    "view": len(VIEWS),
    "fingers": len(OPENPOSE_FINGERS),
    "kind": len(KINDS),
    "raised": 2,
    "skin": len(SKIN_TONES),
    "background": len(COLORS),
    "texture": len(TEXTURES),
}
"""What is named, and by how many numbers. `"fingers"` (thumb to pinky, extended or not) and `"raised"` (left, right)
are yes or no each, the others one of several. The first four are of a hand's crop, the next two of a whole picture."""
YES_OR_NO = ("fingers", "raised")


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut, the first with a stride of two."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(hidden + self.shortcut(F.avg_pool2d(x, 2)))


class StudioFeatureNetwork(SavingMixin, ModelMixin, ConfigMixin):
    """Pictures to features, and to names.

    Args:
        input_size (`int`): pixels per side; pictures of another size are resized (antialiased).
        block_out_channels (`tuple` of `int`): of the stem and the blocks that follow it; the last are the features.
    """

    _no_split_modules: list[str] = []

    @register_to_config
    def __init__(self, input_size: int = 64, block_out_channels: tuple[int, ...] = (24, 48, 96, 128)):
        super().__init__()
        first, *others = block_out_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, first, 3, 1, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        inputs = (first, *others[:-1])
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in zip(inputs, others, strict=True)))
        self.heads = nn.ModuleDict({name: nn.Linear(others[-1], number) for name, number in HEADS.items()})

    @property
    def input_size(self) -> int:
        return self.config.input_size

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features of pictures.

        Args:
            pictures (`torch.Tensor` of shape `(N, 3, H, W)`): RGB, uint8, or floating point in [0, 1].

        Returns:
            `torch.Tensor` of shape `(N, D)`.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"`pictures` must have shape (N, 3, H, W), got {tuple(pictures.shape)}.")
        values = pictures / 255 if pictures.dtype == torch.uint8 else pictures
        values = values.to(self.device, self.dtype)
        size = (self.input_size, self.input_size)
        if values.shape[-2:] != size:
            values = F.interpolate(values, size, mode="bilinear", antialias=True)
        return self.blocks(self.stem(2 * values - 1)).mean((-2, -1))

    def logits(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """What features say: for each of `HEADS` numbers `(N, K)` before softmax, or sigmoid for `YES_OR_NO`."""
        return {name: head(features) for name, head in self.heads.items()}

    @classmethod
    def bundled(cls, **kwargs: Any) -> "StudioFeatureNetwork":
        """The one that comes with the package, on the CPU, in evaluation mode."""
        return cls.from_pretrained(STUDIO_FEATURES, **kwargs).eval()


@torch.no_grad()
def judge_hands(network: StudioFeatureNetwork, crops: torch.Tensor) -> dict[str, torch.Tensor]:
    """The studio judge: what the network makes of pictures of hands.

    Args:
        network ([`StudioFeatureNetwork`]): in evaluation mode.
        crops (`torch.Tensor` of shape `(N, S, S, 3)`, uint8): of `hand_crops`.

    Returns:
        `dict`, each `(N,)`: `"side"` (0 left, 1 right), `"fingers"` (how many are extended) and `"gesture"` (its
        number in `GESTURE_NAMES`).
    """
    logits = network.logits(network(crops.permute(0, 3, 1, 2)))
    return {
        "side": logits["side"].argmax(-1).cpu(),
        "fingers": (logits["fingers"] > 0).sum(-1).cpu(),
        "gesture": logits["gesture"].argmax(-1).cpu(),
    }


@torch.no_grad()
def judge_pictures(network: StudioFeatureNetwork, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the network makes of whole pictures.

    Args:
        network ([`StudioFeatureNetwork`]): in evaluation mode.
        pictures (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): square.

    Returns:
        `dict`, each `(N,)`: `"background"` and `"skin"`, numbers in the studio's tables `COLORS` and `SKIN_TONES`.
    """
    logits = network.logits(network(pictures.permute(0, 3, 1, 2)))
    return {name: logits[name].argmax(-1).cpu() for name in ("background", "skin")}
