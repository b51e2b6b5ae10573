r"""Trains an image autoencoder (diffusers' `AutoencoderKL`) for a small model.

    python -m diffusers_handiffuser.training.vae --train_data_dir DATA --output_dir OUT --use_ema \
        --max_train_minutes 90

`OUT/vae` is the result. Its latents have mean 0 and standard deviation 1 in every channel over the training images
(the statistics are folded into the 1 x 1 convolutions on either side of the latent), so that `scaling_factor` is 1.
Stable Diffusion comes with a VAE of its own; the paper trains none.

By default the latents are held near the image itself, averaged over the pixels of each position
(`--pooled_latents_weight`): red, green, blue and brightness. The decoder learns to sharpen it. Free latents hold more
of an image, but the KL term scales their fine grain up to the size of everything else, and a small diffusion model
then spends its capacity on that grain. `handiffuser evaluate --own-pictures --through-vae` measures how well hands
survive a VAE, before a U-Net is trained on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL

from ...pipelines.images import vae_factor
from ..engine.option_parser import OptionParser
from ..engine.options import DROPPED, DataOptions, TrainingOptions
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, count_training_rows, start_run
from ..engine.sources import cache_folder, open_rows
from ..engine.weights import save_model
from .data import CropDataset, CropOptions, check_latent_size
from .latents import latent_statistics, normalize_latents
from .model import AutoencoderOptions, ResidualSchedule, load_or_create_vae
from .objective import PYRAMID_LEVELS, AutoencoderLossOptions, AutoencoderObjective, pooled_statistics
from .validation import ReconstructionValidation


@dataclass
class AutoencoderTrainingOptions(TrainingOptions):
    """Train an image autoencoder (AutoencoderKL) on the images of a data set."""

    data: DataOptions
    autoencoder: AutoencoderOptions
    images: CropOptions
    loss: AutoencoderLossOptions

    def __post_init__(self) -> None:
        if self.images.decoder_latents is not None and not self.autoencoder.train_decoder_only:
            raise ValueError("--decoder_latents needs --train_decoder_only: the encoder learns nothing from them")


def make_parser() -> OptionParser:
    return OptionParser(
        AutoencoderTrainingOptions,
        defaults={
            "learning_rate": 1e-3,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 200,
            "adam_beta2": 0.99,
            "adam_weight_decay": 1e-4,
            "train_batch_size": 8,
            "ema_decay": 0.999,
            "checkpointing_steps": 1000,
            "checkpoints_total_limit": 2,
            "validation_steps": 1000,
        },
        dropped={**DROPPED, "pyramid_levels": PYRAMID_LEVELS, "detail_weight": 1.0},
        prog="python -m diffusers_handiffuser.training.vae",
    )


def parse_args(argv: Sequence[str] | None = None) -> AutoencoderTrainingOptions:
    return make_parser().parse(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_args(argv)
    accelerator = start_run(options)
    dataset = open_rows(options.data, need_images=True)
    num_train = count_training_rows(len(dataset), options.data.num_validation_rows)
    with accelerator.main_process_first():
        images = dataset.images(options.images.resolution, cache_folder(options.data, options.run.output_dir))

    torch.manual_seed(options.run.seed)
    vae = load_or_create_vae(options.autoencoder, options.images.resolution)
    if options.autoencoder.trunk_steps and accelerator.num_processes > 1:
        raise ValueError("`trunk_steps` needs a single process: the others would wait for gradients that do not come")
    check_latent_size(options.images, vae, pooled=options.loss.pooled_latents_weight != 0)
    crops = CropDataset(images[:num_train], options.images, vae, accelerator.device)
    statistics = pooled_statistics(images[:num_train][:1024], vae_factor(vae))
    objective = AutoencoderObjective(vae, options.loss, *statistics)
    run = TrainingRun(options, accelerator, objective, {"vae": vae}, len(crops))
    residual_schedule = ResidualSchedule(vae, options.autoencoder.trunk_steps)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        residual_schedule(run.step)
        batch, latents = crops.batch(rows, random)
        return run.objective(batch, random.normal(*crops.latent_shape), latents)

    run.train(compute_loss, ReconstructionValidation(run, images[num_train:]))
    residual_schedule.finish()
    with run.whole_objective() as whole:
        if whole is not None:
            save_vae(run, whole.vae.eval(), None if options.autoencoder.train_decoder_only else images[:num_train])
    run.close()


def save_vae(run: TrainingRun, vae: AutoencoderKL, images: np.ndarray | None) -> None:
    """Writes the VAE, with latents that are standardised over `images` if there are any."""
    if images is not None:
        mean, std = latent_statistics(vae, images[:4096], run.device)
        normalize_latents(vae, mean, std)
        vae.register_to_config(scaling_factor=1.0)
        run.log({"latent_std_before": [round(value, 3) for value in std.tolist()]})
    save_model(vae, run.output_dir / "vae")
    run.log({"saved": str(run.output_dir / "vae")})
