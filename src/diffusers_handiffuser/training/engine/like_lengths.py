"""Rows of texts computed together with others of like length."""

from collections.abc import Callable

import torch

_GROUPS_ON_CPU = 4


def by_like_lengths(
    compute: Callable[..., torch.Tensor], attention_mask: torch.Tensor, input_ids: torch.Tensor, *others: torch.Tensor
) -> torch.Tensor:
    """What `compute(attention_mask, input_ids, *others)` returns for the rows, with little padding.

    On a CPU, where padding costs as much as words, the rows are computed in four groups of like length.

    Args:
        compute: returns a tensor with a row for each row that it gets.
        attention_mask (`torch.Tensor` of shape `(B, L)`): 0 where a token is padding, which stands behind the words.
        input_ids (`torch.Tensor` of shape `(B, L)`): the tokens.
        others: further tensors with B rows.
    """
    lengths = attention_mask.sum(1)
    order = lengths.argsort()
    groups = order.tensor_split(min(_GROUPS_ON_CPU, len(order))) if attention_mask.device.type == "cpu" else (order,)
    computed = []
    for rows in groups:
        longest = int(lengths[rows].max())
        computed.append(
            compute(attention_mask[rows, :longest], input_ids[rows, :longest], *(other[rows] for other in others))
        )
    return torch.cat(computed)[order.argsort()]
