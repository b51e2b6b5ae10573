import json
import shutil

import pytest
import torch

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training import text_hand_encoder as trainer
from diffusers_handiffuser.training.hand_params_to_image import load_initial_weights

ENCODER = """{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_basis_points": 16, "hand_hidden_size": 16}"""


@pytest.fixture
def run(data_dir, vae_dir, tokenizer_dir):
    def run_trainer(output_dir, *options):
        fixed = {
            "--train_data_dir": data_dir,
            "--pretrained_vae_model_name_or_path": vae_dir,
            "--tokenizer_name": tokenizer_dir,
            "--output_dir": output_dir,
            "--text_encoder_config": ENCODER,
            "--resolution": 16,
            "--grid": 4,
            "--train_batch_size": 4,
            "--num_validation_rows": 4,
            "--max_train_steps": 4,
            "--checkpointing_steps": 2,
            "--logging_steps": 1,
        }
        flat = [str(part) for pair in fixed.items() for part in pair]
        trainer.main([*flat, *map(str, options)])

    return run_trainer


def test_trains_resumes_and_saves_an_encoder_for_stage_2(run, tmp_path, same_tree):
    options = ("--use_ema", "--random_flip")
    run(tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")

    saved = TextHandEncoder.from_pretrained(tmp_path / "whole/text_encoder")
    fresh = TextHandEncoder.from_config(saved.config)
    load_initial_weights(tmp_path / "whole", {"unet": torch.nn.Linear(1, 1), "text_encoder": fresh})
    for name, value in saved.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    with pytest.raises(FileNotFoundError, match="`init_from`"):
        load_initial_weights(tmp_path, {"unet": fresh})


def test_the_error_falls(run, tmp_path):
    run(tmp_path / "out", "--max_train_steps", 60, "--learning_rate", 0.01, "--lr_warmup_steps", 1,
        "--checkpointing_steps", 60)  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:5]) * 2
    assert {"validation_mse", "validation_mse_of_other_captions"} <= {key for entry in log for key in entry}


def test_decoder_shapes():
    decoder = trainer.LayoutDecoder(hidden_size=8, channels=3, grid=5, num_layers=1, num_heads=2)
    assert decoder(torch.randn(2, 7, 8)).shape == (2, 3, 5, 5)


def test_grid_must_fit(run, tmp_path):
    with pytest.raises(ValueError, match="`grid`"):
        run(tmp_path / "out", "--grid", 64)
