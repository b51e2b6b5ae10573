"""The denoiser of stage 1: text to the hand parameters of one person.

A sample is a flat vector of 327 numbers, each standardised by a stored mean and standard deviation:

    0..311    6D rotations (two columns) of 52 joints, in the order of `JOINT_NAMES`
    312..321  betas
    322..324  camera (s, tx, ty)
    325..326  visibility of the left and the right hand: +1 or -1

HanDiffuser (arXiv 2403.01693) samples pose and shape with a transformer diffusion model; camera and visibility are in
the sample because images need them. The paper states no sizes; ours follow MDM where it states them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin, FeedForward
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import nn

from ..hands.params import HandParams
from ..hands.rotations import rot6d_to_rotmat, rotmat_to_rot6d, rotmat_to_rotvec, rotvec_to_rotmat
from ..hands.skeleton import NUM_JOINTS
from ..hub.loading import CheckedLoadingMixin
from ..hub.loading_lock import one_at_a_time
from ..hub.saving import SavingMixin
from ..utils.typing import register_to_config
from .attention import Float32Buffers, HandAttention, additive_mask
from .stored_lora import StoredLoraMixin

SAMPLE_PARTS = {"rotations": 6 * NUM_JOINTS, "betas": 10, "camera": 3, "hand_visible": 2}
SAMPLE_SIZE = sum(SAMPLE_PARTS.values())
MIN_CAMERA_SCALE = 1e-3
_NUM_SAMPLE_TOKENS = NUM_JOINTS + 2
_TIME_FREQUENCIES = 256


@dataclass
class TextToHandParamsOutput(BaseOutput):
    """What `TextToHandParamsModel` returns.

    Args:
        sample (`torch.Tensor` of shape `(B, 327)`): the clean sample, standardised.
    """

    sample: torch.Tensor


class HandParamsAttention(HandAttention):
    """Self-attention under diffusers' names, so that LoRA and fused projections work as in its own transformers."""

    def __init__(self, hidden_size: int, heads: int):
        super().__init__(hidden_size, heads)
        self.to_q = nn.Linear(hidden_size, hidden_size)
        self.to_k = nn.Linear(hidden_size, hidden_size)
        self.to_v = nn.Linear(hidden_size, hidden_size)
        self.to_out = nn.ModuleList([nn.Linear(hidden_size, hidden_size)])

    def project_in(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.fused_projections:
            return self.to_qkv(hidden_states).chunk(3, -1)
        return self.to_q(hidden_states), self.to_k(hidden_states), self.to_v(hidden_states)

    def project_out(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.to_out[0](hidden_states)


class HandParamsBlock(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, hidden_size: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size)
        self.attn = HandParamsAttention(hidden_size, heads)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.ff = FeedForward(hidden_size, mult=mlp_ratio, activation_fn="gelu")

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden_states = hidden_states + self.attn(self.norm1(hidden_states), attention_mask)
        return hidden_states + self.ff(self.norm2(hidden_states))


class TextToHandParamsModel(
    Float32Buffers,
    StoredLoraMixin,
    CheckedLoadingMixin,
    SavingMixin,
    ModelMixin,
    ConfigMixin,
    AttentionMixin,
    PeftAdapterMixin,
    CacheMixin,
):
    """Predicts the clean sample from a noisy one, for any diffusers scheduler with `prediction_type="sample"`.

    The tokens are one for each of the 52 joints, one for the shape, one for camera and visibility, one for the time
    step, and the caption's states projected to the same width; a plain pre-norm transformer attends over all of them.

    Args:
        hidden_size (`int`, defaults to 512): width of the tokens.
        num_layers (`int`, defaults to 8): transformer layers.
        num_attention_heads (`int`, defaults to 8): must divide `hidden_size`.
        cross_attention_dim (`int`, defaults to 768): width of the text encoder's states.
        mlp_ratio (`float`, defaults to 4.0): width inside the layers' MLPs, as a multiple of `hidden_size`.
        lora_adapters (`dict`, *optional*): LoRA adapters that the model was saved with, see [`StoredLoraMixin`].
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["HandParamsBlock"]
    _repeated_blocks = ["HandParamsBlock"]
    _skip_layerwise_casting_patterns = ["embedding", "norm"]
    _keep_in_fp32_modules = ["sample_mean", "sample_std"]

    @one_at_a_time
    @register_to_config
    def __init__(
        self,
        hidden_size: int = 512,
        num_layers: int = 8,
        num_attention_heads: int = 8,
        cross_attention_dim: int = 768,
        mlp_ratio: float = 4.0,
        lora_adapters: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        super().__init__()
        self.joint_in = nn.Linear(6, hidden_size)
        self.shape_in = nn.Linear(SAMPLE_PARTS["betas"], hidden_size)
        self.camera_in = nn.Linear(SAMPLE_PARTS["camera"] + SAMPLE_PARTS["hand_visible"], hidden_size)
        self.token_embedding = nn.Embedding(_NUM_SAMPLE_TOKENS, hidden_size)
        self.time_proj = Timesteps(_TIME_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(_TIME_FREQUENCIES, hidden_size)
        self.text_norm = nn.LayerNorm(cross_attention_dim)
        self.text_in = nn.Linear(cross_attention_dim, hidden_size)
        self.transformer_blocks = nn.ModuleList(
            [HandParamsBlock(hidden_size, num_attention_heads, mlp_ratio) for _ in range(num_layers)]
        )
        self.norm_out = nn.LayerNorm(hidden_size)
        self.joint_out = nn.Linear(hidden_size, 6)
        self.shape_out = nn.Linear(hidden_size, SAMPLE_PARTS["betas"])
        self.camera_out = nn.Linear(hidden_size, SAMPLE_PARTS["camera"] + SAMPLE_PARTS["hand_visible"])
        self.register_buffer("sample_mean", torch.zeros(SAMPLE_SIZE))
        self.register_buffer("sample_std", torch.ones(SAMPLE_SIZE))
        self.cross_attention_dim = cross_attention_dim
        self.gradient_checkpointing = False
        self._init_weights()
        self.restore_adapters(lora_adapters)

    def _init_weights(self) -> None:
        """Scales residual branches down with depth, and starts predictions close to the mean of the data."""
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        depth = max(len(self.transformer_blocks), 1)
        for block in self.transformer_blocks:
            assert isinstance(block, HandParamsBlock)
            for linear in (block.attn.to_out[0], block.ff.net[-1]):
                assert isinstance(linear, nn.Linear)
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5 / math.sqrt(2 * depth))
                nn.init.zeros_(linear.bias)
        for linear in (self.joint_out, self.shape_out, self.camera_out):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> TextToHandParamsOutput | tuple:
        """Predicts the clean sample.

        Args:
            sample (`torch.Tensor` of shape `(B, 327)`): noisy, standardised; the module's docstring has the layout.
            timestep (`torch.Tensor` of shape `(B,)`, or a scalar): the scheduler's time step, whole or fractional.
            encoder_hidden_states (`torch.Tensor` of shape `(B, L, cross_attention_dim)`): the caption's states.
            encoder_attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 0 where a state is padding.
            return_dict (`bool`, defaults to `True`): `TextToHandParamsOutput` or a plain tuple.

        Returns:
            `TextToHandParamsOutput` or `tuple`: the clean sample, `(B, 327)`, in the dtype of `sample`.
        """
        self._check_shapes(sample, encoder_hidden_states, encoder_attention_mask)
        batch, dtype = sample.shape[0], sample.dtype
        rotations, betas, camera = sample.split([SAMPLE_PARTS["rotations"], SAMPLE_PARTS["betas"], 5], 1)
        tokens = torch.cat(
            [
                self.joint_in(rotations.unflatten(1, (NUM_JOINTS, 6))),
                self.shape_in(betas)[:, None],
                self.camera_in(camera)[:, None],
            ],
            1,
        )
        tokens = tokens + self.token_embedding(torch.arange(_NUM_SAMPLE_TOKENS, device=sample.device)).to(tokens.dtype)
        time = self._expand_timestep(timestep, batch, sample.device)
        time = self.time_embedding(self.time_proj(time).to(dtype))[:, None]
        text = self.text_in(self.text_norm(encoder_hidden_states.to(dtype)))
        hidden_states = torch.cat([tokens, time.to(tokens.dtype), text.to(tokens.dtype)], 1)

        mask = None
        if encoder_attention_mask is not None:
            ours = encoder_attention_mask.new_ones(batch, _NUM_SAMPLE_TOKENS + 1)
            mask = additive_mask(torch.cat([ours, encoder_attention_mask], 1).bool()[:, None, None])
        for block in self.transformer_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states, mask)
            else:
                hidden_states = block(hidden_states, mask)

        hidden_states = self.norm_out(hidden_states[:, :_NUM_SAMPLE_TOKENS])
        joints = self.joint_out(hidden_states[:, :NUM_JOINTS]).flatten(1)
        betas = self.shape_out(hidden_states[:, NUM_JOINTS])
        camera = self.camera_out(hidden_states[:, NUM_JOINTS + 1])
        sample = torch.cat([joints, betas, camera], 1).to(dtype)
        return TextToHandParamsOutput(sample=sample) if return_dict else (sample,)

    def encode(self, hand_params: HandParams) -> torch.Tensor:
        """`(..., 327)` float32: `hand_params` of batch shape `(...)` as a standardised sample."""
        rotations = rotmat_to_rot6d(rotvec_to_rotmat(hand_params.full_pose.float())).flatten(-2)
        visible = hand_params.hand_visible.float() * 2 - 1
        values = torch.cat([rotations, hand_params.betas.float(), hand_params.camera.float(), visible], -1)
        return (values - self.sample_mean.to(values)) / self.sample_std.to(values)

    def decode(self, sample: torch.Tensor) -> HandParams:
        """The inverse of `encode`, for any sample: `(..., 327)` to `HandParams` of batch shape `(...)`.

        Computed in float32 whatever the dtype of `sample`. Rotations are made orthonormal, a hand is visible where its
        value is positive, and the camera's scale is at least 0.001, as it must be positive. Numbers that are not
        finite raise a `ValueError`.
        """
        if sample.shape[-1:] != (SAMPLE_SIZE,):
            raise ValueError(f"`sample` must have shape (..., {SAMPLE_SIZE}), got {tuple(sample.shape)}.")
        sample = sample.float()
        if not torch.isfinite(sample).all():
            raise ValueError("`sample` holds numbers that are not finite.")
        values = sample * self.sample_std.to(sample) + self.sample_mean.to(sample)
        rotations, betas, camera, visible = values.split(list(SAMPLE_PARTS.values()), -1)
        pose = rotmat_to_rotvec(rot6d_to_rotmat(rotations.unflatten(-1, (NUM_JOINTS, 6))))
        camera = torch.cat([camera[..., :1].clamp(min=MIN_CAMERA_SCALE), camera[..., 1:]], -1)
        return HandParams.from_full_pose(pose, betas, camera, visible > 0)

    @torch.no_grad()
    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Stores the mean and standard deviation, both `(327,)`, with which `encode` and `decode` standardise.

        Compute them over `encode`d training data while the stored ones are still 0 and 1. `std` must be positive:
        clamp it for numbers that never change.
        """
        for name, value in (("mean", mean), ("std", std)):
            if tuple(value.shape) != (SAMPLE_SIZE,):
                raise ValueError(f"`{name}` must have shape ({SAMPLE_SIZE},), got {tuple(value.shape)}.")
            if not torch.isfinite(value).all():
                raise ValueError(f"`{name}` holds numbers that are not finite.")
        if not (std > 0).all():
            raise ValueError("`std` must be positive everywhere.")
        self.sample_mean.copy_(mean)
        self.sample_std.copy_(std)

    def enable_cache(self, config: Any) -> None:
        """Adds diffusers' inference caches; see [`~diffusers.CacheMixin.enable_cache`]."""
        from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry

        metadata = TransformerBlockMetadata(return_hidden_states_index=0)
        TransformerBlockRegistry.register(model_class=HandParamsBlock, metadata=metadata)
        super().enable_cache(config)

    @staticmethod
    def _expand_timestep(timestep: torch.Tensor | float | int, batch: int, device: torch.device) -> torch.Tensor:
        if not torch.is_tensor(timestep):
            dtype = torch.float32 if isinstance(timestep, float) else torch.int64
            timestep = torch.tensor([timestep], dtype=dtype, device=device)
        timestep = timestep.to(device).reshape(-1)
        if timestep.shape[0] not in (1, batch):
            raise ValueError(f"`timestep` must be a scalar or have shape ({batch},), got {tuple(timestep.shape)}.")
        return timestep.expand(batch)

    def _check_shapes(
        self, sample: torch.Tensor, encoder_hidden_states: torch.Tensor, encoder_attention_mask: torch.Tensor | None
    ) -> None:
        if sample.ndim != 2 or sample.shape[1] != SAMPLE_SIZE:
            raise ValueError(f"`sample` must have shape (B, {SAMPLE_SIZE}), got {tuple(sample.shape)}.")
        shape, wanted = tuple(encoder_hidden_states.shape), (sample.shape[0], self.cross_attention_dim)
        if len(shape) != 3 or (shape[0], shape[2]) != wanted:
            raise ValueError(f"`encoder_hidden_states` must have shape ({wanted[0]}, L, {wanted[1]}), got {shape}.")
        if encoder_attention_mask is not None and tuple(encoder_attention_mask.shape) != shape[:2]:
            raise ValueError(
                f"`encoder_attention_mask` must have shape {shape[:2]}, got {tuple(encoder_attention_mask.shape)}."
            )
