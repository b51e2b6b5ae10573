import json
import shutil
from argparse import Namespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file

from diffusers_handiffuser.training.engine.images import normalize_images
from diffusers_handiffuser.training.vae import trainer
from diffusers_handiffuser.training.vae.latents import latent_statistics
from diffusers_handiffuser.training.vae.model import default_config, init_low_variance_posterior, set_residual_enabled
from diffusers_handiffuser.training.vae.objective import (
    AutoencoderLossOptions,
    AutoencoderObjective,
    pooled_latents,
    pooled_statistics,
)
from diffusers_handiffuser.training.vae.validation import to_pixels

CONFIG = """{"block_out_channels": [8, 8], "norm_num_groups": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"""


def run(data_dir, output_dir, *options):
    fixed = {
        "--train_data_dir": data_dir,
        "--output_dir": output_dir,
        "--resolution": 16,
        "--vae_config": CONFIG,
        "--train_batch_size": 4,
        "--num_validation_rows": 4,
        "--max_train_steps": 4,
        "--checkpointing_steps": 2,
    }
    flat = [str(part) for pair in fixed.items() for part in pair]
    trainer.main([*flat, "--use_ema", "--random_flip", *map(str, options)])


def test_trains_resumes_and_saves_a_normalised_vae(data_dir, tmp_path, same_tree):
    run(data_dir, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
    run(data_dir, tmp_path / "killed", "--resume_from_checkpoint", "latest")
    same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")

    vae = AutoencoderKL.from_pretrained(tmp_path / "whole/vae")
    assert vae.config.scaling_factor == 1.0
    assert "_name_or_path" not in json.loads((tmp_path / "whole/vae/config.json").read_text())
    images = np.stack([np.asarray(Image.open(data_dir / f"images/{number}.png")) for number in range(10)])
    mean, std = latent_statistics(vae, images, "cpu")
    assert mean.abs().max() < 1e-3 and (std - 1).abs().max() < 1e-3

    averaged = AutoencoderKL.from_pretrained(tmp_path / "whole/checkpoint-4/vae_ema")
    batch = normalize_images(images)
    with torch.no_grad():
        ours, theirs = (m.decode(m.encode(batch).latent_dist.mean).sample for m in (vae, averaged))
    assert torch.allclose(ours, theirs, atol=1e-4)
    grid = Image.open(tmp_path / "whole/samples/0000004-reconstructions.png")
    assert grid.size == (4 * 16, 2 * 16)


def test_trains_on_crops(data_dir, tmp_path):
    run(data_dir, tmp_path / "out", "--random_crop", 8, "--max_train_steps", 2)
    assert Image.open(tmp_path / "out/samples/0000002-reconstructions.png").size == (4 * 16, 2 * 16)
    with pytest.raises(ValueError, match="`random_crop` must be divisible"):
        run(data_dir, tmp_path / "odd", "--random_crop", 6)


def test_mixed_precision_and_gradient_checkpointing(data_dir, tmp_path):
    run(data_dir, tmp_path / "out", "--mixed_precision", "bf16", "--gradient_checkpointing",
        "--gradient_accumulation_steps", 2, "--max_train_steps", 2)  # fmt: skip
    assert next(AutoencoderKL.from_pretrained(tmp_path / "out/vae").parameters()).dtype == torch.float32


def test_pixels_round_trip():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    assert np.array_equal(to_pixels(normalize_images(pixels)), pixels)


def test_resolution_must_fit(data_dir, tmp_path):
    with pytest.raises(ValueError, match="`resolution` must be divisible"):
        run(data_dir, tmp_path / "out", "--resolution", 18)
    with pytest.raises(ValueError, match="--num_validation_rows 14 leaves none"):
        run(data_dir, tmp_path / "out", "--num_validation_rows", 14)


def test_decoder_alone_leaves_the_latents_as_they_are(data_dir, tmp_path):
    run(data_dir, tmp_path / "first", "--max_train_steps", 2)
    start = tmp_path / "first/vae"
    run(data_dir, tmp_path / "second", "--init_from", start, "--train_decoder_only", "--learning_rate", 0.01)
    before, after = (AutoencoderKL.from_pretrained(path).state_dict() for path in (start, tmp_path / "second/vae"))
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    with pytest.raises(SystemExit):
        run(data_dir, tmp_path / "third", "--train_decoder_only")


@pytest.mark.slow
def test_decoder_learns_from_given_latents(data_dir, tmp_path):
    """Here average colours, of which this encoder knows nothing."""
    run(data_dir, tmp_path / "first", "--max_train_steps", 2)
    before = AutoencoderKL.from_pretrained(tmp_path / "first/vae")
    images = np.stack([np.asarray(Image.open(data_dir / f"images/{number}.png")) for number in range(6)])
    batch = normalize_images(images)
    latents = pooled_latents(batch, 2)
    given = tmp_path / "latents.safetensors"
    save_file({"latents": latents.half()}, given)
    decoder_alone = ("--init_from", tmp_path / "first/vae", "--train_decoder_only")
    run(data_dir, tmp_path / "second", *decoder_alone, "--decoder_latents", given, "--random_crop", 8,
        "--max_train_steps", 60, "--learning_rate", 0.02, "--lr_warmup_steps", 0)  # fmt: skip
    after = AutoencoderKL.from_pretrained(tmp_path / "second/vae")
    with torch.no_grad():
        encoded, unchanged = (vae.encode(batch).latent_dist.mean for vae in (after, before))
        assert torch.equal(encoded, unchanged)
        of_given, of_encoded = ((after.decode(z).sample - batch).abs().mean() for z in (latents, encoded))
        assert of_given < 0.95 * of_encoded, (of_given, of_encoded)
    logged = [json.loads(line) for line in (tmp_path / "second/log.jsonl").read_text().splitlines()]
    assert any("validation_psnr" in line for line in logged)

    with pytest.raises(SystemExit):
        run(data_dir, tmp_path / "third", "--decoder_latents", given)
    for name in ("none", "log.jsonl"):
        with pytest.raises(ValueError, match="`decoder_latents`: .* is no safetensors file"):
            run(data_dir, tmp_path / "third", *decoder_alone, "--decoder_latents", tmp_path / "second" / name)
    for tensors in ({"latents": latents[:, :2]}, {"latents": latents[:0]}, {"other": latents}):
        save_file({name: value.contiguous() for name, value in tensors.items()}, given)
        with pytest.raises(ValueError, match=r"`decoder_latents` must hold `latents` of shape \(N, 4, 8, 8\), but"):
            run(data_dir, tmp_path / "third", *decoder_alone, "--decoder_latents", given)


def test_residual_branches_join_after_the_trunk(data_dir, tmp_path):
    run(data_dir, tmp_path / "trunk", "--trunk_steps", 2, "--max_train_steps", 2)
    run(data_dir, tmp_path / "both", "--trunk_steps", 2)

    def branch_weight(folder):
        vae = AutoencoderKL.from_pretrained(tmp_path / folder / "vae")
        return vae.decoder.up_blocks[0].resnets[0].conv2.weight.detach().abs().max().item()

    assert branch_weight("trunk") == 0 < branch_weight("both")
    vae = AutoencoderKL.from_pretrained(tmp_path / "both/vae")
    batch = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        whole = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        set_residual_enabled(vae, False)
        trunk = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        set_residual_enabled(vae, True)
        again = vae.decode(vae.encode(batch).latent_dist.mode()).sample
    assert torch.equal(whole, again) and not torch.allclose(whole, trunk)


def test_starts_with_a_low_variance_posterior():
    vae = AutoencoderKL.from_config({**default_config(32), **json.loads(CONFIG)})
    with torch.no_grad():
        init_low_variance_posterior(vae)
        std = vae.encode(torch.randn(2, 3, 16, 16)).latent_dist.std
    assert torch.allclose(std, torch.full_like(std, 0.0821), atol=1e-4)


def test_pooled_latents_are_colours_and_brightness():
    images = torch.zeros(1, 3, 4, 8)
    images[:, :, :, 4:6] = -0.5
    images[:, 1, :, 6:] = 1
    images[:, 0] += 0.25
    red, green, blue, brightness = pooled_latents(images, 4)[0]
    assert torch.allclose(red, torch.tensor([[0.25, 0.0]])) and torch.allclose(green, torch.tensor([[0.0, 0.25]]))
    assert torch.allclose(blue, torch.tensor([[0.0, -0.25]]))
    assert torch.allclose(brightness, torch.tensor([[0.299 * 0.25, (0.587 - 0.114) * 0.25]]))


@pytest.mark.slow
def test_latents_stay_near_what_is_pooled(data_dir, tmp_path):
    run(data_dir, tmp_path / "out", "--max_train_steps", 150, "--checkpointing_steps", 150, "--learning_rate", 0.01,
        "--pooled_latents_weight", 5, "--lr_warmup_steps", 1)  # fmt: skip
    vae = AutoencoderKL.from_pretrained(tmp_path / "out/vae")
    images = np.stack([np.asarray(Image.open(data_dir / f"images/{number}.png")) for number in range(10)])
    mean, std = pooled_statistics(images, 2)
    batch = normalize_images(images)
    wanted = (pooled_latents(batch, 2) - mean) / std
    with torch.no_grad():
        latents = vae.encode(batch).latent_dist.mean
    for channel in range(4):
        pair = torch.stack([latents[:, channel].flatten(), wanted[:, channel].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9, channel


def test_dropped_options_take_their_default_alone(data_dir, tmp_path, capsys):
    run(data_dir, tmp_path / "out", "--pyramid_levels", 3, "--detail_weight", 1, "--max_train_steps", 1)
    with pytest.raises(SystemExit):
        run(data_dir, tmp_path / "other", "--pyramid_levels", 2)
    assert "--pyramid_levels was dropped: it is always 3" in capsys.readouterr().err


def test_free_latents_have_any_number_of_channels(data_dir, tmp_path):
    free = CONFIG.replace('"latent_channels": 4', '"latent_channels": 5')
    run(data_dir, tmp_path / "out", "--vae_config", free, "--pooled_latents_weight", 0)
    assert AutoencoderKL.from_pretrained(tmp_path / "out/vae").config.latent_channels == 5
    with pytest.raises(ValueError, match="`pooled_latents_weight` needs 4 latent channels"):
        run(data_dir, tmp_path / "other", "--vae_config", free)


def test_decoder_gets_noise_besides_the_posteriors():
    vae = AutoencoderKL.from_config({**default_config(16), **json.loads(CONFIG)})
    with torch.no_grad():
        init_low_variance_posterior(vae)
    decoded = []
    vae.decode = lambda latents: decoded.append(latents) or Namespace(sample=torch.zeros(1, 3, 16, 16))
    images, noise = torch.zeros(1, 3, 16, 16), torch.ones(1, 4, 8, 8)
    for latent_noise in (0.0, 0.3):
        AutoencoderObjective(vae, AutoencoderLossOptions(latent_noise=latent_noise))(images, noise)
    std = [(latents - vae.encode(images).latent_dist.mean).detach() for latents in decoded]
    assert torch.allclose(std[0], torch.full_like(std[0], 0.0821), atol=1e-4)
    assert torch.allclose(std[1], torch.full_like(std[1], (0.0821**2 + 0.09) ** 0.5), atol=1e-4)
