"""What small calls of pipelines are made with."""

import numpy as np
import PIL.Image
import torch
from diffusers import ControlNetModel


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_image(seed: int = 0, height: int = 16, width: int = 16) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_controlnet(unet, seed: int) -> ControlNetModel:
    """A ControlNet that has something to say: a fresh one ends in convolutions of zeros."""
    torch.manual_seed(seed)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    for block in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
        torch.nn.init.normal_(block.weight, std=0.3)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.3)
    return controlnet.eval()
