"""A tokenizer saved by one version of transformers gives the same token ids in all."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertTokenizer, BertTokenizerFast

from diffusers_handiffuser.training.text_distillation.vocabulary import build_tokenizer, save_tokenizer

FOLDER = Path(__file__).parents[2] / "fixtures/word_pieces"
SENTENCES = json.loads((FOLDER / "sentences.json").read_text(encoding="utf-8"))
IDS = json.loads((FOLDER / "ids.json").read_text(encoding="utf-8"))


def ids_of(tokenizer):
    return tokenizer(SENTENCES, truncation=True).input_ids


def test_fixture_is_worth_comparing():
    assert len(SENTENCES) == len(IDS) == 200
    assert max(map(len, IDS)) == 77 and len({number for ids in IDS for number in ids}) > 400


@pytest.mark.parametrize("loader", [AutoTokenizer, BertTokenizer, BertTokenizerFast])
@pytest.mark.parametrize("without", [None, "tokenizer.json"])
def test_saved_folder_gives_the_same_ids(loader, without, tmp_path):
    for path in (FOLDER / "tokenizer").iterdir():
        if path.name != without:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = loader.from_pretrained(tmp_path)
    assert tokenizer.model_max_length == 77
    different = [text for text, ours, ids in zip(SENTENCES, ids_of(tokenizer), IDS, strict=True) if ours != ids]
    assert not different


def test_folder_saved_here_gives_the_same_ids(tmp_path):
    pieces = (FOLDER / "tokenizer/vocab.txt").read_text(encoding="utf-8").splitlines()
    save_tokenizer(build_tokenizer(pieces), tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == (FOLDER / "tokenizer/vocab.txt").read_bytes()
    for loader in (AutoTokenizer, BertTokenizer):
        assert ids_of(loader.from_pretrained(tmp_path)) == IDS
