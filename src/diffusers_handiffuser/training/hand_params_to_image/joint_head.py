"""A linear probe that finds hand joints in the U-Net's features, and its losses."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from accelerate.utils import reduce
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from torch import nn

from ...hands.palms import palm_share
from ...hands.skeleton import OPENPOSE_HAND_NAMES
from ...models.hand_embeddings import NUM_JOINT_STATES
from ...utils.typing import register_to_config

NUM_HAND_JOINTS = len(OPENPOSE_HAND_NAMES)


class JointFinder(ModelMixin, ConfigMixin):
    """Reads where the joints of both hands are, and whether their palm is seen, from features of the U-Net; the former
    from the joints' own states, too.

    It has no layers to speak of, so what it can read lies open there. Wanted in training alone.

    Args:
        channels (`int`): of the features.
        hidden_size (`int`): width of the states.
        size (`int`, defaults to 32): how many places it tells apart along x and along y, from the states.
        palms (`bool`, defaults to `False`): whether it reads palms; a layer that no loss asks would never get the
            optimiser's state, which FSDP insists on when a run is resumed.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, channels: int, hidden_size: int, size: int = 32, palms: bool = False):
        super().__init__()
        self.gradient_checkpointing = False  # may be switched on with that of the U-Net; there is nothing to save here
        self.norm = nn.GroupNorm(1, channels)
        self.over = nn.Conv2d(channels, 2 * NUM_HAND_JOINTS, 1)
        self.along = nn.Linear(hidden_size, 2 * size)
        self.palm = nn.Conv2d(channels, 2, 1) if palms else None

    def forward(self, features: torch.Tensor, states: torch.Tensor | None = None) -> "JointLogits":
        """Features (B, C, H, W) and, where they are told, states (B, N, D) of caption and hands to logits."""
        features = self.norm(features.float())
        over = self.over(features).unflatten(1, (2, NUM_HAND_JOINTS))
        palm = None if self.palm is None else self.palm(features)
        if states is None:
            return JointLogits(over, None, palm)
        # The right hand's come first; of each hand a marker, then x and y of every joint.
        joint_states = states[:, -NUM_JOINT_STATES:].unflatten(1, (2, -1)).flip(1)[:, :, 2::2]
        return JointLogits(over, self.along(joint_states.float()).unflatten(-1, (2, -1)), palm)


class JointLogits(NamedTuple):
    """Where joints are: `over` the latents' positions (B, 2, 21, H, W), and `along` x and y (B, 2, 21, 2, size); and
    whether the `palm` of a hand is seen at each position (B, 2, H, W)."""

    over: torch.Tensor
    along: torch.Tensor | None
    palm: torch.Tensor | None = None


@contextlib.contextmanager
def last_features(unet: UNet2DConditionModel) -> Iterator[list[torch.Tensor]]:
    """While it is open, the list gets what comes into the U-Net's last block, which is as large as the latents."""
    features: list[torch.Tensor] = []
    hook = unet.up_blocks[-2].register_forward_hook(lambda *call: features.append(call[-1]))
    try:
        yield features
    finally:
        hook.remove()


def new_joint_finder(unet: UNet2DConditionModel, palms: bool = False) -> JointFinder:
    """One for the U-Net's `last_features`."""
    return JointFinder(unet.config.block_out_channels[1], unet.config.cross_attention_dim, palms=palms)


def joint_cross_entropy(
    logits: JointLogits, joints_2d: torch.Tensor, visible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropies, in nats, of where the visible hands' joints are: over the latents, and along x and y.

    A joint's place is shared out to the positions around it, as in bilinear interpolation. Joints outside of the
    picture do not count. Every joint of all processes' rows counts the same, so all of them have to come here. The
    second is 0 where there are no logits of it.

    Args:
        logits (`JointLogits`): of B rows.
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool).
    """
    counted = _counted(joints_2d, visible)
    x, y = _shares(joints_2d[..., 0], logits.over.shape[-1]), _shares(joints_2d[..., 1], logits.over.shape[-2])
    found = logits.over.flatten(-2).float().log_softmax(-1)
    over = (found * (y[..., :, None] * x[..., None, :]).flatten(-2)).sum(-1)
    if logits.along is None:
        along = torch.zeros_like(over)
    else:
        along = (logits.along.float().log_softmax(-1) * _shares(joints_2d, logits.along.shape[-1])).sum((-2, -1))
    return _mean_over(counted, -over), _mean_over(counted, -along)


def palm_cross_entropy(logits: torch.Tensor, joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, in nats, of whether the palm of visible hands is seen, read at their joints.

    It is 0.69 where nothing is known. See `joint_cross_entropy` for which joints count.

    Args:
        logits (`torch.Tensor` of shape (B, 2, H, W)): of each hand's palm over the latents.
        joints_2d, visible: as there.
    """
    wanted = palm_share(joints_2d)[..., None].expand(joints_2d.shape[:-1])
    x, y = _shares(joints_2d[..., 0], logits.shape[-1]), _shares(joints_2d[..., 1], logits.shape[-2])
    read = torch.einsum("bshw,bsjh,bsjw->bsj", logits.float(), y, x)
    errors = nn.functional.binary_cross_entropy_with_logits(read, wanted, reduction="none")
    return _mean_over(_counted(joints_2d, visible), errors)


def _counted(joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """(B, 2, 21): those of visible hands that lie in the picture."""
    return visible[..., None] & (joints_2d.abs() <= 1).all(-1)


def _mean_over(counted: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Over the joints that count, of all processes."""
    number = reduce(counted.sum().float(), "mean").clamp(min=1e-6)  # fewer than 1 where another process has them
    return (values * counted).sum() / number


def _shares(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    """Of the `size` positions along an axis (..., size) in coordinates (...) in [-1, 1]: linear interpolation."""
    places = ((coordinates.float() + 1) / 2 * size - 0.5).clamp(0, size - 1)
    return (1 - (places[..., None] - torch.arange(size, device=places.device)).abs()).clamp(min=0)


def near_hands(joints_2d: torch.Tensor, visible: torch.Tensor, size: int) -> torch.Tensor:
    """How near each latent position (B, 1, size, size) is to a joint of a visible hand: 1 on it, 0 far away.

    Args:
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool).
        size (`int`): latent positions a side. A joint reaches about two of them far (a Gaussian of 1.5).
    """
    places = (torch.arange(size, device=joints_2d.device) + 0.5) * (2 / size) - 1
    spread = 2 * (1.5 * 2 / size) ** 2
    across, down = ((places - joints_2d[..., axis, None]).square() / spread for axis in (0, 1))
    near = torch.exp(-(across[..., None, :] + down[..., :, None])) * visible[:, :, None, None, None]
    return near.flatten(1, 2).amax(1, keepdim=True)
