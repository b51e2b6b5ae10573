"""Makes tests/fixtures/word_pieces: a small tokenizer, and the token ids that every version of transformers must give.

    python tools/make_word_pieces.py TEACHER

TEACHER is a folder or Hub id with BERT's uncased tokenizer. The vocabulary is pruned to the sentences that are in the
fixture already.
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from diffusers_handiffuser.training.text_distillation.vocabulary import (
    build_tokenizer,
    prune_vocabulary,
    save_tokenizer,
)

FOLDER = Path(__file__).resolve().parent.parent / "tests/fixtures/word_pieces"
VOCAB_SIZE = 900


def main() -> None:
    sentences = json.loads((FOLDER / "sentences.json").read_text(encoding="utf-8"))
    teacher = AutoTokenizer.from_pretrained(sys.argv[1])
    tokenizer = build_tokenizer(prune_vocabulary(teacher, sentences, VOCAB_SIZE))
    save_tokenizer(tokenizer, FOLDER / "tokenizer")
    lines = ",\n".join(json.dumps(ids) for ids in tokenizer(sentences, truncation=True).input_ids)
    (FOLDER / "ids.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
