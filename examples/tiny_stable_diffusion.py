"""A stand-in for Stable Diffusion 1.5 with the same parts, very small and with random weights.

The numbered examples start from it unless `--sd` names a real checkpoint, so that they run anywhere in a minute. The
resulting pipelines draw noise: they only show that every step works.
"""

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from diffusers_handiffuser.studio import describe, sample_scene
from diffusers_handiffuser.training.tokenizer import train_tokenizer


def tiny_stable_diffusion(folder: Path) -> Path:
    """Writes the pipeline into a folder, unless it exists, and returns the folder."""
    if (folder / "model_index.json").is_file():
        return folder
    torch.manual_seed(0)
    captions = [describe(sample_scene(0, "train", number), random.Random(number)) for number in range(500)]
    tokenizer = train_tokenizer(captions, num_merges=300)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **text, **ends)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        ),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder
