"""`StudioFeatureNetwork`: a small classifier of studio images, for feature distances and for judging hands offline.

The FID network's weights are not available everywhere, and it was trained on photographs of objects. This one was
trained to classify studio images, whole ones and hand crops; its penultimate layer gives the features. It is our own:
distances in its features cannot be compared with any published FID, and its verdicts on hands are as good as its
accuracy, which is in `accuracy.json` beside the weights.
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
from ...utils.moved import renamed_argument
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
"""Classification heads and their number of logits. `"fingers"` (thumb to pinky, extended or not) and `"raised"` (left,
right) are binary each, the others one of several classes. The first four apply to hand crops, the next two to whole
images, the rest to both."""
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
    """Maps images to features, and features to the logits of `HEADS`.

    Args:
        input_size (`int`): pixels per side; images of another size are resized (antialiased).
        block_out_channels (`tuple` of `int`): of the stem and of each block; the last is the number of features.
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

    @renamed_argument("pictures", "images")
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images.

        Args:
            images (`torch.Tensor` of shape `(N, 3, H, W)`): RGB, uint8, or floating point in [0, 1].

        Returns:
            `torch.Tensor` of shape `(N, D)`.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"`images` must have shape (N, 3, H, W), got {tuple(images.shape)}.")
        values = images / 255 if images.dtype == torch.uint8 else images
        values = values.to(self.device, self.dtype)
        size = (self.input_size, self.input_size)
        if values.shape[-2:] != size:
            values = F.interpolate(values, size, mode="bilinear", antialias=True)
        return self.blocks(self.stem(2 * values - 1)).mean((-2, -1))

    def logits(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits `(N, K)` for each of `HEADS`: of a softmax, or of sigmoids for `YES_OR_NO`."""
        return {name: head(features) for name, head in self.heads.items()}

    @classmethod
    def bundled(cls, **kwargs: Any) -> "StudioFeatureNetwork":
        """The network bundled with the package, on the CPU, in evaluation mode."""
        return cls.from_pretrained(STUDIO_FEATURES, **kwargs).eval()


@torch.no_grad()
def judge_hands(network: StudioFeatureNetwork, crops: torch.Tensor) -> dict[str, torch.Tensor]:
    """Classifies hand crops.

    Args:
        network ([`StudioFeatureNetwork`]): in evaluation mode.
        crops (`torch.Tensor` of shape `(N, S, S, 3)`, uint8): from `hand_crops`.

    Returns:
        `dict`, each `(N,)`: `"side"` (0 left, 1 right), `"fingers"` (number of extended ones) and `"gesture"` (index
        in `GESTURE_NAMES`).
    """
    logits = network.logits(network(crops.permute(0, 3, 1, 2)))
    return {
        "side": logits["side"].argmax(-1).cpu(),
        "fingers": (logits["fingers"] > 0).sum(-1).cpu(),
        "gesture": logits["gesture"].argmax(-1).cpu(),
    }


@torch.no_grad()
def judge_images(network: StudioFeatureNetwork, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Classifies whole images.

    Args:
        network ([`StudioFeatureNetwork`]): in evaluation mode.
        images (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): square.

    Returns:
        `dict`, each `(N,)`: `"background"` and `"skin"`, indices in the studio's tables `COLORS` and `SKIN_TONES`.
    """
    logits = network.logits(network(images.permute(0, 3, 1, 2)))
    return {name: logits[name].argmax(-1).cpu() for name in ("background", "skin")}
