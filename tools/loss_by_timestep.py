"""What a pipeline's second stage gets wrong at every tenth of the timesteps, and how much each moves the U-Net.

    python tools/loss_by_timestep.py PIPELINE [PIPELINE ...] --data test --num 96

One line for every tenth, from the cleanest: signal-to-noise ratio in its middle; mean squared error of the U-Net's
prediction, everywhere and near the joints of visible hands; root mean square, over batches, of the length of the
U-Net's gradients under the loss of `--hand_loss_weight 4`. Rows, noise and timesteps are the same for all pipelines,
and captions and hands are the data's own.
"""

import argparse

import numpy as np
import torch
from diffusers import DDPMScheduler

from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.data.dataset import HandDataset, open_dataset
from diffusers_handiffuser.training.engine.images import encode_images, normalize_images
from diffusers_handiffuser.training.engine.randomness import seeded_generator
from diffusers_handiffuser.training.engine.timesteps import prediction_target
from diffusers_handiffuser.training.hand_params_to_image.joint_head import near_hands

HAND_LOSS_WEIGHT = 4


def encode(pipe: HanDiffuserPipeline, dataset: HandDataset, rows: slice) -> tuple[torch.Tensor, ...]:
    """Latents, states of captions and hands, and how near a hand each of the latents' places is."""
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    hands, texts = dataset.hand_params[rows], dataset.texts[rows]
    images = np.stack([dataset.load_image(row, side) for row in range(rows.start, rows.start + len(texts))])
    with torch.no_grad():
        latents = encode_images(pipe.vae, normalize_images(images))
        states, _ = pipe.encode_prompt(texts, "cpu", 1, False, hand_params=hands)
        near = near_hands(pipe.body_model(hands).joints_2d, hands.hand_visible, latents.shape[-1])
    return latents, states, near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders of pipelines with stage 2")
    parser.add_argument("--data", required=True, help="data set with images")
    parser.add_argument("--num", type=int, default=96, help="so many rows, from the first")
    parser.add_argument("--batch_size", type=int, default=16)
    args = parser.parse_args()

    dataset = open_dataset(args.data, max_rows=args.num, need_images=True)
    for model in args.models:
        pipe = HanDiffuserPipeline.from_pretrained(model)
        scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        trained = list(pipe.unet.parameters())
        print(f"{model}\n| timesteps | SNR | error | error near hands | gradient |\n|---|---|---|---|---|")
        tenth = scheduler.config.num_train_timesteps // 10
        starts = range(0, len(dataset), args.batch_size)
        batches = [encode(pipe, dataset, slice(start, start + args.batch_size)) for start in starts]
        for first in range(0, 10 * tenth, tenth):
            everywhere, hands, lengths = [], [], []
            for number, (latents, states, near) in enumerate(batches):
                generator = seeded_generator(0, first, number)
                noise = torch.randn(latents.shape, generator=generator)
                timesteps = torch.randint(first, first + tenth, latents.shape[:1], generator=generator)
                noisy = scheduler.add_noise(latents, noise, timesteps)
                target = prediction_target(scheduler, latents, noise, timesteps)
                errors = (pipe.unet(noisy, timesteps, states).sample - target).square()
                gradients = torch.autograd.grad((errors * (1 + HAND_LOSS_WEIGHT * near)).mean(), trained)
                lengths.append(sum(gradient.square().sum().item() for gradient in gradients))
                errors = errors.detach().mean(1, keepdim=True)
                everywhere += errors.mean((1, 2, 3)).tolist()
                hands += ((errors * near).sum((1, 2, 3)) / near.sum((1, 2, 3)).clamp(min=1e-6)).tolist()
            signal = scheduler.alphas_cumprod[first + tenth // 2].item()
            numbers = (np.mean(everywhere), np.mean(hands), np.mean(lengths) ** 0.5)
            cells = [f"{first}-{first + tenth - 1}", f"{signal / (1 - signal):.2g}", *(f"{n:.4f}" for n in numbers)]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
