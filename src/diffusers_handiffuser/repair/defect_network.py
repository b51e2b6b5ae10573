"""`HandDefectNetwork`: a small classifier of drawn hands, trained on the studio's pairs of good and defective hands.

It sees an upright view of the hand with the fitted mesh's silhouette, nearness and parts, a wide view with its arm,
and what the fit says. It knows the studio's images only, so it also says how like these an image is.
`tools/train_judge.py` trains it, and `tools/score_judge.py` measures how often it is right.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from torch import nn

from ..hub.saving import SavingMixin
from ..utils.typing import register_to_config

MESH_CHANNELS = 3
"""Silhouette, nearness, parts."""
NEAR_REACH, WIDE_REACH = 1.5, 4.5
"""Sides of the squares that the views show, in the longer side of the hand's box."""


_DROPOUT = 0.2


class DefectOutput(NamedTuple):
    """What the network says of N hands.

    Args:
        logits (`torch.Tensor` of shape `(N, 1 + K)`): of a good hand, then of each kind of defect.
        where (`torch.Tensor` of shape `(N, S / 8, S / 8)`): logits that a part of the near view is drawn wrong.
        studio (`torch.Tensor` of shape `(N,)`): logits that the image is like the studio's.
    """

    logits: torch.Tensor
    where: torch.Tensor
    studio: torch.Tensor


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


class HandDefectNetwork(SavingMixin, ModelMixin, ConfigMixin):
    """Tells good hands from badly drawn ones.

    Args:
        kinds (`tuple` of `str`): the kinds of defects, in the order of the logits after that of a good hand.
        near_size (`int`): pixels per side of the near view, a multiple of 16.
        wide_size (`int`): pixels per side of the wide view, a multiple of 16.
        near_channels (`tuple` of `int`): of the near view's stem and of its blocks.
        wide_channels (`tuple` of `int`): of the wide view's stem and of its blocks.
        num_signs (`int`): numbers that the fit says, see `SIGNS`.
        num_features (`int`): features before the logits.
        threshold (`float`): probability of a defect from which a hand counts as bad.
        studio_threshold (`float`): logit below which an image counts as unlike the studio's.
    """

    _no_split_modules: list[str] = []

    @register_to_config
    def __init__(
        self,
        kinds: tuple[str, ...] = (),
        near_size: int = 64,
        wide_size: int = 64,
        near_channels: tuple[int, ...] = (24, 48, 96, 128),
        wide_channels: tuple[int, ...] = (16, 24, 48, 64),
        num_signs: int = 8,
        num_features: int = 64,
        threshold: float = 0.5,
        studio_threshold: float = 0.0,
    ):
        super().__init__()
        first, *_, last = near_channels
        self.stem = nn.Sequential(*_convolution(3, first, 2), *_convolution(first, first, 1))
        self.mesh_stem = nn.Sequential(*_convolution(MESH_CHANNELS, first, 2))
        self.blocks = _blocks(near_channels)
        self.where = nn.Conv2d(near_channels[-2], 1, 1)
        self.wide_branch = nn.Sequential(*_convolution(4, wide_channels[0], 2), *_blocks(wide_channels))
        self.describe = nn.Linear(near_channels[-2] + last + wide_channels[-1] + num_signs + 1, num_features)
        self.head = nn.Linear(num_features, 1 + len(kinds))
        self.studio = nn.Linear(last + wide_channels[-1], 1)

    def forward(self, near: torch.Tensor, wide: torch.Tensor, signs: torch.Tensor) -> DefectOutput:
        """What is seen of N hands.

        Args:
            near (`torch.Tensor` of shape `(N, 6, S, S)`): in [0, 1]: RGB, silhouette, nearness, parts.
            wide (`torch.Tensor` of shape `(N, 4, T, T)`): in [0, 1]: RGB, silhouette.
            signs (`torch.Tensor` of shape `(N, 8)`): see `SIGNS`.

        Returns:
            [`DefectOutput`].
        """
        near = 2 * near - 1
        middle = self.blocks[:-1](self.stem(near[:, :3]) + self.mesh_stem(near[:, 3:]))
        where = self.where(middle)
        worst = (middle.flatten(2) * where.flatten(2).softmax(-1)).sum(-1)
        strongest = where.flatten(1).amax(-1, keepdim=True)
        whole, arm = (branch.mean((-2, -1)) for branch in (self.blocks[-1](middle), self.wide_branch(2 * wide - 1)))
        seen = F.dropout(torch.cat([whole, worst, strongest, arm, signs], -1), _DROPOUT, self.training)
        studio = self.studio(torch.cat([whole, arm], -1))[:, 0]
        return DefectOutput(self.head(F.relu(self.describe(seen))), where[:, 0], studio)


def _convolution(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _blocks(channels: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(*(_Block(before, after) for before, after in pairwise(channels)))
