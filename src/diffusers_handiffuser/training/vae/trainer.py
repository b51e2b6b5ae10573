"""Trains a picture autoencoder (diffusers' `AutoencoderKL`) for a small model.

    python -m diffusers_handiffuser.training.vae --train_data_dir DATA --output_dir OUT --use_ema \\
        --max_train_minutes 90

`OUT/vae` is the result. Its latents have mean 0 and standard deviation 1 in every channel over the training pictures
(the statistics are folded into the 1 x 1 convolutions on either side of the latent), so that `scaling_factor` is 1.
Stable Diffusion itself uses the VAE it comes with; the paper trains none.

By default the latents are held near the picture itself, averaged over the pixels of each position
(`--pooled_latents_weight`): red, green, blue and brightness. The decoder learns to sharpen it. Free latents hold more
of a picture, but the KL term brings their fine grain up to the size of everything else, and a small diffusion model
then spends its effort on that grain. What a VAE leaves of hands, `handiffuser evaluate --own-pictures --through-vae`
tells before a U-Net is trained on it.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL

from ..engine.images import normalize_images
from ..engine.options import add_data_options, add_training_options, check_training_options, json_option
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, count_training_rows, start_run
from ..engine.sources import cache_folder, open_rows
from ..engine.tracking import image_grid
from ..engine.weights import save_model
from .latents import (
    latent_statistics,
    normalize_latents,
    quiet_posterior,
    read_decoder_latents,
    silence_residual_branches,
    use_residual_branches,
)
from .objective import POOLED_CHANNELS, AutoencoderObjective, pooled_statistics


def default_config(resolution: int) -> dict:
    """2 pixels a side to one latent position and 4 latent channels; few channels elsewhere, for the CPU's sake.

    Stable Diffusion takes 8 pixels to one position. In pictures of 128 pixels fingers are 6 to 8 wide: of studio
    pictures averaged over 4 pixels a side a hand detector finds two thirds of the hands it finds in the whole ones,
    over 2 pixels nearly all.
    """
    levels = 2
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [16, 32],
        "layers_per_block": 1,
        "latent_channels": POOLED_CHANNELS,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
        "act_fn": "silu",
        "sample_size": resolution,
        "scaling_factor": 1.0,
        "force_upcast": False,
    }


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.vae",
        description="Train a picture autoencoder (AutoencoderKL) on the pictures of a data set.",
    )
    add_data_options(parser)
    add_training_options(
        parser,
        learning_rate=1e-3,
        lr_scheduler="cosine",
        lr_warmup_steps=200,
        adam_beta2=0.99,
        adam_weight_decay=1e-4,
        train_batch_size=8,
        ema_decay=0.999,
        checkpointing_steps=1000,
        checkpoints_total_limit=2,
        validation_steps=1000,
    )
    group = parser.add_argument_group("autoencoder")
    group.add_argument("--resolution", type=int, default=128, help="pictures are resized to this many pixels a side")
    group.add_argument("--vae_config", type=json_option, default={}, help="JSON: changes to the default configuration")
    group.add_argument("--init_from", help="folder of an AutoencoderKL to start from (its weights and configuration)")
    group.add_argument("--random_flip", action="store_true", help="show half of the pictures mirrored")
    group.add_argument(
        "--train_decoder_only",
        action="store_true",
        help="with --init_from: leave the latents as they are, so that a U-Net trained on them stays right",
    )
    group.add_argument(
        "--random_crop", type=int, help="train on random squares of this many pixels: more pictures for the same work"
    )
    group.add_argument(
        "--trunk_steps", type=int, default=0, help="steps, from the first, that leave out the residual branches"
    )
    group.add_argument(
        "--kl_weight", type=float, default=1e-4, help="weight of the mean KL divergence per latent value"
    )
    group.add_argument(
        "--pooled_latents_weight",
        type=float,
        default=0.5,
        help="weight of the mean squared distance of the latents from each position's average colour and brightness; "
        "0 leaves them free",
    )
    group.add_argument(
        "--latent_noise",
        type=float,
        default=0.0,
        help="standard deviation of noise on the latents that the decoder gets: those of a small diffusion model are "
        "noisy, and a decoder that has seen noise smooths it",
    )
    group.add_argument(
        "--decoder_latents",
        help="with --train_decoder_only: safetensors file with `latents` (N, C, h, w) of the first N pictures, as a "
        "diffusion model makes them; the decoder learns from these pairs alone, and not from the encoder's latents",
    )
    group.add_argument("--detail_weight", type=float, default=1.0, help="weight of the L1 of the Laplacian pyramid")
    group.add_argument("--pyramid_levels", type=int, default=3)
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.train_decoder_only and args.init_from is None:
        parser.error("--train_decoder_only needs --init_from")
    if args.decoder_latents is not None and not args.train_decoder_only:
        parser.error("--decoder_latents needs --train_decoder_only: the encoder learns nothing from them")
    if not args.latent_noise >= 0:
        parser.error(f"--latent_noise must not be negative, but is {args.latent_noise}")
    return args


def crop(pictures: torch.Tensor, corners: torch.Tensor, side: int) -> torch.Tensor:
    """Of each picture (B, C, H, W) the square whose upper left corner is at row and column `corners` (B, 2)."""
    places = zip(pictures, corners.tolist(), strict=True)
    return torch.stack([picture[:, y : y + side, x : x + side] for picture, (y, x) in places])


def to_pixels(pictures: torch.Tensor) -> np.ndarray:
    """float (B, 3, H, W) in [-1, 1] to uint8 (B, H, W, 3)."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    dataset = open_rows(args, need_images=True)
    num_train = count_training_rows(len(dataset), args.num_validation_rows)
    with accelerator.main_process_first():
        pictures = dataset.images(args.resolution, cache_folder(args, args.output_dir))

    torch.manual_seed(args.seed)
    if args.init_from is not None:
        vae = AutoencoderKL.from_pretrained(args.init_from)
    else:
        vae = AutoencoderKL.from_config({**default_config(args.resolution), **args.vae_config})
        silence_residual_branches(vae)
    if vae.quant_conv is None or vae.post_quant_conv is None:
        raise ValueError("`vae_config` must leave `use_quant_conv` and `use_post_quant_conv` on")
    if args.init_from is None:
        with torch.no_grad():
            quiet_posterior(vae)
    if args.train_decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    if args.trunk_steps and accelerator.num_processes > 1:
        raise ValueError("`trunk_steps` needs a single process: the others would wait for gradients that do not come")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    side = args.random_crop or args.resolution
    if side % factor or side % 2**args.pyramid_levels or side > args.resolution:
        name = "random_crop" if args.random_crop else "resolution"
        raise ValueError(
            f"`{name}` must be divisible by {factor} and 2^pyramid_levels, and a crop no larger than `resolution`, "
            f"but is {side}"
        )
    latent_shape = (vae.config.latent_channels, side // factor, side // factor)
    if args.pooled_latents_weight and vae.config.latent_channels != POOLED_CHANNELS:
        raise ValueError(
            f"`pooled_latents_weight` needs {POOLED_CHANNELS} latent channels, the colours and the brightness, but "
            f"the VAE has {vae.config.latent_channels}; set it to 0, or `latent_channels` in `vae_config` to "
            f"{POOLED_CHANNELS}"
        )
    averages = pooled_statistics(pictures[:num_train][:1024], factor)
    decoder_latents, num_rows = None, num_train
    if args.decoder_latents is not None:
        whole_side = args.resolution // factor
        decoder_latents = read_decoder_latents(
            args.decoder_latents, num_train, (latent_shape[0], whole_side, whole_side)
        )
        num_rows = len(decoder_latents)
    weights = (args.kl_weight, args.detail_weight, args.pyramid_levels, args.pooled_latents_weight)
    objective = AutoencoderObjective(vae, *weights, *averages, args.latent_noise)
    run = TrainingRun(args, accelerator, objective, {"vae": vae}, num_rows)

    branches = True

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        nonlocal branches
        if branches != (run.step >= args.trunk_steps):
            branches = not branches
            use_residual_branches(vae, branches)
        batch = normalize_images(pictures[rows], run.device)
        latents = None if decoder_latents is None else decoder_latents[rows].to(run.device).float()
        corners = random.integers(args.resolution - side + 1, 2)
        if latents is not None:
            corners = corners // factor * factor
            latents = crop(latents, corners // factor, side // factor)
        batch = crop(batch, corners, side)
        if args.random_flip:
            flipped = (random.uniform() < 0.5).view(-1, 1, 1, 1)
            batch = torch.where(flipped, batch.flip(-1), batch)
            latents = None if latents is None else torch.where(flipped, latents.flip(-1), latents)
        return run.objective(batch, random.normal(*latent_shape), latents)

    def validate(objective: AutoencoderObjective) -> dict[str, float]:
        vae = objective.vae
        held_out = pictures[num_train:]
        batches = [
            to_pixels(
                vae.decode(vae.encode(normalize_images(held_out[i : i + 8], run.device)).latent_dist.mean).sample
            )
            for i in range(0, len(held_out), 8)
        ]
        if not batches:
            return {}
        decoded = np.concatenate(batches)
        errors = np.square(decoded.astype(np.float32) - held_out).mean((1, 2, 3))
        run.show("reconstructions", image_grid([held_out[:12], decoded[:12]]))
        return {"psnr": float(np.mean(10 * np.log10(255.0**2 / np.maximum(errors, 1e-3))))}

    run.train(compute_loss, validate)
    use_residual_branches(vae, True)

    with run.whole_objective() as whole:
        if whole is not None:
            vae = whole.vae.eval()
            if not args.train_decoder_only:
                mean, std = latent_statistics(vae, pictures[:num_train][:4096], run.device)
                normalize_latents(vae, mean, std)
                vae.register_to_config(scaling_factor=1.0)
                run.log({"latent_std_before": [round(value, 3) for value in std.tolist()]})
            save_model(vae, run.output_dir / "vae")
            run.log({"saved": str(run.output_dir / "vae")})
    run.close()
