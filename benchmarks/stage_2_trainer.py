"""Images per second of stage 2's trainer, against the usual way to fine-tune Stable Diffusion.

    python benchmarks/stage_2_trainer.py                                              # a minute on a CPU
    python benchmarks/stage_2_trainer.py --sd stable-diffusion-v1-5/stable-diffusion-v1-5 --resolution 512 \\
        --batch_size 16 --mixed_precision bf16 --num_workers 8 --steps 60             # on a GPU

The usual loop is what diffusers' `train_text_to_image.py` computes, written anew here: images decoded and resized by
a DataLoader, the VAE and the frozen CLIP in the loop, the U-Net trained. Ours trains the Text+Hand encoder along and
attends to 165 states instead of 77, which costs; from the caches it runs neither VAE nor body model, which saves. All
three run in this process, one after the other, on the same U-Net, images, batch and precision. On a CPU the seconds
are those that this process computed, so that other work on the machine does not count.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.studio import make_dataset
from diffusers_handiffuser.training.engine import run as training_run
from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image
from diffusers_handiffuser.training.tokenizer import train_tokenizer

clock = time.perf_counter if torch.cuda.is_available() else time.process_time
training_run.time = SimpleNamespace(monotonic=clock)  # by which our trainer computes the rate in its log


class Images(torch.utils.data.Dataset):
    """Pixels in [-1, 1] and token numbers, as the usual loop's DataLoader makes them."""

    def __init__(self, folder: Path, resolution: int, tokenizer: CLIPTokenizer):
        self.rows, self.resolution = HandDataset(folder, need_images=True), resolution
        self.input_ids = tokenizer(
            self.rows.texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = self.rows.load_image(number, self.resolution)
        if torch.rand(()) < 0.5:
            pixels = pixels[:, ::-1]
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 127.5 - 1
        return image, self.input_ids[number]


def usual_loop(args: argparse.Namespace, sd: Path | str, data: Path) -> float:
    """Images per second over the second half of the steps."""
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(args.mixed_precision, torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(sd, subfolder="tokenizer")
    noise_scheduler = DDPMScheduler.from_pretrained(sd, subfolder="scheduler")
    vae = AutoencoderKL.from_pretrained(sd, subfolder="vae").requires_grad_(False)
    text_encoder = CLIPTextModel.from_pretrained(sd, subfolder="text_encoder", dtype=torch.float32)
    text_encoder.requires_grad_(False)
    unet = UNet2DConditionModel.from_pretrained(sd, subfolder="unet").train()
    if args.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5, weight_decay=1e-2)
    loader = torch.utils.data.DataLoader(
        Images(data, args.resolution, tokenizer),
        shuffle=True,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        drop_last=True,
        persistent_workers=args.num_workers > 0,
    )
    schedule = get_scheduler("constant", optimizer)
    unet, optimizer, loader, schedule = accelerator.prepare(unet, optimizer, loader, schedule)
    vae.to(accelerator.device, dtype)
    text_encoder.to(accelerator.device, dtype)

    step, start = 0, 0.0
    while step < args.steps:
        for images, input_ids in loader:
            if step == args.steps // 2:
                synchronize(accelerator.device)
                start = clock()
            with accelerator.accumulate(unet):
                latents = vae.encode(images.to(dtype)).latent_dist.sample() * vae.config.scaling_factor
                noise = torch.randn_like(latents)
                timesteps = torch.randint(1000, (len(latents),), device=latents.device)
                noisy = noise_scheduler.add_noise(latents, noise, timesteps)
                states = text_encoder(input_ids).last_hidden_state
                prediction = unet(noisy, timesteps, states).sample
                loss = torch.nn.functional.mse_loss(prediction.float(), noise.float())
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(unet.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            loss.detach().item()  # gathered for the log in every step
            step += 1
            if step == args.steps:
                break
    synchronize(accelerator.device)
    seconds = clock() - start
    AcceleratorState._reset_state(reset_partial_state=True)
    return (args.steps - args.steps // 2) * args.batch_size / seconds


def our_loop(args: argparse.Namespace, sd: Path | str, data: Path, output_dir: Path, *options: str) -> float:
    """The same of our trainer, from its log."""
    fixed = {
        "--pretrained_model_name_or_path": sd,
        "--train_data_dir": data,
        "--output_dir": output_dir,
        "--resolution": args.resolution,
        "--train_batch_size": args.batch_size,
        "--max_train_steps": args.steps,
        "--logging_steps": args.steps // 2,
        "--checkpointing_steps": 10**9,
        "--num_validation_rows": 0,
        "--lr_scheduler": "constant",
        "--learning_rate": 1e-5,
        "--mixed_precision": args.mixed_precision,
        "--dataloader_num_workers": args.num_workers,
    }
    flags = ["--random_flip", *(["--gradient_checkpointing"] if args.gradient_checkpointing else [])]
    hand_params_to_image.main([str(part) for pair in fixed.items() for part in pair] + [*flags, *options])
    AcceleratorState._reset_state(reset_partial_state=True)
    lines = [json.loads(line) for line in (output_dir / "log.jsonl").read_text().splitlines()]
    return [line["samples_per_second"] for line in lines if "samples_per_second" in line][-1]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def small_stable_diffusion(folder: Path, captions: list[str]) -> Path:
    """Stable Diffusion's architecture with a tenth of its channels and random weights."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(captions, num_merges=500)
    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 32, 64, 64),
            layers_per_block=2,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **text, **ends)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=16, block_out_channels=(32, 64, 128, 128), cross_attention_dim=64, norm_num_groups=8
        ),
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd", help="Stable Diffusion 1.x: folder or Hub id (default: a tenth of it, random weights)")
    parser.add_argument("--data", type=Path, help="folder of a data set with images (default: drawn by the studio)")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10, help="of each loop; the second half is timed")
    parser.add_argument("--mixed_precision", choices=("no", "fp16", "bf16"), default="no")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--num_workers", type=int, default=0, help="processes or threads that decode images")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.data is None:
            make_dataset(work / "data", num=max(16, args.batch_size), size=args.resolution, progress=False)
        data = args.data or work / "data"
        sd = args.sd or small_stable_diffusion(work / "sd", HandDataset(data).texts)
        rates = {
            "train_text_to_image.py's computation": usual_loop(args, sd, data),
            "ours, VAE and body model in the loop": our_loop(args, sd, data, work / "live", "--no_cache"),
            "ours, from the caches": our_loop(args, sd, data, work / "cached"),
        }
    usual = next(iter(rates.values()))
    print(f"\n{args.resolution} pixels, batch {args.batch_size}, precision {args.mixed_precision}, "
          f"{'CUDA' if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'}")  # fmt: skip
    for name, rate in rates.items():
        print(f"{name:<38} {rate:8.2f} images/s   x {rate / usual:.2f}")


if __name__ == "__main__":
    main()
