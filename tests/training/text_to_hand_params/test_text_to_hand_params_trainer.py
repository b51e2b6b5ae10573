import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, HandParams, TextToHandParamsModel
from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.training.engine.live_captions import LiveCaptions
from diffusers_handiffuser.training.text_to_hand_params import trainer
from diffusers_handiffuser.training.text_to_hand_params.validation import compare_hands, draw_samples
from diffusers_handiffuser.utils.command_line import run_as_command

SMALL = {
    "--model_config": '{"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}',
    "--text_encoder_config": """{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2}""",
    "--train_batch_size": 4,
    "--num_validation_rows": 3,
    "--max_train_steps": 4,
    "--checkpointing_steps": 2,
    "--num_hand_inference_steps": 2,
}


def run(data_dir, output_dir, *options):
    flat = [part for pair in SMALL.items() for part in pair]
    trainer.main([str(o) for o in ("--train_data_dir", data_dir, "--output_dir", output_dir, *flat, *options)])


def test_trains_resumes_and_writes_components(data_dir, tokenizer_dir, tmp_path, same_tree):
    options = ("--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--random_flip", "--use_ema",
               "--validation_prompts", "a fist", "two hands", "--logging_steps", 1)  # fmt: skip
    run(data_dir, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")

    out = tmp_path / "whole"
    model = TextToHandParamsModel.from_pretrained(out / "text_to_hand_params")
    averaged = TextToHandParamsModel.from_pretrained(out / "checkpoint-4/text_to_hand_params_ema")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), averaged.parameters(), strict=True))
    assert torch.equal(model.sample_mean, averaged.sample_mean)
    CLIPTextModel.from_pretrained(out / "hand_text_encoder")
    CLIPTokenizer.from_pretrained(out / "hand_tokenizer")
    scheduler = DDIMScheduler.from_pretrained(out / "text_to_hand_scheduler")
    assert scheduler.config.prediction_type == "sample"
    pipe = HanDiffuserPipeline.from_pretrained(out)
    assert pipe.unet is None and len(pipe.sample_hand_params("a fist", num_hand_inference_steps=2)) == 1
    assert pipe.config.default_num_hand_inference_steps == 2
    card = (out / "README.md").read_text()
    assert "training.text_to_hand_params --train_data_dir data" in card
    assert "![Loss" in card and "![Validation samples" in card and ", torch " in card
    assert (out / "loss_curve.png").is_file() and (out / "samples.png").is_file()
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-2])
    assert {"validation_mse", "validation_joints", "validation_visibility"} <= last.keys()


def test_validation_shows_the_hands_of_the_result(data_dir, tokenizer_dir, tmp_path):
    prompts = ("a fist", "two hands")
    run(data_dir, tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--use_ema",
        "--validation_prompts", *prompts)  # fmt: skip
    dataset, pipe = HandDataset(data_dir), HanDiffuserPipeline.from_pretrained(tmp_path / "out")
    generators = [torch.Generator().manual_seed(number) for number in range(5)]
    sampled = pipe.sample_hand_params([*dataset.texts[-3:], *prompts], hand_generator=generators)
    shown = np.asarray(Image.open(tmp_path / "out/samples/0000004-hands.png"))
    assert np.array_equal(shown, draw_samples(sampled, dataset.hand_params[-3:], pipe.body_model))


def test_statistics_are_those_of_the_training_rows(data_dir, tokenizer_dir, tmp_path):
    run(data_dir, tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder")
    model = TextToHandParamsModel.from_pretrained(tmp_path / "out/text_to_hand_params")
    encoded = model.encode(HandDataset(data_dir).hand_params)[:-3]
    assert encoded.mean(0).abs().max() < 1e-4
    assert encoded.std(0, correction=0).max() < 1 + 1e-4
    assert model.sample_std.min() == pytest.approx(0.02)


def test_frozen_text_encoder_stays_and_is_not_in_checkpoints(data_dir, clip_text_model, tokenizer_dir, tmp_path):
    base = tmp_path / "sd"
    clip_text_model.save_pretrained(base / "text_encoder")
    shutil.copytree(tokenizer_dir, base / "tokenizer")
    run(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", base)
    ours = CLIPTextModel.from_pretrained(tmp_path / "out/hand_text_encoder").state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in clip_text_model.state_dict().items())
    assert not (tmp_path / "out/checkpoint-4/hand_text_encoder").exists()


def test_init_from_takes_weights_and_statistics(data_dir, tokenizer_dir, tmp_path):
    run(data_dir, tmp_path / "first", "--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--use_ema")
    run(data_dir, tmp_path / "second", "--tokenizer_name", tokenizer_dir, "--train_text_encoder",
        "--init_from", tmp_path / "first/checkpoint-4", "--learning_rate", 0, "--max_train_samples", 9)  # fmt: skip
    name = "text_to_hand_params/diffusion_pytorch_model.safetensors"
    first, second = (load_file(tmp_path / folder / name) for folder in ("first", "second"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_mixed_precision_and_gradient_checkpointing(data_dir, tokenizer_dir, tmp_path):
    run(data_dir, tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--snr_gamma", 5,
        "--mixed_precision", "bf16", "--gradient_checkpointing", "--gradient_accumulation_steps", 2,
        "--max_train_steps", 2)  # fmt: skip
    model = TextToHandParamsModel.from_pretrained(tmp_path / "out/text_to_hand_params")
    assert next(model.parameters()).dtype == torch.float32


def test_comparison_with_itself_is_perfect():
    hands = HandParams.zeros(2).replace(hand_visible=torch.tensor([[True, True], [False, True]]))
    numbers = compare_hands(hands, hands, HandBodyModel.procedural())
    assert numbers["visibility"] == 1 and numbers["finger_error"] < 1e-3


def test_options_that_cannot_work_are_refused(data_dir, tmp_path, tokenizer_dir, capsys):
    for options in ((), ("--tokenizer_name", tokenizer_dir), ("--model_config", "no such file")):
        with pytest.raises(SystemExit):
            run(data_dir, tmp_path / "out", *options)
    assert "--train_text_encoder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(data_dir, tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder",
            "--num_hand_inference_steps", 0)  # fmt: skip
    assert "--num_hand_inference_steps must be at least 1" in capsys.readouterr().err


def test_bad_row_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"text": "a hand"}\n')
    monkeypatch.setattr(
        sys,
        "argv",
        ["trainer", "--train_data_dir", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--max_train_steps", "1",
         "--tokenizer_name", str(tmp_path), "--train_text_encoder"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as exit_info:
        run_as_command(trainer.main)
    assert exit_info.value.code == 2 and "metadata.jsonl, row 0" in capsys.readouterr().err


def test_starts_from_a_text_model_of_another_class(data_dir, tokenizer_dir, bert, bert_tokenizer, tmp_path, capsys):
    """A frozen BERT, beside weights that were trained with CLIP: those that fit are taken."""
    run(data_dir, tmp_path / "clip", "--tokenizer_name", tokenizer_dir, "--train_text_encoder")
    bert.save_pretrained(tmp_path / "base/hand_text_encoder")
    bert_tokenizer.save_pretrained(tmp_path / "base/hand_tokenizer")
    options = ("--pretrained_model_name_or_path", tmp_path / "base", "--init_from", tmp_path / "clip")
    with pytest.raises(RuntimeError, match="size mismatch for text_norm.weight"):
        run(data_dir, tmp_path / "refused", *options)
    capsys.readouterr()
    run(
        data_dir, tmp_path / "out", *options, "--ignore_mismatched_sizes", "--max_train_steps", 1, "--learning_rate", 0
    )
    printed = capsys.readouterr().out
    assert re.search(r"(\d+) of the \d+ weights of TextToHandParamsModel are those of", printed).group(1) != "0"
    assert re.search(r"0 of the \d+ weights of BertModel are those of", printed)
    pipe = HanDiffuserPipeline.from_pretrained(tmp_path / "out")
    assert type(pipe.hand_text_encoder) is type(bert)
    for key, value in bert.state_dict().items():
        assert torch.equal(pipe.hand_text_encoder.state_dict()[key], value)
    before = TextToHandParamsModel.from_pretrained(tmp_path / "clip/text_to_hand_params").state_dict()
    after = pipe.text_to_hand_params.state_dict()
    assert torch.equal(after["joint_in.weight"], before["joint_in.weight"])
    assert after["text_in.weight"].shape != before["text_in.weight"].shape


def test_live_captions_are_new_in_every_step(tmp_path, tokenizer_dir, monkeypatch):
    make_dataset(tmp_path / "studio", 8, images=False, progress=False)
    seen = []
    write = LiveCaptions.write

    def write_and_keep(self, row, seed):
        seen.append(write(self, row, seed))
        return seen[-1]

    monkeypatch.setattr(LiveCaptions, "write", write_and_keep)
    run(tmp_path / "studio", tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder",
        "--live_captions", "both", "--max_train_steps", 5)  # fmt: skip
    assert len(seen) == 20 and len(set(seen)) == 20


def test_given_sentences_without_hands_need_natural_captions(tmp_path, data_dir, tokenizer_dir, capsys):
    (tmp_path / "text.txt").write_text("a lighthouse in fog\n", encoding="utf-8")
    options = ("--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--handless_text", tmp_path / "text.txt")
    for captions in ((), ("--live_captions", "studio")):
        with pytest.raises(SystemExit):
            run(data_dir, tmp_path / "out", *options, *captions)
        assert "--handless_text needs --live_captions natural or both" in capsys.readouterr().err


def test_live_captions_need_scenes(data_dir, tmp_path, tokenizer_dir):
    with pytest.raises(ValueError, match="--live_captions needs the column `scene`.*row 0 has none"):
        run(data_dir, tmp_path / "out", "--tokenizer_name", tokenizer_dir, "--train_text_encoder", "--live_captions",
            "studio")  # fmt: skip


@pytest.mark.parametrize("scene", [["a fist"], {"kind": "close_up"}, {"kind": "x", **dict.fromkeys("abc")}])
def test_live_captions_refuse_what_the_studio_did_not_pose(scene):
    with pytest.raises(ValueError, match="row 0: `scene` is not one of the studio's"):
        LiveCaptions([scene], "both")
