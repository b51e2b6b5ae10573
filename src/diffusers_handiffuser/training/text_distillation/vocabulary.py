"""The student's tokenizer: WordPiece with the teacher's most useful pieces."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers.models import WordPiece
from transformers import (  # type: ignore[attr-defined]  # transformers 5 makes the second when it is asked for
    AutoTokenizer,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
)

from ...hub.saving import reset_tokenizer_padding, strip_load_paths
from ...utils.atomic_files import atomic_write_dir

MAX_LENGTH = 77
"""Tokens of a text, with [CLS] and [SEP]: as many as CLIP takes."""
VOCABULARY_NAME = "vocab.txt"


def prune_vocabulary(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], size: int, kept_texts: Iterable[str] = ()
) -> list[str]:
    """The pieces that a smaller vocabulary keeps, in the order that they have in the tokenizer.

    Kept are the special tokens; single Latin letters, digits and punctuation, alone and inside a word, so that any
    English word can be spelled; all pieces of `kept_texts`; then the most frequent pieces of all texts. Words in other
    scripts become the unknown token.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): the teacher's.
        texts (`Iterable[str]`): count frequencies.
        size (`int`): pieces in all; fewer if the texts do not hold as many.
        kept_texts (`Iterable[str]`): are never split into more pieces than the teacher splits them.

    Raises:
        `ValueError`: `size` is too small for what is always kept.
    """
    counts, always = _count_pieces(tokenizer, texts), _count_pieces(tokenizer, kept_texts)
    vocabulary = tokenizer.get_vocab()
    kept = {piece for piece in vocabulary if _is_latin_character(piece.removeprefix("##"))}
    kept |= {*tokenizer.all_special_tokens, *always}
    if len(kept) > size:
        raise ValueError(f"`vocab_size` must be at least {len(kept)}, the pieces that are always kept, got {size}")
    ranked = sorted((counts + always).items(), key=lambda item: (-item[1], vocabulary[item[0]]))
    for piece, _ in ranked:
        if len(kept) == size:
            break
        kept.add(piece)
    return sorted(kept, key=vocabulary.__getitem__)


def _count_pieces(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Counter[str]:
    counts: Counter[int] = Counter()
    for ids in tokenizer(list(texts) or [""], add_special_tokens=False, truncation=False, verbose=False).input_ids:
        counts.update(ids)
    pieces = tokenizer.convert_ids_to_tokens(list(counts))
    return Counter(dict(zip(pieces, counts.values(), strict=True)))


def _is_latin_character(piece: str) -> bool:
    """Of Unicode's Latin blocks up to Extended-B, or its general punctuation, superscripts and currencies."""
    return len(piece) == 1 and (ord(piece) < 0x250 or 0x2010 <= ord(piece) < 0x20D0)


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer in a folder or of a Hub id; a `ValueError` if it is not WordPiece."""
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(getattr(backend, "model", None), WordPiece):
        raise ValueError(f"the tokenizer of {name} must be BERT's WordPiece, but is a {type(tokenizer).__name__}")
    return tokenizer


def build_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer over these pieces, for texts of up to `MAX_LENGTH` tokens."""
    with tempfile.TemporaryDirectory() as folder:
        write_vocabulary(Path(folder), pieces)
        return BertTokenizerFast.from_pretrained(folder, do_lower_case=True, model_max_length=MAX_LENGTH)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: str | os.PathLike) -> None:
    """`save_pretrained`, and the `vocab.txt` that older transformers read."""
    with atomic_write_dir(folder) as temporary:
        reset_tokenizer_padding(tokenizer)
        tokenizer.save_pretrained(temporary)
        strip_load_paths(temporary)
        write_vocabulary(temporary, tokenizer.get_vocab())


def write_vocabulary(folder: Path, pieces: Iterable[str] | Mapping[str, int]) -> None:
    """Writes `vocab.txt`: the pieces in their order, or in that of their numbers."""
    if isinstance(pieces, Mapping):
        pieces = sorted(pieces, key=pieces.__getitem__)
    (folder / VOCABULARY_NAME).write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
