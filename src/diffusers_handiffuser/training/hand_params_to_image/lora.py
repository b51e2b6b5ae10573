"""LoRA for stage 2: low-rank updates of U-Net and text tower, with the modules that are new trained fully.

The hands' own modules start from nothing, so a low-rank update of them would have nothing to update.
"""

import copy
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from torch import nn

from ...models import TextHandEncoder
from ...utils.atomic_files import atomic_write_dir
from ...utils.messages import install_extra

UNET_TARGETS = ("to_k", "to_q", "to_v", "to_out.0")
"""As in diffusers' `train_text_to_image_lora.py`."""
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""As in diffusers' scripts that train the text encoder's LoRA too."""
HAND_MODULES = ("joint_embeddings", "rotation_mlp", "mesh_mlp", "null_embedding")
"""Of the encoder: hand tokens with their position table, f_theta, f_M and the nulls."""


def add_lora(unet: UNet2DConditionModel, text_encoder: TextHandEncoder, rank: int) -> None:
    """Freezes both models, adds LoRA of this rank to their attention, and leaves the hand modules to be trained.

    Raises a `ValueError` if `peft` is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ValueError(f"`train_method` lora needs peft: {install_extra('train')} ({error})") from error
    for model, targets in ((unet, UNET_TARGETS), (text_encoder, TEXT_TARGETS)):
        model.requires_grad_(False)
        model.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets))
        )
    for name in HAND_MODULES:
        getattr(text_encoder, name).requires_grad_(True)


def cast_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Frozen parameters in another precision: under autocast they are only read."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def save_lora(folder: Path, unet: UNet2DConditionModel, text_encoder: TextHandEncoder) -> None:
    """Writes `pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights(folder)` reads."""
    from peft import get_peft_model_state_dict

    unet_layers, text_layers = (
        {name: value.float() for name, value in get_peft_model_state_dict(model).items()}
        for model in (unet, text_encoder)
    )
    with atomic_write_dir(folder) as temporary:
        StableDiffusionPipeline.save_lora_weights(
            temporary,
            unet_lora_layers=convert_state_dict_to_diffusers(unet_layers),
            text_encoder_lora_layers=convert_state_dict_to_diffusers(text_layers),
        )


def without_lora(text_encoder: TextHandEncoder) -> TextHandEncoder:
    """A copy with the trained hand modules and the text tower as it was before."""
    plain = copy.deepcopy(text_encoder)
    plain.unload_lora()
    return plain
