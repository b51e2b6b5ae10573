import warnings

import pytest
from transformers import CLIPTokenizer

from diffusers_handiffuser.training.tokenizer import main, save_tokenizer, train_tokenizer

CAPTIONS = ["a right hand making a peace sign", "a left hand making a fist", "two hands, thumbs up"] * 3


@pytest.fixture(scope="module")
def trained():
    return train_tokenizer(CAPTIONS, 100)


@pytest.mark.parametrize("text", ["a left hand", "Zwölf Hände! 漢字 🙂", "x" * 30, "tab\tand\nline", "it's 3.14"])
def test_any_text_tokenises_without_unknowns(trained, text):
    ids = trained(text).input_ids
    assert (ids[0], ids[-1]) == (trained.bos_token_id, trained.eos_token_id)
    assert trained.eos_token_id not in ids[1:-1]
    spaced = trained.decode(ids[1:-1])
    assert spaced.replace(" ", "") == "".join(text.lower().split())


def test_frequent_words_are_one_token(trained):
    assert trained.tokenize("making a hand") == ["making</w>", "a</w>", "hand</w>"]
    assert len(trained) <= 512 + 100 + 2
    assert trained.eos_token_id == len(trained) - 1 == trained.pad_token_id


def test_folder_loads_again_without_a_word(trained, tmp_path, caplog):
    save_tokenizer(trained, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = CLIPTokenizer.from_pretrained(tmp_path)
    assert not caplog.records
    assert loaded.model_max_length == 77
    padded = loaded("two hands", padding="max_length", max_length=77, truncation=True).input_ids
    assert len(padded) == 77 and set(padded[4:]) == {loaded.pad_token_id}
    assert loaded(CAPTIONS).input_ids == trained(CAPTIONS).input_ids


def test_older_files_say_the_same(trained, tmp_path):
    save_tokenizer(trained, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    assert loaded(CAPTIONS).input_ids == trained(CAPTIONS).input_ids


def test_program(data_dir, tmp_path, capsys):
    main(["--train_data_dir", str(data_dir), "--output_dir", str(tmp_path / "out"), "--num_merges", "20"])
    assert "tokens" in capsys.readouterr().out
    loaded = CLIPTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.tokenize("left right") == ["left</w>", "right</w>"]  # the mirrored captions count as well
