"""Small models to start from, where there is no Stable Diffusion."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTokenizer

from ...models import TextHandEncoder

SMALL_UNET: dict[str, Any] = {
    "block_out_channels": [32, 64, 160, 224],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": [4, 4, 8, 8],
    "norm_num_groups": 4,
    "resnet_time_scale_shift": "scale_shift",
}
"""U-Net of a small model on 32 x 32 latents; sizes that follow from VAE and encoder are filled in.

The timestep scales the features, not only shifts them as in Stable Diffusion: how much of the noise to pass on depends
on it, and with so few channels a shift alone learns that slowly.
"""


def small_unet(sample_size: int) -> dict[str, Any]:
    """`SMALL_UNET`, with one outer level more each time that the latents double from 32 x 32."""
    added = max(0, (sample_size - 1).bit_length() - 5)
    return {
        **SMALL_UNET,
        "block_out_channels": SMALL_UNET["block_out_channels"][:1] * added + SMALL_UNET["block_out_channels"],
        "down_block_types": ["DownBlock2D"] * added + SMALL_UNET["down_block_types"],
        "up_block_types": SMALL_UNET["up_block_types"] + ["UpBlock2D"] * added,
        "attention_head_dim": SMALL_UNET["attention_head_dim"][:1] * added + SMALL_UNET["attention_head_dim"],
    }


SMALL_TEXT_ENCODER = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hand_hidden_size": 256,
}

TextModel = TypeVar("TextModel", bound=nn.Module)

NEW_NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "steps_offset": 1,
}
"""Stable Diffusion's."""


def load_vae(folder: str) -> AutoencoderKL:
    """The VAE in a folder, or in `vae/` inside it."""
    inside = (Path(folder) / "vae" / "config.json").is_file()
    return AutoencoderKL.from_pretrained(folder, subfolder="vae" if inside else None)


def new_text_encoder(config: dict, tokenizer: CLIPTokenizer) -> TextHandEncoder:
    """A small Text+Hand encoder for a tokenizer, newly initialised; `config` changes the small configuration."""
    return scale_embeddings(
        TextHandEncoder.from_config(
            {
                **SMALL_TEXT_ENCODER,
                **config,
                "vocab_size": len(tokenizer),
                "eos_token_id": tokenizer.eos_token_id,
                "max_position_embeddings": tokenizer.model_max_length,
            }
        )
    )


@torch.no_grad()
def scale_embeddings(text_encoder: TextModel) -> TextModel:
    """Multiplies the embeddings of a new text encoder by 20; CLIP's are initialised at 0.02.

    The layers add states of about 1 to each token, and learn to add more: at 0.02, what an embedding encodes, such as
    a joint's position, is lost in the sum before later layers or the U-Net can read it. The paper starts from a
    trained CLIP.
    """
    for name, module in text_encoder.named_modules():
        if isinstance(module, nn.Embedding) and name != "null_embedding":  # nulls take the place of final states
            module.weight.mul_(20)
    return text_encoder
