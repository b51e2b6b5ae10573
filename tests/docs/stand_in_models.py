"""Tiny models in a cache of the Hub, under the ids that the recipes load."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_pipelines import (
    CHANNELS,
    controlnet,
    controlnet_union,
    flux,
    flux_controlnet,
    qwen_image,
    qwen_image_controlnet,
    qwen_tokenizer,
    stable_diffusion,
    stable_diffusion_xl,
    z_image,
    z_image_controlnet,
)
from transformers import CLIPTokenizer

REVISION = "0" * 40
Z_IMAGE_CONTROLNET = "Z-Image-Turbo-Fun-Controlnet-Union-2.1-2602-8steps.safetensors"


def put(cache: Path, repository: str, save: Callable[[Path], object]) -> None:
    """Saves to the folder that huggingface_hub looks into, offline, for a repository."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    save(snapshot)


def save_z_image_controlnet(snapshot: Path) -> None:
    save_file(z_image_controlnet().state_dict(), snapshot / Z_IMAGE_CONTROLNET)


def fill(cache: Path, clip_tokenizer: CLIPTokenizer) -> None:
    """Puts every repository that the recipes name into an empty cache."""
    torch.manual_seed(0)
    qwen = qwen_tokenizer(cache / "qwen tokenizer")
    repositories: dict[str, Callable[[], object]] = {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": lambda: stable_diffusion(clip_tokenizer),
        "stable-diffusion-v1-5/stable-diffusion-inpainting": lambda: stable_diffusion(
            clip_tokenizer, 2 * CHANNELS + 1
        ),
        "lllyasviel/control_v11p_sd15_openpose": lambda: controlnet(False),
        "lllyasviel/control_v11f1p_sd15_depth": lambda: controlnet(False),
        "gxkok/control_sd15_depth_hand": lambda: controlnet(False),
        "stabilityai/stable-diffusion-xl-base-1.0": lambda: stable_diffusion_xl(clip_tokenizer),
        "xinsir/controlnet-openpose-sdxl-1.0": lambda: controlnet(True),
        "diffusers/controlnet-depth-sdxl-1.0": lambda: controlnet(True),
        "xinsir/controlnet-union-sdxl-1.0": controlnet_union,
        "black-forest-labs/FLUX.1-dev": lambda: flux(clip_tokenizer),
        "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0": flux_controlnet,
        "Qwen/Qwen-Image": lambda: qwen_image(qwen),
        "InstantX/Qwen-Image-ControlNet-Union": qwen_image_controlnet,
        "Tongyi-MAI/Z-Image-Turbo": lambda: z_image(qwen),
        "hlky/Z-Image-Turbo-Fun-Controlnet-Union-2.1": z_image_controlnet,
    }
    for repository, make in repositories.items():
        put(cache, repository, make().save_pretrained)
    put(cache, "alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union-2.1", save_z_image_controlnet)
