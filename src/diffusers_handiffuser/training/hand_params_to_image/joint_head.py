"""A linear probe for hand joints in the U-Net's features, and its losses."""

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


class JointHead(ModelMixin, ConfigMixin):
    """A linear probe for joints and palms of both hands in the U-Net's features, and for joints in their own states.

    It can only read what is linearly decodable. Used only in training; checkpoints hold it as `joint_finder`, with
    `over`, `along` and `palm` as names of its layers.

    Args:
        channels (`int`): of the features.
        hidden_size (`int`): width of the states.
        size (`int`, defaults to 32): number of positions along x and along y that the states are classified into.
        palms (`bool`, defaults to `False`): whether it reads palms; without a loss on it, a layer would have no
            optimiser state, which FSDP needs to resume.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, channels: int, hidden_size: int, size: int = 32, palms: bool = False):
        super().__init__()
        self.gradient_checkpointing = False  # can be enabled with the U-Net's; there is nothing to save here
        self.norm = nn.GroupNorm(1, channels)
        self.over = nn.Conv2d(channels, 2 * NUM_HAND_JOINTS, 1)
        self.along = nn.Linear(hidden_size, 2 * size)
        self.palm = nn.Conv2d(channels, 2, 1) if palms else None

    def forward(self, features: torch.Tensor, states: torch.Tensor | None = None) -> "JointLogits":
        """Logits from features (B, C, H, W) and, if joints are encoded, states (B, N, D) of caption and hands."""
        features = self.norm(features.float())
        heatmap_logits = self.over(features).unflatten(1, (2, NUM_HAND_JOINTS))
        palm_logits = None if self.palm is None else self.palm(features)
        if states is None:
            return JointLogits(heatmap_logits, None, palm_logits)
        # The right hand's come first; of each hand a marker, then x and y of every joint.
        joint_states = states[:, -NUM_JOINT_STATES:].unflatten(1, (2, -1)).flip(1)[:, :, 2::2]
        coordinate_logits = self.along(joint_states.float()).unflatten(-1, (2, -1))
        return JointLogits(heatmap_logits, coordinate_logits, palm_logits)


class JointLogits(NamedTuple):
    """Logits of joints and palms.

    Args:
        heatmap_logits (`torch.Tensor` of shape (B, 2, 21, H, W)): of a joint, over the latents' positions.
        coordinate_logits (`torch.Tensor` of shape (B, 2, 21, 2, size), *optional*): of its x and its y, as in SimCC
            (Li et al. 2022).
        palm_logits (`torch.Tensor` of shape (B, 2, H, W), *optional*): the palm of the hand is seen at a position.
    """

    heatmap_logits: torch.Tensor
    coordinate_logits: torch.Tensor | None
    palm_logits: torch.Tensor | None = None


@contextlib.contextmanager
def last_features(unet: UNet2DConditionModel) -> Iterator[list[torch.Tensor]]:
    """Captures the input of the last up block, which is as large as the latents, during forward passes."""
    features: list[torch.Tensor] = []
    hook = unet.up_blocks[-2].register_forward_hook(lambda *call: features.append(call[-1]))
    try:
        yield features
    finally:
        hook.remove()


def new_joint_head(unet: UNet2DConditionModel, palms: bool = False) -> JointHead:
    """A joint head for the U-Net's `last_features`."""
    return JointHead(unet.config.block_out_channels[1], unet.config.cross_attention_dim, palms=palms)


def joint_losses(
    logits: JointLogits | None, joints_2d: torch.Tensor, visible: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Scalars "joints" and "joint_states" of `joint_cross_entropy`, and "palm" of `palm_cross_entropy`.

    Empty without logits; without those of palms there is no "palm".
    """
    if logits is None:
        return {}
    over_positions, over_coordinates = joint_cross_entropy(logits, joints_2d, visible)
    losses = {"joints": over_positions, "joint_states": over_coordinates}
    if logits.palm_logits is not None:
        losses["palm"] = palm_cross_entropy(logits.palm_logits, joints_2d, visible)
    return losses


def joint_cross_entropy(
    logits: JointLogits, joints_2d: torch.Tensor, visible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropies of the visible hands' joints, in nats: over the latents' positions, and of x and y.

    The target of a joint is spread over the positions around it with the weights of bilinear interpolation. Joints
    outside of the image do not count. Means are over the joints of all processes, so all of them must call this. The
    second is 0 without `coordinate_logits`.

    Args:
        logits (`JointLogits`): of B rows.
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool): which hands count.

    Returns:
        `tuple` of two scalars.
    """
    counted = _counted(joints_2d, visible)
    height, width = logits.heatmap_logits.shape[-2:]
    x, y = _linear_weights(joints_2d[..., 0], width), _linear_weights(joints_2d[..., 1], height)
    log_heatmaps = logits.heatmap_logits.flatten(-2).float().log_softmax(-1)
    over_positions = (log_heatmaps * (y[..., :, None] * x[..., None, :]).flatten(-2)).sum(-1)
    if logits.coordinate_logits is None:
        over_coordinates = torch.zeros_like(over_positions)
    else:
        log_coordinates = logits.coordinate_logits.float().log_softmax(-1)
        targets = _linear_weights(joints_2d, logits.coordinate_logits.shape[-1])
        over_coordinates = (log_coordinates * targets).sum((-2, -1))
    return _mean_over(counted, -over_positions), _mean_over(counted, -over_coordinates)


def palm_cross_entropy(logits: torch.Tensor, joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy, in nats, of whether the palm of visible hands is seen, read at their joints.

    It is 0.69 at chance. See `joint_cross_entropy` for which joints count.

    Args:
        logits (`torch.Tensor` of shape (B, 2, H, W)): of each hand's palm over the latents.
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool): which hands count.
    """
    targets = palm_share(joints_2d)[..., None].expand(joints_2d.shape[:-1])
    x, y = _linear_weights(joints_2d[..., 0], logits.shape[-1]), _linear_weights(joints_2d[..., 1], logits.shape[-2])
    read = torch.einsum("bshw,bsjh,bsjw->bsj", logits.float(), y, x)
    errors = nn.functional.binary_cross_entropy_with_logits(read, targets, reduction="none")
    return _mean_over(_counted(joints_2d, visible), errors)


def _counted(joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """(B, 2, 21), bool: joints of visible hands that lie in the image."""
    return visible[..., None] & (joints_2d.abs() <= 1).all(-1)


def _mean_over(counted: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mean of values (B, 2, 21) over the joints that count in all processes."""
    number = reduce(counted.sum().float(), "mean").clamp(min=1e-6)  # fewer than 1 where another process has them
    return (values * counted).sum() / number


def _linear_weights(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    """Weights (..., size) of the positions along an axis that interpolate linearly at coordinates (...) in [-1, 1]."""
    places = ((coordinates.float() + 1) / 2 * size - 0.5).clamp(0, size - 1)
    return (1 - (places[..., None] - torch.arange(size, device=places.device)).abs()).clamp(min=0)


def near_hands(joints_2d: torch.Tensor, visible: torch.Tensor, size: int) -> torch.Tensor:
    """Proximity (B, 1, size, size) of each latent position to a joint of a visible hand: 1 on it, 0 far away.

    Args:
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool): which hands count.
        size (`int`): latent positions per side; a joint's Gaussian has a standard deviation of 1.5 of them.
    """
    places = (torch.arange(size, device=joints_2d.device) + 0.5) * (2 / size) - 1
    spread = 2 * (1.5 * 2 / size) ** 2
    across, down = ((places - joints_2d[..., axis, None]).square() / spread for axis in (0, 1))
    near = torch.exp(-(across[..., None, :] + down[..., :, None])) * visible[:, :, None, None, None]
    return near.flatten(1, 2).amax(1, keepdim=True)
