import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder
from diffusers_handiffuser.data.dataset import HandDataset
from diffusers_handiffuser.training.hand_params_to_image import trainer
from diffusers_handiffuser.training.hand_params_to_image.conditions import drop_conditions
from diffusers_handiffuser.training.hand_params_to_image.rows import CachedDataset, cache_geometry, cache_latents

SMALL = {
    "--unet_config": """{"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 2,
        "attention_head_dim": 2, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}""",
    "--text_encoder_config": """{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_basis_points": 16, "hand_hidden_size": 16}""",
    "--resolution": 16,
    "--train_batch_size": 4,
    "--num_validation_rows": 4,
    "--max_train_steps": 4,
    "--checkpointing_steps": 2,
    "--default_num_inference_steps": 2,
}


def run(data_dir, output_dir, *options):
    flat = [part for pair in SMALL.items() for part in pair]
    trainer.main([str(o) for o in ("--train_data_dir", data_dir, "--output_dir", output_dir, *flat, *options)])


@pytest.fixture
def from_nothing(vae_dir, tokenizer_dir):
    return ("--pretrained_vae_model_name_or_path", vae_dir, "--tokenizer_name", tokenizer_dir)


def test_trains_resumes_and_writes_a_pipeline(data_dir, from_nothing, tmp_path, same_tree):
    options = (*from_nothing, "--use_ema", "--random_flip", "--text_only_steps", 0.3, "--joint_jitter", 0.02,
               "--prediction_type", "v_prediction", "--rescale_betas_zero_snr", "--snr_gamma", 5,
               "--joint_loss_weight", 0.1, "--palm_loss_weight", 0.1)  # fmt: skip
    run(data_dir, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")
    assert UNet2DConditionModel.from_pretrained(tmp_path / "whole/checkpoint-4/unet").config.cross_attention_dim == 16
    assert (tmp_path / "whole/checkpoint-4/joint_finder").is_dir() and not (tmp_path / "whole/joint_finder").exists()
    assert Image.open(tmp_path / "whole/samples/0000004-held-out.png").size == (4 * 16, 3 * 16)

    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "whole").glob("*/*.json"))
    pipe = HanDiffuserPipeline.from_pretrained(tmp_path / "whole")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    card = (tmp_path / "whole/README.md").read_text()
    assert "training.hand_params_to_image --train_data_dir data --output_dir whole " in card
    assert "trained from nothing" in card and str(tmp_path) not in card
    averaged = TextHandEncoder.from_pretrained(tmp_path / "whole/checkpoint-4/text_encoder_ema")
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, pipe.text_encoder.state_dict()[name]), name
    hands = HandDataset(data_dir).hand_params[:2]
    images = pipe(["a fist", "a hand"], hand_params=hands, output_type="np").images
    assert images.shape == (2, 16, 16, 3)


def test_stage_1_folder_makes_a_whole_pipeline(data_dir, from_nothing, hand_components, tmp_path):
    stage_1 = tmp_path / "stage_1"
    for name in ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params"):
        hand_components[name].save_pretrained(stage_1 / name)
    scheduler = {"prediction_type": "sample", "clip_sample": False, "beta_schedule": "squaredcos_cap_v2"}
    DDPMScheduler(**scheduler).save_pretrained(stage_1 / "text_to_hand_scheduler")
    run(data_dir, tmp_path / "out", *from_nothing, "--text_to_hand_params_dir", stage_1,
        "--default_num_hand_inference_steps", 2, "--validation_prompts", "a fist")  # fmt: skip
    assert (tmp_path / "out/samples/0000004-prompts.png").is_file()
    pipe = HanDiffuserPipeline.from_pretrained(tmp_path / "out")
    pipe.set_progress_bar_config(disable=True)
    assert len(pipe("two hands", output_type="np").hand_params) == 1


def test_starts_from_stable_diffusion(data_dir, picture_components, clip_text_model, tmp_path):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.001, steps_offset=1, clip_sample=False)
    StableDiffusionPipeline(
        **picture_components,
        text_encoder=clip_text_model,
        scheduler=scheduler,
        safety_checker=None,
        requires_safety_checker=False,
    ).save_pretrained(tmp_path / "sd")
    run(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", tmp_path / "sd", "--learning_rate", 0,
        "--text_encoder_config", '{"num_basis_points": 16, "hand_hidden_size": 16}')  # fmt: skip
    pipe = HanDiffuserPipeline.from_pretrained(tmp_path / "out")
    assert pipe.scheduler.config.beta_start == 0.001
    for name, value in picture_components["unet"].state_dict().items():
        assert torch.equal(value, pipe.unet.state_dict()[name]), name
    # The result can be trained further.
    run(data_dir, tmp_path / "again", "--pretrained_model_name_or_path", tmp_path / "out", "--max_train_steps", 1)


def test_init_from_takes_the_averaged_weights(data_dir, from_nothing, tmp_path):
    run(data_dir, tmp_path / "first", *from_nothing, "--use_ema", "--ema_decay", 0.5)
    run(data_dir, tmp_path / "second", *from_nothing, "--init_from", tmp_path / "first/checkpoint-4",
        "--learning_rate", 0, "--max_train_steps", 1)  # fmt: skip
    ours = UNet2DConditionModel.from_pretrained(tmp_path / "second/unet").state_dict()
    theirs = UNet2DConditionModel.from_pretrained(tmp_path / "first/checkpoint-4/unet_ema").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_palms_are_asked_where_joints_are_found(data_dir, from_nothing, tmp_path, capsys):
    for weight, wanted in ((0.1, "--palm_loss_weight needs --joint_loss_weight"), (-1, "must not be negative")):
        with pytest.raises(SystemExit):
            run(data_dir, tmp_path / "out", *from_nothing, "--palm_loss_weight", weight)
        assert wanted in capsys.readouterr().err


def test_timesteps_are_weighed_one_way(data_dir, from_nothing, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(data_dir, tmp_path / "out", *from_nothing, "--balance_timesteps", "--snr_gamma", 5)
    assert "--balance_timesteps and --snr_gamma both weigh the timesteps" in capsys.readouterr().err


def test_balance_of_timesteps_is_resumed(data_dir, from_nothing, tmp_path, same_tree):
    options = (*from_nothing, "--balance_timesteps")
    run(data_dir, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")
    balance = torch.load(tmp_path / "killed/checkpoint-4/custom_checkpoint_0.pkl", weights_only=True)
    assert balance["sums"][1].sum() > 0


def test_mixed_precision_and_gradient_checkpointing(data_dir, from_nothing, tmp_path):
    run(data_dir, tmp_path / "out", *from_nothing, "--mixed_precision", "bf16", "--gradient_checkpointing",
        "--gradient_accumulation_steps", 2, "--max_train_steps", 2, "--cache_on_device",
        "--joint_loss_weight", 0.1)  # fmt: skip
    assert UNet2DConditionModel.from_pretrained(tmp_path / "out/unet").dtype == torch.float32


def test_caches_hold_what_the_models_say_and_are_found_again(data_dir, picture_components, hand_components, tmp_path):
    dataset = HandDataset(data_dir, need_images=True)
    vae, encoder = picture_components["vae"], hand_components["text_encoder"]
    body_model, accelerator = HandBodyModel.procedural(), Accelerator(cpu=True)
    latents = cache_latents(dataset, vae, 16, True, tmp_path, 4, accelerator)
    geometry = cache_geometry(dataset, body_model, encoder, True, tmp_path, accelerator)
    assert latents.shape == (2, len(dataset), 4, 8, 8)

    pixels = torch.from_numpy(np.array(dataset.load_image(3, 16))).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        for number, image in enumerate((pixels, pixels.flip(-1))):
            wanted = vae.encode(image).latent_dist.mode()[0] * vae.config.scaling_factor
            assert torch.allclose(torch.from_numpy(latents[number, 3].copy()).float(), wanted, atol=2e-3)
    rows = dataset.hand_params[3:5].mirror()
    prepared = encoder.prepare_hands(body_model(rows), rows.hand_visible)
    for name, array in geometry.items():
        found = torch.from_numpy(array[1, 3:5].copy())
        assert torch.allclose(found.float(), prepared[name].float(), atol=1e-3), name
    # Mirrored joints are the others' in a mirror, left and right exchanged.
    joints = torch.from_numpy(geometry["hand_joints_2d"].copy())
    assert torch.allclose(joints[1], joints[0].flip(1) * torch.tensor([-1.0, 1.0]), atol=2e-2)

    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    cache_latents(dataset, vae, 16, True, tmp_path, 4, accelerator)
    cache_geometry(dataset, body_model, encoder, True, tmp_path, accelerator)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    cache_latents(dataset, vae, 16, False, tmp_path, 4, accelerator)
    assert len(list(tmp_path.glob("latents-*.npy"))) == 2


@pytest.mark.parametrize("on_device", [False, True])
def test_batches_gather_rows_and_mirrored_rows(on_device):
    arrays = {
        "latents": np.arange(12, dtype=np.float16).reshape(2, 3, 2),
        "hand_visible": np.arange(12).reshape(2, 3, 2) % 3 == 0,
    }
    ids = torch.arange(6).reshape(2, 3, 1)
    data = CachedDataset(arrays, ids, "cpu", on_device)
    batch = data.batch(np.array([2, 0]), torch.tensor([True, False]))
    assert batch["input_ids"].flatten().tolist() == [5, 0]
    assert batch["latents"].tolist() == [[10.0, 11.0], [0.0, 1.0]] and batch["latents"].dtype == torch.float32
    assert batch["hand_visible"].tolist() == [[False, False], [True, False]]


def test_dropped_conditions():
    batch = {
        "input_ids": torch.ones(3, 2, dtype=torch.long),
        "hand_visible": torch.ones(3, 2, dtype=torch.bool),
        "latents": torch.ones(3),
    }
    chance = torch.tensor([0.05, 0.12, 0.5])
    dropped = drop_conditions(batch, chance, torch.zeros(1, 2, dtype=torch.long), 0.1, 0.05)
    assert dropped["input_ids"].tolist() == [[0, 0], [1, 1], [1, 1]]
    assert dropped["hand_visible"].tolist() == [[False, False], [False, False], [True, True]]
    assert batch["hand_visible"].all() and torch.equal(dropped["latents"], batch["latents"])


def test_options_that_cannot_work_are_refused(data_dir, from_nothing, tmp_path, capsys):
    for options in (
        (),
        (*from_nothing, "--validation_prompts", "a fist"),
        (*from_nothing, "--inference_scheduler", "NoSuchScheduler"),
        (*from_nothing, "--hand_dropout", 2),
    ):
        with pytest.raises(SystemExit):
            run(data_dir, tmp_path / "out", *options)
    with pytest.raises(ValueError, match="`rescale_betas_zero_snr` needs --prediction_type v_prediction"):
        run(data_dir, tmp_path / "out", *from_nothing, "--rescale_betas_zero_snr")
    capsys.readouterr()


def test_resolution_that_the_vae_cannot_halve_is_refused(data_dir, from_nothing, tmp_path):
    with pytest.raises(ValueError, match="`resolution` must be divisible by [0-9]+, but is 17"):
        run(data_dir, tmp_path, *from_nothing, "--resolution", 17)
