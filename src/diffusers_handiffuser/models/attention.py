"""Attention for both networks, through diffusers' dispatcher.

Every attention backend of diffusers (`set_attention_backend`, `attention_backend(...)`,
`enable_xformers_memory_efficient_attention`) therefore works on both models. The backends differ in which masks they
get right. All of them handle no mask, `is_causal` (with the exceptions named below) and, if they take masks at all, an
additive one in the dtype of the query whose rows start at multiples of eight elements. Nothing else is used here.

Flash, sage and others take no mask. If one of them was chosen for a model, a call with a mask is an error. If it is
merely diffusers' current default, which `set_attention_backend` of *any* model changes for all, such a call uses
torch's own attention.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    dispatch_attention_fn,
)
from torch import nn

from ..utils.typing import MixinBase

MASKED = -30000.0
"""Added to the score of a masked key. Its weight is exactly zero in float16, bfloat16 and float32, and a row in which
every key is masked still gives finite numbers, unlike with infinity."""

_BACKENDS_WITHOUT_CAUSAL = (AttentionBackendName.FLEX, AttentionBackendName._NATIVE_NPU)
"""They silently ignore `is_causal=True` (diffusers 0.42), so they get the causal mask itself."""

_BACKENDS_WITH_MASK = (
    AttentionBackendName.NATIVE,
    AttentionBackendName._NATIVE_CUDNN,
    AttentionBackendName._NATIVE_EFFICIENT,
    AttentionBackendName._NATIVE_MATH,
    AttentionBackendName.FLEX,
    AttentionBackendName.XFORMERS,
)
"""They add a float mask to the scores; all others refuse one or expect another kind."""


def additive_mask(keep: torch.Tensor) -> torch.Tensor:
    """Turns a boolean mask of visible keys into the additive mask that `HandAttention` takes.

    Args:
        keep (`torch.Tensor` of shape `(B or 1, 1, Q or 1, K)`, `bool`): `True` where the query may see the key.

    Returns:
        `torch.Tensor` of shape `(B or 1, 1, Q or 1, K8)`, float32: 0 or `MASKED`, with `K` rounded up to a multiple of
        eight. The attention processor casts it to the dtype of the query and cuts it back to `K`; cutting first would
        lose the alignment that xformers asks for.
    """
    mask = torch.zeros(keep.shape, dtype=torch.float32, device=keep.device).masked_fill(~keep, MASKED)
    return F.pad(mask, (0, -keep.shape[-1] % 8))


def causal_keep(length: int, device: torch.device) -> torch.Tensor:
    """`(1, 1, length, length)` bool: every position sees itself and those before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


class HandAttnProcessor:
    """Self-attention through `dispatch_attention_fn`; `_attention_backend` is what `set_attention_backend` writes."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "HandAttention",
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        query, key, value = (x.unflatten(-1, (attn.heads, -1)) for x in attn.project_in(hidden_states))
        backend = self._attention_backend
        if is_causal and self.active_backend in _BACKENDS_WITHOUT_CAUSAL:
            attention_mask = additive_mask(causal_keep(hidden_states.shape[1], hidden_states.device))
            is_causal = False
        if attention_mask is not None:
            attention_mask = attention_mask.to(query.dtype)[..., : key.shape[1]]
            backend = self._backend_with_mask()
        hidden_states = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            is_causal=is_causal,
            backend=backend,
            parallel_config=self._parallel_config,
        )
        return attn.project_out(hidden_states.flatten(2, 3).to(query.dtype))

    @property
    def active_backend(self) -> AttentionBackendName:
        """The backend chosen for this processor, else diffusers' current default."""
        if self._attention_backend is not None:
            return AttentionBackendName(self._attention_backend)
        return _AttentionBackendRegistry.get_active_backend()[0]

    def _backend_with_mask(self) -> AttentionBackendName:
        if self.active_backend in _BACKENDS_WITH_MASK:
            return self.active_backend
        if self._attention_backend is None:
            return AttentionBackendName.NATIVE
        usable = ", ".join(backend.value for backend in _BACKENDS_WITH_MASK if not backend.value.startswith("_"))
        raise ValueError(
            f"Attention backend {self.active_backend.value!r} takes no mask, and this call has one; "
            f"set {usable} for this model, or leave the mask out."
        )


class HandAttention(nn.Module, AttentionModuleMixin):
    """Attention of both networks; a subclass owns the projections, under the names of its checkpoint.

    Args:
        hidden_size (`int`): width of the tokens.
        heads (`int`): number of attention heads; must divide `hidden_size`.
    """

    _default_processor_cls = HandAttnProcessor
    _available_processors = [HandAttnProcessor]
    is_cross_attention = False
    use_bias = True
    # Attributes of `AttentionModuleMixin`, which a type checker would take for tensors of `nn.Module`.
    processor: Any
    set_processor: Callable[[Any], None]
    to_qkv: nn.Module

    def __init__(self, hidden_size: int, heads: int):
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"`hidden_size` ({hidden_size}) must be divisible by `num_attention_heads` ({heads}).")
        self.heads = heads
        self.set_processor(self._default_processor_cls())

    def project_in(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value, each `(B, S, hidden_size)`."""
        raise NotImplementedError

    def project_out(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Output projection of the merged heads, `(B, S, hidden_size)`."""
        raise NotImplementedError

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """`(B, S, hidden_size)` in and out; `attention_mask` as `additive_mask` returns it, or `None`."""
        return self.processor(self, hidden_states, attention_mask, is_causal)

    def set_use_memory_efficient_attention_xformers(
        self, use_memory_efficient_attention_xformers: bool, attention_op: Callable | None = None
    ) -> None:
        """Switches xformers on or, unlike the method it overrides, off again."""
        if use_memory_efficient_attention_xformers:
            super().set_use_memory_efficient_attention_xformers(True, attention_op)
        elif getattr(self.processor, "active_backend", None) == AttentionBackendName.XFORMERS:
            self.processor._attention_backend = None
            if self.processor.active_backend == AttentionBackendName.XFORMERS:
                self.processor._attention_backend = AttentionBackendName.NATIVE


class Float32Buffers(MixinBase):
    """Keeps the buffers named in `_keep_in_fp32_modules` in float32 when the model is cast.

    diffusers respects that list in `from_pretrained(dtype=...)` but not in `to(dtype)` or `half()`. Mix in before
    `ModelMixin`.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        kept = {name: getattr(self, name) for name in self._keep_in_fp32_modules}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            moved = getattr(self, name)
            if moved.dtype != torch.float32 and buffer.dtype == torch.float32 and not buffer.is_meta:
                setattr(self, name, buffer.to(moved.device))
        return self
