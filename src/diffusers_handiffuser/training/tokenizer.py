"""Trains a small tokenizer in CLIP's format from the captions of a data set.

    python -m diffusers_handiffuser.training.tokenizer --train_data_dir DATA --output_dir OUT/tokenizer

Byte-pair encoding as CLIP has it: lower case, `</w>` at the end of a word, `<|startoftext|>` and `<|endoftext|>` as
the last two of the vocabulary. It has all 256 bytes, inside and at the end of a word, so no text has unknown tokens.
The result is a `transformers.CLIPTokenizer` folder that loads offline, for models that start without CLIP's weights.
"""

import inspect
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (  # type: ignore[attr-defined]  # transformers 5 makes the second when it is asked for
    CLIPTokenizer,
    CLIPTokenizerFast,
)

from ..data.captions import swap_sides
from ..data.dataset import HandDataset
from ..utils.command_line import run_as_command
from .engine.option_parser import option, parse_options
from .engine.options import refuse_negative

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_MADE_FROM_FILES = "vocab_file" in inspect.signature(CLIPTokenizer).parameters
"""transformers 4, whose `CLIPTokenizerFast` takes files where 5 takes the vocabulary itself."""


def learn_merges(captions: Iterable[str], num_merges: int, reference: CLIPTokenizer) -> list[tuple[str, str]]:
    """The most useful merges of the captions, in order, with the normalisation and word splitting of `reference`."""
    bpe = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=WORD_END))
    bpe.normalizer = reference.backend_tokenizer.normalizer
    bpe.pre_tokenizer = reference.backend_tokenizer.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + num_merges,
        min_frequency=2,
        initial_alphabet=alphabet,
        continuing_subword_prefix="",
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [tuple(merge) for merge in merges[:num_merges]]


def build_tokenizer(merges: list[tuple[str, str]]) -> CLIPTokenizer:
    """CLIPTokenizer over all bytes and these merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + WORD_END for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    options: dict[str, Any] = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    options["model_max_length"] = 77
    if _MADE_FROM_FILES:
        with tempfile.TemporaryDirectory() as folder:
            return CLIPTokenizerFast(*_write_vocabulary(Path(folder), vocabulary, merges), **options)
    return CLIPTokenizer(vocabulary, merges, **options)  # type: ignore[arg-type]  # pairs, whatever the hint says


def train_tokenizer(captions: Iterable[str], num_merges: int = 2048) -> CLIPTokenizer:
    """A tokenizer that spends `num_merges` merges (at most; rare pairs are not merged) on the captions."""
    return build_tokenizer(learn_merges(captions, num_merges, build_tokenizer([])))


def save_tokenizer(tokenizer: CLIPTokenizer, folder: str | os.PathLike) -> None:
    """`save_pretrained`, and the `vocab.json` and `merges.txt` that older transformers read."""
    folder = Path(folder)
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    _write_vocabulary(folder, model["vocab"], model["merges"])


def _write_vocabulary(folder: Path, vocabulary: Mapping[str, int], merges: Iterable[Sequence[str]]) -> tuple[str, str]:
    """CLIP's two files, as paths."""
    vocabulary_file, merges_file = folder / "vocab.json", folder / "merges.txt"
    vocabulary_file.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = "\n".join(" ".join(merge) for merge in merges)
    merges_file.write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")
    return str(vocabulary_file), str(merges_file)


@dataclass
class TokenizerOptions:
    """Train a small CLIP-format tokenizer on the captions of data set folders."""

    _argument_group_name: ClassVar[str] = "tokenizer"

    train_data_dir: list[str] = option(help="folders with a metadata.jsonl; images are not needed")
    output_dir: str = option(help="folder of the tokenizer")
    num_merges: int = option(2048, help="at most; the vocabulary starts with 514 tokens")
    debug: bool = option(False, help="show the traceback of an error")

    def __post_init__(self) -> None:
        refuse_negative(self, "num_merges")


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(TokenizerOptions, argv, prog="python -m diffusers_handiffuser.training.tokenizer")
    captions = []
    for folder in options.train_data_dir:
        texts = HandDataset(folder).texts
        captions += texts + [swap_sides(text) for text in texts]
    tokenizer = train_tokenizer(captions, options.num_merges)
    save_tokenizer(tokenizer, options.output_dir)
    lengths = [len(ids) for ids in tokenizer(captions).input_ids]
    mean, longest = sum(lengths) / len(lengths), max(lengths)
    print(f"{len(tokenizer)} tokens; captions have {mean:.1f} on average and at most {longest}: {options.output_dir}")


if __name__ == "__main__":
    run_as_command(main)
