import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from small_teacher import PIECES, SENTENCES
from transformers import AutoModel, AutoTokenizer, BertModel

from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.training.text_distillation import teacher, trainer

STUDENT = '{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}'


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
    assert student.dtype == torch.float32
    stored = load_file(tmp_path / "whole/hand_text_encoder/model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    tokens = tokenizer(["a rocker", ""], padding="max_length", return_tensors="pt")
    states = student(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    assert states.shape == (2, 77, 32) and states.isfinite().all()


def test_the_losses_fall(run, tmp_path):
    run(tmp_path / "out", "--max_train_steps", 60, "--learning_rate", 0.01, "--lr_warmup_steps", 5,
        "--checkpointing_steps", 60, "--embedding_steps", 10, "--validation_steps", 1)  # fmt: skip
    validated = [entry for entry in log_of(tmp_path / "out") if "validation_loss" in entry]
    for name in ("sentence", "word", "similarity"):
        assert validated[-1][f"validation_{name}"] < 0.7 * validated[0][f"validation_{name}"], name


def test_learns_what_captions_say(run, tmp_path, same_tree):
    make_dataset(tmp_path / "scenes", 40, images=False, progress=False)
    options = ("--scenes", tmp_path / "scenes", "--scene_captions", 16, "--learning_rate", 0.01)
    run(tmp_path / "out", *options, "--max_train_steps", 60, "--checkpointing_steps", 60)
    first, *_, last = [entry for entry in log_of(tmp_path / "out") if "scene" in entry]
    assert last["scene"] < 0.8 * first["scene"] and last["gesture"] < first["gesture"]
    (validated,) = [entry for entry in log_of(tmp_path / "out") if "validation_kind_accuracy" in entry]
    assert validated["validation_kind_accuracy"] > 0.6 and 0 <= validated["validation_gesture_accuracy"] <= 1
    assert (tmp_path / "out/checkpoint-60/scene_heads").is_dir()
    assert not (tmp_path / "out/scene_heads").exists()

    run(tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")


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
    monkeypatch.setattr(teacher, "mean_pool", None)
    run(tmp_path / "second", *cache, "--tokenizer_name", tmp_path / "first/hand_tokenizer",
        "--init_from", tmp_path / "first", "--learning_rate", 0)  # fmt: skip
    first, second = (AutoModel.from_pretrained(tmp_path / name / "hand_text_encoder") for name in ("first", "second"))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize(
    "options",
    [
        ("--block_size", "0"),
        ("--embedding_steps", "-1"),
        ("--init_from", "folder"),
        ("--num_validation_rows", "-1"),
        ("--scene_captions", "0"),
        ("--scene_loss_weight", "-1"),
        ("--handless_text", "text.txt"),
        ("--handless_text", "text.txt", "--scenes", "scenes", "--scene_language", "studio"),
    ],
)
def test_wrong_options(options, capsys):
    with pytest.raises(SystemExit):
        trainer.parse_args(["--teacher", "t", "--text", "x", "--output_dir", "o", "--max_train_steps", "1", *options])
    assert options[0] in capsys.readouterr().err
