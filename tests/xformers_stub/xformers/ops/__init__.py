"""`memory_efficient_attention` with xformers' signature and its demands on masks; `CALLS` says how it was called."""

import torch
import torch.nn.functional as F

CALLS: list[dict] = []


class LowerTriangularMask:
    """Every query sees its own key and those before it."""


def memory_efficient_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | LowerTriangularMask | None = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op=None,
    output_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """`(B, M, H, K)`, or `(B, M, K)` where the heads are in the batch; an additive `attn_bias` is `(B, H, M, N)`."""
    CALLS.append({"query": tuple(query.shape), "attn_bias": attn_bias, "op": op})
    if query.ndim == 3:
        query, key, value = (x.unsqueeze(2) for x in (query, key, value))
        attn_bias = attn_bias.unsqueeze(1) if torch.is_tensor(attn_bias) else attn_bias
        return memory_efficient_attention_4d(query, key, value, attn_bias, p, scale).squeeze(2)
    return memory_efficient_attention_4d(query, key, value, attn_bias, p, scale)


def memory_efficient_attention_4d(query, key, value, attn_bias, p, scale):
    if torch.is_tensor(attn_bias):
        wanted = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
        if tuple(attn_bias.shape) != wanted:
            raise ValueError(f"Invalid shape for attention bias: {tuple(attn_bias.shape)} (expected {wanted})")
        if attn_bias.dtype != query.dtype:
            raise NotImplementedError(f"attn_bias.dtype is {attn_bias.dtype}, query.dtype is {query.dtype}")
        if attn_bias.stride(-1) != 1 or attn_bias.stride(-2) % 8:
            raise NotImplementedError("attn_bias is not correctly aligned: strides must be multiples of 8")
    causal = isinstance(attn_bias, LowerTriangularMask)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    mask = None if causal else attn_bias
    return F.scaled_dot_product_attention(query, key, value, mask, p, causal, scale=scale).transpose(1, 2)
