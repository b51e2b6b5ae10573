import numpy as np
import pytest
from small_teacher import SENTENCES
from transformers import AutoTokenizer

from diffusers_handiffuser.training.engine.sentences import read_sentences
from diffusers_handiffuser.training.text_distillation.texts import (
    blocks_of_like_length,
    tokenize_sentences,
)
from diffusers_handiffuser.training.text_distillation.vocabulary import build_tokenizer, prune_vocabulary


def test_words_are_the_same_in_both_vocabularies(teacher_dir):
    teacher = AutoTokenizer.from_pretrained(teacher_dir)
    student = build_tokenizer(prune_vocabulary(teacher, SENTENCES, 68))
    sentences = [*SENTENCES, "the rocker's hands, waving!", "漢 fist", "z" * 200]
    ours, theirs = tokenize_sentences(student, sentences), tokenize_sentences(teacher, sentences)
    assert ours.num_words.tolist() == theirs.num_words.tolist()
    assert (ours.lengths >= theirs.lengths).all() and ours.lengths.max() <= 77


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no line"), (b"\n -- \n", "no line"), (b"\xff\xfe a", "not UTF-8")]
)
def test_a_file_without_text_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "empty.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"empty\.txt.*{message}"):
        read_sentences([str(tmp_path / "empty.txt")])


def test_sentences_are_lines_without_repetition(tmp_path):
    (tmp_path / "text.txt").write_text(" a fist \n\n...\ntwo\na fist\n", encoding="utf-8")
    assert read_sentences([str(tmp_path / "text.txt")]) == ["a fist", "two"]


def test_blocks_are_of_like_length():
    blocks = blocks_of_like_length(np.array([5, 1, 4, 2, 3]), 2)
    assert [block.tolist() for block in blocks] == [[1, 3], [4, 2], [0]]
