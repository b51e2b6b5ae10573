"""Models grow: a U-Net for small latents becomes the inside of one for larger latents, an autoencoder gets wider."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D

_REPLACED = ("conv_in", "conv_out", "conv_norm_out")
"""What stands at the U-Net's ends, and learns anew."""


@torch.no_grad()
def grow_unet(unet: UNet2DConditionModel, inner: UNet2DConditionModel) -> None:
    """Puts the weights of `inner` into the inner levels of `unet`, which has more.

    An outer level doubles the latents' side and changes nothing further in: what the inner levels know of captions,
    hands and shapes stays. They see latents averaged over 2 x 2 positions, with a quarter of the noise's variance; so
    let the larger U-Net's noise schedule end noisier (`beta_end` 0.026 in place of 0.02 about makes up for it).
    Residual branches of the new levels start silent. Not of the paper, which starts from Stable Diffusion.

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


@torch.no_grad()
def widen_autoencoder(vae: AutoencoderKL, narrow: AutoencoderKL, seed: int = 0) -> None:
    """Gives `vae`, which has k times the channels of `narrow` on every level, weights that do the same.

    Every channel becomes k equal ones, and what reads it takes a part of each (Net2WiderNet, arXiv 1511.05641). In the
    encoder, which may be meant to stay as it is, these parts are equal, which for k = 2 is exact in any precision; in
    the decoder they are unequal, so that equal channels learn different things.

    Raises a `ValueError` if the channels of `vae` are no such multiple, or anything else of it differs.

    Args:
        vae (`AutoencoderKL`): changed in place.
        narrow (`AutoencoderKL`): with as many groups in its norms.
        seed (`int`): of the unequal parts.
    """
    config, before = (
        {name: value for name, value in model.config.items() if not name.startswith("_")} for model in (vae, narrow)
    )
    widths, narrow_widths = config.pop("block_out_channels"), before.pop("block_out_channels")
    times = max(widths) // max(narrow_widths)
    if times < 1 or config != before or [times * width for width in narrow_widths] != list(widths):
        raise ValueError(
            f"`vae_config`: an autoencoder of block_out_channels {list(narrow_widths)} can become one of as many "
            f"levels with a multiple of these channels, and nothing else of it can change; got {list(widths)}"
        )
    generator = torch.Generator().manual_seed(seed)
    for name, value in narrow.state_dict().items():
        place = vae.get_parameter(name)
        if place.shape[0] != value.shape[0]:
            value = value.repeat_interleave(times, 0)
        if value.ndim > 1 and place.shape[1] != value.shape[1]:
            parts = torch.ones(value.shape[1], times)
            if name.startswith("decoder."):
                parts += 0.5 * torch.rand(parts.shape, generator=generator)
            parts = (parts / parts.sum(1, keepdim=True)).flatten().to(value)
            value = value.repeat_interleave(times, 1) * parts.view(1, -1, *[1] * (value.ndim - 2))
        if ".to_q." in name:  # attention divides products of k times the channels by the square root of k alone
            value = value / times**0.5
        place.copy_(value)
