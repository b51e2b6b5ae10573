import json
import shutil

import pytest
import torch

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training import text_hand_encoder as trainer
from diffusers_handiffuser.training.hand_params_to_image.models import load_initial_weights

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
    shown = {"mse", "mse_of_other_captions", "joint_map_mse", "joint_map_mse_of_other_hands"}
    assert {f"validation_{name}" for name in shown} <= {key for entry in log for key in entry}


def test_text_only_tells_no_hands(run, tmp_path):
    run(tmp_path / "out", "--text_only")
    log = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    shown = next(entry for entry in log if "validation_mse" in entry)
    assert shown["validation_joint_map_mse"] == shown["validation_joint_map_mse_of_other_hands"]
    assert shown["validation_mse"] != shown["validation_mse_of_other_captions"]
    trained = TextHandEncoder.from_pretrained(tmp_path / "out/text_encoder")
    torch.manual_seed(0)
    fresh = TextHandEncoder.from_config(trained.config)
    same = {name: torch.equal(value, fresh.state_dict()[name]) for name, value in trained.state_dict().items()}
    assert same["null_embedding.weight"] and not same["text_model.final_layer_norm.weight"]


def test_decoder_shapes():
    decoder = trainer.LayoutDecoder(hidden_size=8, channels=3, grid=5, patch=2, num_layers=1, num_heads=2)
    assert decoder(torch.randn(2, 7, 8)).shape == (2, 3, 10, 10)


def test_joint_maps_peak_at_their_joints():
    joints = torch.full((1, 2, 21, 2), -3.0)
    joints[0, 0, 0] = torch.tensor([-0.75, 0.25])
    joints[0, 0, 8] = torch.tensor([0.75, -0.75])
    joints[0, 1, 20] = torch.tensor([0.25, 0.75])
    maps = trainer.joint_maps(joints, torch.tensor([[True, True]]), 4)
    assert maps.shape == (1, trainer.JOINT_MAPS, 4, 4)
    places = {(0, 2, 0), (2, 0, 3), (6 + 5, 3, 2)}
    assert {tuple(place) for place in (maps[0] > 0.5 * maps.max()).nonzero().tolist()} == places
    one_hand = trainer.joint_maps(joints, torch.tensor([[True, False]]), 4)
    assert torch.equal(one_hand[:, :6], maps[:, :6]) and not one_hand[:, 6:].any()


def test_starts_from_another_encoder(run, tmp_path):
    run(tmp_path / "first")
    run(tmp_path / "second", "--init_from", tmp_path / "first", "--learning_rate", 0)
    first, second = (TextHandEncoder.from_pretrained(tmp_path / name / "text_encoder") for name in ("first", "second"))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("options", [("--grid", 64), ("--patch", 0), ("--grid", 4, "--patch", 64)])
def test_grid_must_fit(run, tmp_path, options):
    with pytest.raises(ValueError, match="`grid` and `patch`"):
        run(tmp_path / "out", *options)
