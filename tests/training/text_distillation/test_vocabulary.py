import pytest
from small_teacher import PIECES
from transformers import AutoTokenizer

from diffusers_handiffuser.training.text_distillation.vocabulary import (
    build_tokenizer,
    load_tokenizer,
    prune_vocabulary,
)


class TestVocabulary:
    def test_keeps_characters_kept_texts_and_the_most_frequent(self, teacher_dir):
        teacher = AutoTokenizer.from_pretrained(teacher_dir)
        always = 5 + 5 + 26 + 26
        pieces = prune_vocabulary(teacher, ["hand hand fist fist fist peace"], always + 3, ["vase"])
        assert set(pieces) == {*PIECES[:always], "vase", "fist", "hand"}
        assert pieces == sorted(pieces, key=PIECES.index)

    def test_spells_rare_words_and_gives_up_other_scripts(self, teacher_dir):
        teacher = AutoTokenizer.from_pretrained(teacher_dir)
        tokenizer = build_tokenizer(prune_vocabulary(teacher, ["fist"] * 2, 64))
        assert tokenizer.tokenize("Fist horns 漢 Жук") == [
            "fist",
            *("h", "##o", "##r", "##n", "##s"),
            "[UNK]",
            "[UNK]",
        ]

    def test_too_small(self, teacher_dir):
        with pytest.raises(ValueError, match="`vocab_size` must be at least 62"):
            prune_vocabulary(AutoTokenizer.from_pretrained(teacher_dir), [], 61)


def test_a_teacher_with_another_kind_of_tokenizer_is_refused(tokenizer_dir):
    with pytest.raises(ValueError, match=r"tokenizer of .* must be BERT's WordPiece, but is a CLIPTokenizer"):
        load_tokenizer(str(tokenizer_dir))
