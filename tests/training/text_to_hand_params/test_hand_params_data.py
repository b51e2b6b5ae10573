"""Stage 1's examples: of a data set and of a stream, with the statistics that they are standardised by."""

import json
import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from diffusers_handiffuser import TextToHandParamsModel
from diffusers_handiffuser.data import HandDataset, hand_features
from diffusers_handiffuser.training.text_to_hand_params import trainer
from diffusers_handiffuser.training.text_to_hand_params.data import StreamedHandParams, open_hand_params

STREAMING = ("--streaming", "--shuffle_buffer", "5", "--num_validation_rows", "0")


def arguments(data_dir, tokenizer_dir, output_dir, *options):
    return ["--train_data_dir", str(data_dir), "--output_dir", str(output_dir), "--tokenizer_name", str(tokenizer_dir),
            "--model_config", '{"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}',
            "--text_encoder_config", '{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, '
            '"num_attention_heads": 2}', "--train_text_encoder", "--train_batch_size", "4", "--max_train_steps", "4",
            "--checkpointing_steps", "2", "--num_hand_inference_steps", "2", *map(str, options)]  # fmt: skip


def opened(data_dir, tokenizer, tokenizer_dir, *settings, model=None):
    options = trainer.parse_args(arguments(data_dir, tokenizer_dir, "unused", *settings))
    model = model or TextToHandParamsModel(16, 1, 2, cross_attention_dim=16)
    dataset = None if options.data.streaming else HandDataset(data_dir)
    return model, *open_hand_params(options, dataset, model, tokenizer, Accelerator(cpu=True))


def test_rows_of_a_stream_are_those_of_the_data_set(data_dir, tokenizer, tokenizer_dir):
    flip = torch.tensor([True, False, True])
    _, rows, number, held_out = opened(data_dir, tokenizer, tokenizer_dir, "--random_flip", "--num_validation_rows", 0)
    _, stream, unknown, nothing = opened(
        data_dir, tokenizer, tokenizer_dir, "--streaming", "--shuffle_buffer", 0, "--random_flip"
    )
    assert (number, unknown, held_out, nothing) == (14, None, None, None)
    assert isinstance(stream, StreamedHandParams)
    for first in (0, 3):
        ours, theirs = stream.batch(np.arange(3), flip), rows.batch(np.arange(first, first + 3), flip)
        assert ours.keys() == theirs.keys()
        for name in ("samples", "hand_visible"):
            assert torch.equal(ours[name], theirs[name])
        for name in ("input_ids", "empty_ids"):  # each padded to the longest of its own
            width = ours[name].shape[1]
            assert torch.equal(ours[name], theirs[name][:, :width])
            assert not theirs[name.replace("input_ids", "attention_mask").replace("ids", "mask")][:, width:].any()


def test_statistics_of_a_stream_are_those_of_its_first_rows(data_dir, tokenizer, tokenizer_dir):
    options = ("--streaming", "--shuffle_buffer", 0)
    few = opened(data_dir, tokenizer, tokenizer_dir, *options, "--statistics_rows", 5)[0]
    assert few.encode(HandDataset(data_dir).hand_params[:5]).mean(0).abs().max() < 1e-4
    every = opened(data_dir, tokenizer, tokenizer_dir, *options)[0]  # fewer rows than are asked for: each once
    assert every.encode(HandDataset(data_dir).hand_params).mean(0).abs().max() < 1e-4


def test_weights_from_elsewhere_keep_their_statistics(data_dir, tokenizer, tokenizer_dir):
    for options in (("--num_validation_rows", 0), ("--streaming",)):
        model = TextToHandParamsModel(16, 1, 2, cross_attention_dim=16)
        model.set_statistics(torch.full((327,), 0.5), torch.full((327,), 2.0))
        _, rows, *_ = opened(data_dir, tokenizer, tokenizer_dir, *options, "--init_from", "else", model=model)
        assert (model.sample_mean == 0.5).all()
        samples = rows.batch(np.arange(4))["samples"]
        encoded = model.encode(HandDataset(data_dir).hand_params)
        assert all((sample == encoded).all(-1).any() for sample in samples)


def test_resumed_stream_goes_on_with_the_next_row(data_dir, tokenizer_dir, tmp_path, same_tree):
    options = (*STREAMING, "--random_flip")
    trainer.main(arguments(data_dir, tokenizer_dir, tmp_path / "whole", *options))
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    resume = (*options, "--resume_from_checkpoint", "latest")
    trainer.main(arguments(data_dir, tokenizer_dir, tmp_path / "killed", *resume))
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")
    positions = [(tmp_path / name / "checkpoint-4/stream-0.json").read_text() for name in ("whole", "killed")]
    assert positions[0] == positions[1]


def test_shards_with_rows_held_out_of_another_split(data_dir, tokenizer_dir, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
    for row in rows:
        del row["file_name"]
    for split, part in (("train", rows[:10]), ("validation", rows[10:])):
        table = datasets.Dataset.from_list(part, features=hand_features(images=False))
        table.to_parquet(tmp_path / f"shards/{split}-00000-of-00001.parquet")
    trainer.main(arguments(tmp_path / "shards", tokenizer_dir, tmp_path / "out", "--streaming",
                           "--validation_split", "validation"))  # fmt: skip
    lines = (tmp_path / "out/log.jsonl").read_text()
    assert "validation_finger_error" in lines and (tmp_path / "out/samples/0000004-hands.png").is_file()
