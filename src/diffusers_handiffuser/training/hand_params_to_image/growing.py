"""Initialises a U-Net for larger latents with one that was trained on smaller latents."""

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D

_REPLACED = ("conv_in", "conv_out", "conv_norm_out")
"""Layers at the U-Net's ends, which are trained from scratch."""


@torch.no_grad()
def grow_unet(unet: UNet2DConditionModel, inner: UNet2DConditionModel) -> None:
    """Copies the weights of `inner` into the inner levels of `unet`, which has more levels.

    An outer level doubles the latents' side and leaves the inner levels as they are. These see latents averaged over
    2 x 2 positions, with a quarter of the noise's variance, so the larger U-Net's noise schedule should end noisier
    (`beta_end` 0.026 instead of 0.02 about compensates). Residual branches of the new levels are zero-initialised.
    Not in the paper, which starts from Stable Diffusion.

    Raises a `ValueError` if the inner levels of `unet` are not those of `inner`.

    Args:
        unet (`UNet2DConditionModel`): with fresh weights; changed in place.
        inner (`UNet2DConditionModel`): with fewer levels.
    """
    widths, inner_widths = list(unet.config.block_out_channels), list(inner.config.block_out_channels)
    added = len(widths) - len(inner_widths)
    if added < 1 or widths[added:] != inner_widths or widths[0] != inner_widths[0]:
        raise ValueError(
            f"`init_from`: a U-Net of block_out_channels {inner_widths} cannot become the inside of one of {widths}: "
            f"outer levels of {inner_widths[0]} channels are all that may be added"
        )
    state = unet.state_dict()
    for name, value in inner.state_dict().items():
        first, *others = name.split(".")
        if first in _REPLACED:
            continue
        if first == "down_blocks":
            others[0] = str(int(others[0]) + added)
        place = ".".join([first, *others])
        if place not in state or state[place].shape != value.shape:
            raise ValueError(f"`init_from`: the larger U-Net has no place for {name} of the smaller one")
        state[place].copy_(value)
    for block in (*unet.down_blocks[:added], *unet.up_blocks[-added:]):
        for resnet in block.modules():
            if isinstance(resnet, ResnetBlock2D):
                for parameter in resnet.conv2.parameters():
                    torch.nn.init.zeros_(parameter)
