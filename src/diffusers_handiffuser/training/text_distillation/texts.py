"""Sentences for the distillation: shuffled, tokenised, and put into blocks of like length."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from ..engine.randomness import seeded_generator
from .vocabulary import MAX_LENGTH

TOKENIZER_BATCH = 4096


def shuffle_sentences(sentences: Sequence[str], seed: int) -> list[str]:
    """The sentences in an order that depends on the seed, so that the last ones can be held out."""
    order = torch.randperm(len(sentences), generator=seeded_generator(seed, "sentences"))
    return [sentences[number] for number in order.tolist()]


def fingerprint(sentences: Sequence[str]) -> str:
    """Short hash of the sentences and their order."""
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16]


@dataclass
class TokenizedSentences:
    """Tokens of sentences, one sentence behind the other, and the word that each belongs to.

    Words are what the tokenizer splits into pieces: they are the same for all vocabularies of one kind of tokenizer.

    Args:
        ids (`np.ndarray` of shape `(T,)`, int32): token ids.
        words (`np.ndarray` of shape `(T,)`, int16): number of the word in its sentence; -1 for special tokens.
        ends (`np.ndarray` of shape `(N + 1,)`, int64): sentence n holds the tokens from `ends[n]` to `ends[n + 1]`.
        num_words (`np.ndarray` of shape `(N,)`, int64): words of each sentence.
        pad_token_id (`int`): fills batches.
    """

    ids: np.ndarray
    words: np.ndarray
    ends: np.ndarray
    num_words: np.ndarray
    pad_token_id: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sentence."""
        return np.diff(self.ends)

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `words`, each (B, L), of some sentences: padded to the longest."""
        lengths = self.lengths[rows]
        inside = np.arange(lengths.max()) < lengths[:, None]
        places = np.concatenate([np.arange(self.ends[row], self.ends[row + 1]) for row in rows])
        ids, words = np.full(inside.shape, self.pad_token_id), np.full(inside.shape, -1)
        ids[inside], words[inside] = self.ids[places], self.words[places]
        arrays = {"input_ids": ids, "attention_mask": inside.astype(np.int64), "words": words}
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def tokenize_sentences(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str]) -> TokenizedSentences:
    """Tokens of the sentences, each cut to `MAX_LENGTH`."""
    ids, words, lengths, num_words = [], [], [], []
    for start in range(0, len(sentences), TOKENIZER_BATCH):
        batch = list(sentences[start : start + TOKENIZER_BATCH])
        for encoding in tokenizer(batch, truncation=True, max_length=MAX_LENGTH).encodings:
            numbers = [-1 if number is None else number for number in encoding.word_ids]
            ids.append(np.array(encoding.ids, np.int32))
            words.append(np.array(numbers, np.int16))
            lengths.append(len(numbers))
            num_words.append(max(numbers) + 1)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return TokenizedSentences(
        np.concatenate(ids), np.concatenate(words), ends, np.array(num_words), tokenizer.pad_token_id
    )


def blocks_of_like_length(lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Sentence numbers in blocks of `size`, in order of length; the last block may be smaller."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]
