"""The student and its losses against the teacher's embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ...utils.typing import register_to_config
from ..engine.like_lengths import by_like_lengths
from .scenes import SceneHeads, scene_loss
from .teacher import mean_pool, mean_words

SMALL_STUDENT = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
"""With 12 000 pieces, 9.5 MB in half precision."""
_SIMILARITY_WEIGHT = 10.0
"""Squared differences of cosines are about a tenth of the other losses."""


def new_student(config: dict, tokenizer: PreTrainedTokenizerFast) -> BertModel:
    """A small BERT for the tokenizer, newly initialised; `config` changes `SMALL_STUDENT`."""
    values = {
        **SMALL_STUDENT,
        **config,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return BertModel(BertConfig(**values))


class TeacherHeads(ModelMixin, ConfigMixin):
    """Linear maps from the student's states to the teacher's, thrown away after the training.

    Args:
        hidden_size (`int`): width of the student's states.
        teacher_size (`int`): width of the teacher's.
    """

    @register_to_config
    def __init__(self, hidden_size: int, teacher_size: int):
        super().__init__()
        self.sentence = nn.Linear(hidden_size, teacher_size)
        self.word = nn.Linear(hidden_size, teacher_size)


class DistillationObjective(nn.Module):
    """How far the student's sentences and words are from the teacher's.

    Args:
        student (`BertModel`): is trained.
        heads (`TeacherHeads`): are trained with it.
        scene_heads (`SceneHeads`, *optional*): are trained with it.
        scene_weight (`float`): of their loss.
    """

    def __init__(
        self,
        student: BertModel,
        heads: TeacherHeads,
        scene_heads: SceneHeads | None = None,
        scene_weight: float = 1.0,
    ):
        super().__init__()
        self.student, self.heads = student, heads
        self.scene_heads, self.scene_weight = scene_heads, scene_weight

    def forward(
        self,
        batches: Sequence[dict[str, torch.Tensor]],
        embeddings_only: bool = False,
        scenes: dict[str, Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The losses by name, means over the batches; "loss" is their weighted sum.

        Args:
            batches (`Sequence` of `dict`): what `DistillationRows.batch` gives.
            embeddings_only (`bool`): skip the student's layers, which are new and close to the identity.
            scenes (`dict`, *optional*): what `SceneCaptions.batch` gives.
        """
        parts = [self._losses(embeddings_only=embeddings_only, **batch) for batch in batches]
        losses = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        if scenes is not None:
            losses |= scene_loss(self.read_scenes(scenes["input_ids"], scenes["attention_mask"]), scenes["targets"])
            losses["loss"] = losses["loss"] + self.scene_weight * losses["scene"]
        return losses

    def read_scenes(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """What the scene heads read of captions, (B, L): from the first token, and from the mean of the states."""
        heads = self.scene_heads
        assert heads is not None

        def read(mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            return heads(self.student(ids, attention_mask=mask).last_hidden_state, mask)

        logits = by_like_lengths(read, attention_mask, input_ids)
        return [heads.by_name(part) for part in logits.unbind(1)]

    def _losses(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        words: torch.Tensor,
        sentence_states: torch.Tensor,
        word_states: torch.Tensor,
        embeddings_only: bool,
    ) -> dict[str, torch.Tensor]:
        if embeddings_only:
            states = self.student.embeddings(input_ids)
        else:
            states = self.student(input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = mean_pool(states, attention_mask)
        sentence = 1 - functional.cosine_similarity(self.heads.sentence(pooled), sentence_states).mean()
        word = 1 - functional.cosine_similarity(self.heads.word(mean_words(states, words)), word_states).mean()
        own = functional.normalize(pooled, dim=-1)
        similarity = (own @ own.T - sentence_states @ sentence_states.T).square().mean()
        total = sentence + word + _SIMILARITY_WEIGHT * similarity
        return {"loss": total, "sentence": sentence, "word": word, "similarity": similarity}
