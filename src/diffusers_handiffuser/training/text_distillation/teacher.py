"""What the teacher computes for the sentences: once, kept on disk in half precision."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional
from transformers import PreTrainedModel

from ..engine.caches import cached_together
from ..engine.images import weights_hash
from ..engine.tracking import progress
from .texts import TokenizedSentences, blocks_of_like_length

TEACHER_BATCH = 64


def mean_pool(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens, special ones included, as in Sentence-Transformers: (B, L, D) to (B, D)."""
    weights = attention_mask[..., None].to(states)
    return (states * weights).sum(1) / weights.sum(1)


def mean_words(states: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Mean over the pieces of each word.

    Args:
        states (`torch.Tensor` of shape `(B, L, D)`): of the tokens.
        words (`torch.Tensor` of shape `(B, L)`): as in `TokenizedSentences`.

    Returns:
        `torch.Tensor` of shape `(W, D)`: all words of the batch, sentence by sentence.
    """
    counts = words.amax(1) + 1
    places = words + (counts.cumsum(0) - counts)[:, None]
    inside = words >= 0
    places, total = places[inside], int(counts.sum())
    sums = states.new_zeros(total, states.shape[-1]).index_add(0, places, states[inside])
    return sums / places.bincount(minlength=total)[:, None]


@dataclass
class TeacherStates:
    """The teacher's embeddings of sentences and their words.

    Args:
        sentences (`np.ndarray` of shape `(N, D)`, float16): unit length.
        words (`np.ndarray` of shape `(W, D)`, float16): the last layer's states, mean over a word's pieces.
        starts (`np.ndarray` of shape `(N,)`): the first word of each sentence.
    """

    sentences: np.ndarray
    words: np.ndarray
    starts: np.ndarray

    def batch(
        self, rows: np.ndarray, num_words: np.ndarray, device: torch.device | str = "cpu"
    ) -> dict[str, torch.Tensor]:
        """`sentence_states` (B, D) and `word_states` (W, D) of the first `num_words` words of each sentence."""
        places = [
            np.arange(self.starts[row], self.starts[row] + count) for row, count in zip(rows, num_words, strict=True)
        ]
        arrays = {"sentence_states": self.sentences[rows], "word_states": self.words[np.concatenate(places)]}
        return {name: torch.from_numpy(array).to(device).float() for name, array in arrays.items()}


def cache_teacher_states(
    teacher: PreTrainedModel, tokens: TokenizedSentences, key: str, cache_dir: Path, accelerator: Accelerator
) -> TeacherStates:
    """The teacher's embeddings of tokenised sentences, computed in order of length unless they are in the cache.

    Args:
        teacher (`PreTrainedModel`): a BERT-like encoder whose sentence embedding is the mean of its last states.
        tokens (`TokenizedSentences`): with the teacher's own tokenizer.
        key (`str`): of the sentences, for the names of the files.
        cache_dir (`Path`): folder of the files.
        accelerator (`Accelerator`): its processes share the work.
    """
    width, starts = teacher.config.hidden_size, np.cumsum(tokens.num_words) - tokens.num_words
    shapes = {
        "teacher-sentences": (1, len(tokens.num_words), width),
        "teacher-words": (1, int(tokens.num_words.sum()), width),
    }

    @torch.inference_mode()
    def fill(arrays: dict[str, np.ndarray], rows: range) -> None:
        model = teacher.to(accelerator.device).eval()
        blocks = blocks_of_like_length(tokens.lengths[rows.start : rows.stop], TEACHER_BATCH)
        for block in progress(blocks, "teacher", accelerator):
            places = np.sort(block + rows.start)
            batch = tokens.batch(places, accelerator.device)
            states = model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state.float()
            pooled = functional.normalize(mean_pool(states, batch["attention_mask"]), dim=-1)
            arrays["teacher-sentences"][0, places] = pooled.cpu().numpy()
            word_places = [np.arange(starts[row], starts[row] + tokens.num_words[row]) for row in places]
            arrays["teacher-words"][0, np.concatenate(word_places)] = mean_words(states, batch["words"]).cpu().numpy()

    paths = {name: cache_dir / f"{name}-{key}-{weights_hash(teacher)}.npy" for name in shapes}
    arrays = cached_together(paths, shapes, dict.fromkeys(shapes, np.float16), fill, accelerator)
    return TeacherStates(arrays["teacher-sentences"][0], arrays["teacher-words"][0], starts)
