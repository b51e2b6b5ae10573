"""What stage 2 can start from besides a folder: a single file, a Hub id. Both give the folder's weights."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from stage_2 import train

from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.training.engine.small_models import new_text_encoder
from diffusers_handiffuser.training.text_to_hand_params import trainer as text_to_hand_params

HUB_TESTS = Path(__file__).parents[2] / "hub"
sys.path.append(str(HUB_TESTS))

from ldm_checkpoint import ldm_state_dict  # noqa: E402

_spec = importlib.util.spec_from_file_location("hub_fixtures", HUB_TESTS / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
hub = _fixtures.hub

NO_CHANGE = ("--learning_rate", 0, "--max_train_steps", 1)


@pytest.fixture
def trained_from_folder(data_dir, sd_dir, tmp_path):
    train(data_dir, tmp_path / "from folder", "--pretrained_model_name_or_path", sd_dir, *NO_CHANGE)
    return tmp_path / "from folder"


def same_weights(first, second) -> bool:
    ours, theirs = (HanDiffuserPipeline.from_pretrained(folder) for folder in (first, second))
    for name in ("unet", "vae"):
        state = getattr(theirs, name).state_dict()
        if not all(torch.equal(value, state[key]) for key, value in getattr(ours, name).state_dict().items()):
            return False
    state = theirs.text_encoder.text_model.state_dict()
    return all(torch.equal(value, state[key]) for key, value in ours.text_encoder.text_model.state_dict().items())


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_single_file(data_dir, sd_dir, trained_from_folder, tmp_path, suffix):
    state, path = ldm_state_dict(StableDiffusionPipeline.from_pretrained(sd_dir)), tmp_path / f"model.{suffix}"
    if suffix == "ckpt":
        torch.save({"state_dict": state}, path)
    else:
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    for weights in sd_dir.rglob("*.safetensors"):
        weights.unlink()  # what is left are configs
    options = ("--pretrained_model_name_or_path", path, "--single_file_config", sd_dir, *NO_CHANGE)
    train(data_dir, tmp_path / "out", *options)
    assert same_weights(tmp_path / "out", trained_from_folder)
    assert f"The checkpoint file `model.{suffix}`." in (tmp_path / "out/README.md").read_text()


def test_hub_id(data_dir, sd_dir, trained_from_folder, tmp_path, hub):
    hub.put_folder("someone/sd", sd_dir)
    train(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", "someone/sd", *NO_CHANGE)
    assert same_weights(tmp_path / "out", trained_from_folder)
    assert "base_model: someone/sd" in (tmp_path / "out/README.md").read_text()


def test_both_stages_from_the_hub_and_back(data_dir, sd_dir, tmp_path, hub):
    """Stage 1 is pushed, stage 2 takes it from there and is pushed, and the whole is loaded by its name."""
    hub.put_folder("someone/sd", sd_dir)
    text_to_hand_params.main(
        ["--pretrained_model_name_or_path", "someone/sd", "--train_data_dir", str(data_dir), "--output_dir",
         str(tmp_path / "stage 1"), "--max_train_steps", "2", "--train_batch_size", "2", "--logging_steps", "1",
         "--num_validation_rows", "2", "--num_hand_inference_steps", "2", "--push_to_hub", "--hub_model_id",
         "someone/hands", "--hub_token", "hf_secret", "--hub_private_repo",
         "--model_config", '{"hidden_size": 16, "num_layers": 1, "num_attention_heads": 2}']
    )  # fmt: skip
    assert hub.repositories["someone/hands"].private
    train(data_dir, tmp_path / "stage 2", "--pretrained_model_name_or_path", "someone/sd", "--text_to_hand_params_dir",
          "someone/hands", "--validation_prompts", "a fist", "--default_num_hand_inference_steps", 2,
          "--push_to_hub", "--hub_model_id", "someone/handiffuser", "--hub_token=hf_secret")  # fmt: skip
    for name in ("hands", "handiffuser"):
        files = hub.files(f"someone/{name}")
        card = files["README.md"].decode()
        assert f"# someone/{name}\n" in card and "base_model: someone/sd" in card and "hf_secret" not in card
        assert "## Training run" in card and "loss_curve.png" in files and "samples.png" in files
        assert not any(path.startswith(("checkpoint-", "samples/", "logs/", ".cache")) for path in files)
        assert "log.jsonl" not in files and hub.message(f"someone/{name}") == "End of training"
    pipe = HanDiffuserPipeline.from_pretrained("someone/handiffuser")
    pipe.set_progress_bar_config(disable=True)
    assert len(pipe("a fist", output_type="np").hand_params) == 1


def test_a_hub_that_refuses_is_told_before_training(data_dir, sd_dir, tmp_path, hub):
    hub.fail_once("POST", "/api/repos/create")
    with pytest.raises(OSError, match="`push_to_hub`: cannot make the repository 'someone/mine'"):
        train(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", sd_dir, "--push_to_hub",
              "--hub_model_id", "someone/mine")  # fmt: skip
    assert not (tmp_path / "out/checkpoint-2").exists()


def test_fp16_variant_is_trained_in_float32(data_dir, sd_dir, tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(sd_dir, torch_dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    train(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", tmp_path / "half", "--variant", "fp16",
          *NO_CHANGE)  # fmt: skip
    assert UNet2DConditionModel.from_pretrained(tmp_path / "out/unet").dtype == torch.float32


def test_new_text_encoders_have_tables_that_layers_do_not_drown(tokenizer):
    config = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_basis_points": 8}
    torch.manual_seed(0)
    encoder = new_text_encoder(config, tokenizer)
    tables = [encoder.text_model.embeddings.token_embedding, encoder.joint_embeddings.bin_embedding]
    assert all(0.3 < table.weight.std() < 0.5 for table in tables)
    assert encoder.null_embedding.weight.std() < 0.05
