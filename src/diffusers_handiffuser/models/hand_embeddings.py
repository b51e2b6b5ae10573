"""Embeddings of hands: 2D joints as tokens, rotations and vertices as one state each."""

import math

import torch
import torch.nn.functional as F
from torch import nn

NUM_JOINT_STATES = 86
"""Per person: two hands, each with a marker and the x and y of 21 joints."""

NUM_HAND_STATES = 2 + NUM_JOINT_STATES

STATES_PER_HAND = NUM_JOINT_STATES // 2

INIT_STD = 0.02


class JointEmbeddings(nn.Module):
    """2D joints as tokens: for each hand a marker, then the position bins of x and y of 21 joints.

    One table of bins serves x and y and both hands; a second one encodes the position among the 86 tokens. CLIP's own
    position table is not touched. Neighbouring bins start out similar: the table is initialised with sines and cosines
    of the position at geometrically spaced frequencies. The paper states neither the number of bins nor their
    initialisation; we use 1000 bins, as ReCo does.

    Args:
        num_position_bins (`int`): bins over [-1, 1].
        hidden_size (`int`): width of a token.
    """

    def __init__(self, num_position_bins: int, hidden_size: int):
        super().__init__()
        self.num_position_bins = num_position_bins
        self.bin_embedding = nn.Embedding(num_position_bins, hidden_size)
        self.marker_embedding = nn.Embedding(2, hidden_size)
        self.position_embedding = nn.Embedding(NUM_JOINT_STATES, hidden_size)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Sines and cosines for the bins, small normal values for markers and positions."""
        bins, width = self.bin_embedding.weight.shape
        centres = (torch.arange(bins, dtype=torch.float32) + 0.5) / bins
        # An explicit device: while transformers loads a model, `linspace` makes tensors on the CPU.
        octaves = torch.linspace(-1, max(math.log2(bins / 16), 0), (width + 1) // 2, device=centres.device)
        angles = 2 * math.pi * centres[:, None] * 2**octaves
        waves = torch.cat([angles.sin(), angles.cos()], -1)[:, :width]
        self.bin_embedding.weight.copy_(waves * (INIT_STD * math.sqrt(2)))
        nn.init.normal_(self.marker_embedding.weight, std=INIT_STD)
        nn.init.normal_(self.position_embedding.weight, std=INIT_STD)

    def position_bins(self, joints_2d: torch.Tensor) -> torch.Tensor:
        """Bin numbers of coordinates `u` in [-1, 1]: the floor of `(u + 1) / 2 * bins`, clamped to the edge bins."""
        bins = ((joints_2d.float() + 1) / 2 * self.num_position_bins).floor()
        return bins.clamp(0, self.num_position_bins - 1).long()

    def forward(self, joints_2d: torch.Tensor) -> torch.Tensor:
        """`joints_2d` of shape `(B, 2, 21, 2)`, hands [right, left]; returns `(B, 86, hidden_size)`."""
        coordinates = self.bin_embedding(self.position_bins(joints_2d).flatten(2))
        markers = self.marker_embedding(torch.arange(2, device=joints_2d.device))
        markers = markers[None, :, None].expand(len(joints_2d), -1, -1, -1)
        tokens = torch.cat([markers, coordinates], 2).flatten(1, 2)
        return tokens + self.position_embedding(torch.arange(NUM_JOINT_STATES, device=joints_2d.device))


class HandFeatureMLP(nn.Module):
    """`f_theta` and `f_M` of the paper: features of both hands to one state.

    The paper does not state their layers. We use three linear layers and a LayerNorm, which gives the state the scale
    of CLIP's final states. The features of a hand that is not visible are replaced by a learned vector, and both
    visibility flags are inputs as well.

    Args:
        features_per_hand (`int`): numbers that describe one hand.
        inner_size (`int`): width of the hidden layers.
        hidden_size (`int`): width of the state.
        layer_norm_eps (`float`): of the LayerNorm.
    """

    def __init__(self, features_per_hand: int, inner_size: int, hidden_size: int, layer_norm_eps: float):
        super().__init__()
        self.missing_hand = nn.Parameter(torch.zeros(2, features_per_hand))
        self.linear_1 = nn.Linear(2 * features_per_hand + 2, inner_size)
        self.linear_2 = nn.Linear(inner_size, inner_size)
        self.linear_3 = nn.Linear(inner_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, features: torch.Tensor, hand_visible: torch.Tensor) -> torch.Tensor:
        """`features (B, 2, features_per_hand)`, `hand_visible (B, 2)` [left, right]; gives `(B, hidden_size)`."""
        features = torch.where(hand_visible[..., None], features, self.missing_hand.to(features.dtype))
        state = torch.cat([features.flatten(1), hand_visible.to(features.dtype)], -1)
        state = F.gelu(self.linear_1(state))
        state = F.gelu(self.linear_2(state))
        return self.norm(self.linear_3(state))
