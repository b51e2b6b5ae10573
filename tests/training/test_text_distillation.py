import json
import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from diffusers_handiffuser.training.text_distillation import teacher as teacher_module
from diffusers_handiffuser.training.text_distillation import trainer
from diffusers_handiffuser.training.text_distillation.teacher import mean_pool, mean_words
from diffusers_handiffuser.training.text_distillation.texts import (
    blocks_of_like_length,
    read_sentences,
    tokenize_sentences,
)
from diffusers_handiffuser.training.text_distillation.vocabulary import (
    build_tokenizer,
    load_tokenizer,
    prune_vocabulary,
    save_tokenizer,
)

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = [
    *("hand", "hands", "fist", "thumb", "horns", "peace", "sign", "two", "left", "right", "making", "showing"),
    *("rocker", "waving", "vase", "##ing"),
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!'-", *LETTERS, *(f"##{c}" for c in LETTERS), "漢", *WORDS]
WHO, DOES = ("rocker", "left hand", "right hand", "two hands"), ("making", "showing", "waving")
WHAT = ("a fist", "horns", "a peace sign", "a thumb", "a vase")
SENTENCES = [f"a {who} {does} {what}" for who in WHO for does in DOES for what in WHAT]
STUDENT = '{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}'


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(PIECES), initializer_range=0.2, **sizes)).eval().save_pretrained(folder)
    save_tokenizer(build_tokenizer(PIECES), folder)
    return folder


@pytest.fixture
def run(teacher_dir, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")

    def run_trainer(output_dir, *options):
        fixed = {
            "--teacher": teacher_dir,
            "--text": text,
            "--output_dir": output_dir,
            "--text_encoder_config": STUDENT,
            "--vocab_size": 76,
            "--num_validation_rows": 8,
            "--block_size": 8,
            "--train_batch_size": 2,
            "--max_train_steps": 4,
            "--checkpointing_steps": 2,
            "--logging_steps": 1,
        }
        trainer.main([str(part) for part in (*(part for pair in fixed.items() for part in pair), *options)])

    return run_trainer


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_trains_resumes_and_saves_what_auto_classes_load(run, tmp_path, same_tree, caplog):
    run(tmp_path / "whole", "--use_ema", "--embedding_steps", 1)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(tmp_path / "killed", "--use_ema", "--embedding_steps", 1, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")

    caplog.clear()
    student, loading = AutoModel.from_pretrained(tmp_path / "whole/hand_text_encoder", output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "whole/hand_tokenizer")
    assert not caplog.records and not any(loading.values())
    assert type(student) is BertModel and student.config.vocab_size == len(tokenizer) == 76
    assert tokenizer.model_max_length == student.config.max_position_embeddings == 77
    assert (tmp_path / "whole/hand_tokenizer/vocab.txt").read_text(encoding="utf-8").splitlines()[:2] == PIECES[:2]
    saved = json.loads((tmp_path / "whole/hand_text_encoder/config.json").read_text())
    assert saved["dtype"] == "float16"
    tokens = tokenizer(["a rocker", ""], padding="max_length", return_tensors="pt")
    states = student.float()(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    assert states.shape == (2, 77, 32) and states.isfinite().all()


def test_the_losses_fall(run, tmp_path):
    run(tmp_path / "out", "--max_train_steps", 60, "--learning_rate", 0.01, "--lr_warmup_steps", 5,
        "--checkpointing_steps", 60, "--embedding_steps", 10, "--validation_steps", 1)  # fmt: skip
    validated = [entry for entry in log_of(tmp_path / "out") if "validation_loss" in entry]
    for name in ("sentence", "word", "similarity"):
        assert validated[-1][f"validation_{name}"] < 0.7 * validated[0][f"validation_{name}"], name


def test_first_steps_train_no_layer(run, tmp_path):
    run(tmp_path / "out", "--max_train_steps", 2, "--embedding_steps", 2, "--adam_weight_decay", 0)
    trained = AutoModel.from_pretrained(tmp_path / "out/checkpoint-2/hand_text_encoder").state_dict()
    torch.manual_seed(0)
    config = AutoModel.from_pretrained(tmp_path / "out/hand_text_encoder").config
    fresh = BertModel(config).state_dict()
    changed = {name for name, value in fresh.items() if not torch.equal(value, trained[name])}
    assert "embeddings.word_embeddings.weight" in changed
    assert not [name for name in changed if name.startswith(("encoder", "pooler"))]


def test_teacher_is_asked_once(run, tmp_path, monkeypatch):
    cache = ("--cache_dir", tmp_path / "cache")
    run(tmp_path / "first", *cache)
    monkeypatch.setattr(teacher_module, "mean_pool", None)
    run(tmp_path / "second", *cache, "--tokenizer_name", tmp_path / "first/hand_tokenizer",
        "--init_from", tmp_path / "first", "--learning_rate", 0)  # fmt: skip
    first, second = (AutoModel.from_pretrained(tmp_path / name / "hand_text_encoder") for name in ("first", "second"))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_teacher_states_are_its_own(teacher_dir, fresh_accelerator, tmp_path):
    model, tokenizer = AutoModel.from_pretrained(teacher_dir).eval(), AutoTokenizer.from_pretrained(teacher_dir)
    sentences = ["a fist", "two hands making horns, a vase!", "x"]
    tokens = tokenize_sentences(tokenizer, sentences)
    states = teacher_module.cache_teacher_states(model, tokens, "key", tmp_path, Accelerator(cpu=True))
    for number, sentence in enumerate(sentences):
        alone = tokenizer(sentence, return_tensors="pt")
        with torch.no_grad():
            whole = model(alone.input_ids).last_hidden_state[0]
        pooled = torch.nn.functional.normalize(whole.mean(0), dim=0)
        torch.testing.assert_close(torch.tensor(states.sentences[number]).float(), pooled, atol=2e-3, rtol=0)
    words = states.batch(np.array([1]), tokens.num_words[[1]])["word_states"]
    assert len(words) == 8 == tokens.num_words[1]


def test_means():
    states = torch.tensor([[[9.0], [1], [3], [5], [9]], [[9.0], [7], [9], [9], [9]]])
    words = torch.tensor([[-1, 0, 0, 1, -1], [-1, 0, -1, -1, -1]])
    assert mean_words(states, words).tolist() == [[2.0], [5.0], [7.0]]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    assert mean_pool(states, mask).flatten().tolist() == pytest.approx([27 / 5, 8.0])


def test_words_are_the_same_in_both_vocabularies(teacher_dir):
    teacher = AutoTokenizer.from_pretrained(teacher_dir)
    student = build_tokenizer(prune_vocabulary(teacher, SENTENCES, 68))
    sentences = [*SENTENCES, "the rocker's hands, waving!", "漢 fist", "z" * 200]
    ours, theirs = tokenize_sentences(student, sentences), tokenize_sentences(teacher, sentences)
    assert ours.num_words.tolist() == theirs.num_words.tolist()
    assert (ours.lengths >= theirs.lengths).all() and ours.lengths.max() <= 77


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


@pytest.mark.parametrize(
    "options",
    [("--block_size", "0"), ("--embedding_steps", "-1"), ("--init_from", "folder"), ("--num_validation_rows", "-1")],
)
def test_wrong_options(options, capsys):
    with pytest.raises(SystemExit):
        trainer.parse_args(["--teacher", "t", "--text", "x", "--output_dir", "o", "--max_train_steps", "1", *options])
    assert options[0] in capsys.readouterr().err
