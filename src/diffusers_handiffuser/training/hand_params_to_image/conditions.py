"""Conditioning dropout: rows that lose caption or hands in training."""

import torch

from ..engine.images import Batch
from ..engine.randomness import BatchRandom
from .options import ConditionOptions


class ConditionDropout:
    """Drops caption and hands of some rows, for classifier-free guidance, and jitters the 2D joints.

    Args:
        options (`ConditionOptions`): how often, and by how much.
        empty_ids (`torch.Tensor` of shape (1, 77)): tokens of "".
    """

    def __init__(self, options: ConditionOptions, empty_ids: torch.Tensor):
        self.options, self.empty_ids = options, empty_ids

    def __call__(self, batch: Batch, random: BatchRandom) -> tuple[Batch, bool]:
        """The batch with its dropout, and whether this step is conditioned on text alone."""
        options = self.options
        text_only = random.one_uniform() < options.text_only_steps
        batch = drop_conditions(
            batch, random.uniform(), self.empty_ids, options.condition_dropout, options.hand_dropout
        )
        if options.joint_jitter > 0:
            scale = options.joint_jitter * random.uniform(1, 1, 1)
            batch["hand_joints_2d"] = batch["hand_joints_2d"] + scale * random.normal(2, 21, 2)
        return batch, text_only


def drop_conditions(
    batch: Batch,
    chance: torch.Tensor,
    empty_ids: torch.Tensor,
    condition_dropout: float,
    hand_dropout: float,
) -> Batch:
    """Rows with chance < condition_dropout lose caption and hands, the next `hand_dropout` of them the hands alone."""
    everything = chance < condition_dropout
    hands = chance < condition_dropout + hand_dropout
    return {
        **batch,
        "input_ids": torch.where(everything[:, None], empty_ids, batch["input_ids"]),
        "hand_visible": batch["hand_visible"] & ~hands[:, None],
    }
