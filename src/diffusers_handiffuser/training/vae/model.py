"""The autoencoder: its default size, initial weights and residual branches."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D

from ..engine.option_parser import JsonObject, option
from .objective import POOLED_CHANNELS, quant_convolutions


@dataclass
class AutoencoderOptions:
    """The autoencoder, and which part of it is trained."""

    _argument_group_name: ClassVar[str] = "autoencoder"

    vae_config: JsonObject = option({}, help="JSON: changes to the default configuration")
    init_from: str | None = option(
        None, help="folder of an AutoencoderKL to start from (its weights and configuration)"
    )
    train_decoder_only: bool = option(
        False, help="with --init_from: leave the latents as they are, so that a U-Net trained on them stays right"
    )
    trunk_steps: int = option(0, help="steps, from the first, that leave out the residual branches")

    def __post_init__(self) -> None:
        if self.train_decoder_only and self.init_from is None:
            raise ValueError("--train_decoder_only needs --init_from")


def default_config(resolution: int) -> dict:
    """2 pixels per side of a latent position and 4 latent channels; few channels elsewhere, to train on a CPU.

    Stable Diffusion has 8 pixels per side. In images of 128 pixels fingers are 6 to 8 wide: in studio images averaged
    over 4 pixels per side a hand detector finds two thirds of the hands that it finds in the originals, over 2 pixels
    nearly all.
    """
    levels = 2
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [16, 32],
        "layers_per_block": 1,
        "latent_channels": POOLED_CHANNELS,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
        "act_fn": "silu",
        "sample_size": resolution,
        "scaling_factor": 1.0,
        "force_upcast": False,
    }


def load_or_create_vae(options: AutoencoderOptions, resolution: int) -> AutoencoderKL:
    """The autoencoder to train, with `requires_grad` off where it is not trained.

    Raises a `ValueError` if it has no 1 x 1 convolutions on either side of the latent.
    """
    if options.init_from is not None:
        vae = AutoencoderKL.from_pretrained(options.init_from)
    else:
        vae = AutoencoderKL.from_config({**default_config(resolution), **options.vae_config})
        zero_init_residual(vae)
    if vae.quant_conv is None or vae.post_quant_conv is None:
        raise ValueError("`vae_config` must leave `use_quant_conv` and `use_post_quant_conv` on")
    if options.init_from is None:
        init_low_variance_posterior(vae)
    if options.train_decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    return vae


def zero_init_residual(vae: AutoencoderKL) -> None:
    """Initialises every residual block as the identity, which learns faster than diffusers' initial weights."""
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            for parameter in module.conv2.parameters():
                torch.nn.init.zeros_(parameter)


@torch.no_grad()
def init_low_variance_posterior(vae: AutoencoderKL) -> None:
    """Initialises the posterior with standard deviation e^-2.5, so that its noise does not hide the latents."""
    channels, (moments, _) = vae.config.latent_channels, quant_convolutions(vae)
    torch.nn.init.zeros_(moments.weight[channels:])
    torch.nn.init.constant_(moments.bias[channels:], -5.0)


def set_residual_enabled(vae: AutoencoderKL, enabled: bool) -> None:
    """Enables or disables the residual branches; a disabled block is its shortcut, or the identity.

    The trunk that is left, a chain of a few convolutions, runs several times as fast and learns well at first;
    zero-initialised branches can be enabled later without a jump.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            if enabled:
                module.__dict__.pop("forward", None)
            else:
                shortcut = module.conv_shortcut or torch.nn.Identity()
                module.forward = lambda hidden_states, *_, shortcut=shortcut, **__: shortcut(hidden_states)  # type: ignore[method-assign]


class ResidualSchedule:
    """Disables the residual branches of an autoencoder in the first steps of a run.

    Args:
        vae (`AutoencoderKL`): is trained.
        trunk_steps (`int`): steps without residual branches.
    """

    def __init__(self, vae: AutoencoderKL, trunk_steps: int):
        self.vae, self.trunk_steps, self.enabled = vae, trunk_steps, True

    def __call__(self, step: int) -> None:
        """Prepares the autoencoder for this step."""
        if self.enabled != (step >= self.trunk_steps):
            self.enabled = not self.enabled
            set_residual_enabled(self.vae, self.enabled)

    def finish(self) -> None:
        """Enables the branches."""
        set_residual_enabled(self.vae, True)
