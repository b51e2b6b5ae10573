"""Draws the images of a data set again with a pipeline, part of the way, and keeps the latents.

    python tools/redraw_latents.py --model PIPELINE --train_data_dir train --num 1500 -o redrawn.safetensors
    python -m diffusers_handiffuser.training.vae --train_decoder_only --init_from VAE --train_data_dir train \
        --decoder_latents redrawn.safetensors --output_dir decoder --max_train_minutes 8

Row i of `latents` (N, C, h, w) is what image-to-image makes of image i with its own caption and hands: where things
are stays as it was, how they are drawn is the pipeline's. A decoder that learns the images from it mends what a
small U-Net leaves undone.
"""

import argparse
import random

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from diffusers_handiffuser import HanDiffuserImg2ImgPipeline
from diffusers_handiffuser.data.dataset import open_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a pipeline with stage 2")
    parser.add_argument("--train_data_dir", required=True)
    parser.add_argument("--num", type=int, required=True, help="so many rows, from the first")
    parser.add_argument("--strength", type=float, nargs=2, default=(0.2, 0.5), help="least and most, drawn by batch")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()

    dataset = open_dataset(args.train_data_dir, max_rows=args.num, need_images=True)
    pipe = HanDiffuserImg2ImgPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    rng, generator = random.Random(args.seed), torch.Generator().manual_seed(args.seed)
    latents = []
    for start in tqdm(range(0, len(dataset), args.batch_size), "redrawing", mininterval=10):
        rows = range(start, min(start + args.batch_size, len(dataset)))
        redrawn = pipe(
            [dataset.texts[row] for row in rows],
            image=np.stack([dataset.load_image(row, side) for row in rows]) / 255.0,
            strength=rng.uniform(*args.strength),
            hand_params=dataset.hand_params[rows.start : rows.stop],
            generator=generator,
            output_type="latent",
        ).images
        latents += (redrawn / pipe.vae.config.scaling_factor).half()  # as the decoder takes them
    save_file({"latents": torch.stack(latents)}, args.output)


if __name__ == "__main__":
    main()
