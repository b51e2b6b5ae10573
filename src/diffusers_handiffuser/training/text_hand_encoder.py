r"""Prepares a Text+Hand encoder for stage 2 where there is no CLIP to start from.

    python -m diffusers_handiffuser.training.text_hand_encoder --pretrained_vae_model_name_or_path VAE/vae \
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --max_train_minutes 10

A small decoder, thrown away afterwards, predicts two things on a coarse grid from the encoder's states of caption and
hands; all are trained on the squared errors. The first is the image's latents: stage 2's task at its noisiest step,
without the noise and without the U-Net. The second is heatmaps of wrists and fingers. The latents alone do not teach
positions: a hand is brighter than one background and darker than the next, so on average its position does not predict
a pixel's colour. The log has the errors on held-out rows, and what they are with the captions, or the hands, of other
rows. The paper starts from Stable Diffusion's CLIP and needs none of this. Give the result to stage 2 as
`--init_from OUT`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from ..hands.body_model import load_body_model
from ..models import TextHandEncoder
from ..pipelines.images import vae_factor
from ..utils.command_line import run_as_command
from ..utils.typing import register_to_config
from .engine.option_parser import JsonObject, OptionParser, option
from .engine.options import DROPPED, DataOptions, LatentOptions, TrainingOptions
from .engine.randomness import BatchRandom
from .engine.run import TrainingRun, count_training_rows, start_run
from .engine.small_models import load_vae, new_text_encoder
from .engine.sources import cache_folder, open_rows
from .engine.weights import save_model
from .hand_params_to_image.models import load_initial_weights
from .hand_params_to_image.rows import load_cached_rows

Batch = dict[str, torch.Tensor]

JOINT_MAPS = 12
"""Of each hand, right first: the wrist and the five fingers."""
_FINGER_OF_JOINT = torch.tensor([0, *(finger for finger in range(1, 6) for _ in range(4))])
_MAP_WIDTH = 0.08
_MAP_SCALE = 12.0
_JOINT_MAP_WEIGHT = 1.5


def joint_maps(joints_2d: torch.Tensor, hand_visible: torch.Tensor, size: int) -> torch.Tensor:
    """Heatmaps of wrists and fingers: `exp(-d² / 2w²)` of the distance d to the nearest joint, w = 0.08, times 12.

    The factor brings the variance over studio images to about one, the latents' scale.

    Args:
        joints_2d (`torch.Tensor` of shape `(B, 2, 21, 2)`): in [-1, 1], OpenPose order.
        hand_visible (`torch.Tensor` of shape `(B, 2)`, bool): the maps of other hands are zero.
        size (`int`): cells per side.

    Returns:
        `torch.Tensor` of shape `(B, 12, size, size)`: hands in the order given; wrist, then thumb to little finger.
    """
    centres = (torch.arange(size, device=joints_2d.device) + 0.5) / size * 2 - 1
    along = torch.exp(-((joints_2d[..., None].float() - centres) ** 2) / (2 * _MAP_WIDTH**2))
    bumps = along[..., 1, :, None] * along[..., 0, None, :] * hand_visible[:, :, None, None, None]
    fingers = [bumps[:, :, finger == _FINGER_OF_JOINT].amax(2) for finger in range(6)]
    return _MAP_SCALE * torch.stack(fingers, 2).flatten(1, 2)


class LayoutDecoder(ModelMixin, ConfigMixin):
    """From states of text and hands to coarse maps: one learned query for each cell of a grid.

    Args:
        hidden_size (`int`): width of the states.
        channels (`int`): of the maps.
        grid (`int`): cells per side.
        patch (`int`): points per side of a cell; the maps have `grid * patch` points per side.
        num_layers, num_heads (`int`): of the decoder.
    """

    @register_to_config
    def __init__(
        self,
        hidden_size: int,
        channels: int = 4,
        grid: int = 8,
        patch: int = 1,
        num_layers: int = 2,
        num_heads: int = 4,
    ):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(grid * grid, hidden_size) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                hidden_size, num_heads, 4 * hidden_size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.out = nn.Linear(hidden_size, channels * patch**2)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, N, D) to maps (B, C, grid * patch, grid * patch)."""
        cells = self.queries.expand(len(states), -1, -1)
        for layer in self.layers:
            cells = layer(cells, states)
        side = self.config.grid
        patches = self.out(self.norm(cells)).transpose(1, 2).unflatten(-1, (side, side))
        return functional.pixel_shuffle(patches, self.config.patch)


class LayoutObjective(nn.Module):
    """The coarse latents and joint maps that encoder and decoder predict for tokens and hands."""

    def __init__(self, text_encoder: TextHandEncoder, decoder: LayoutDecoder):
        super().__init__()
        self.text_encoder, self.decoder = text_encoder, decoder

    def forward(self, input_ids: torch.Tensor, **hands: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.text_encoder(input_ids, **hands).last_hidden_state)


@dataclass
class EncoderOptions:
    """What the encoder starts from."""

    _argument_group_name: ClassVar[str] = "encoder"

    pretrained_vae_model_name_or_path: str = option(help="the VAE of stage 2")
    tokenizer_name: str = option(help="the tokenizer of stage 2: its folder")
    text_encoder_config: JsonObject = option({}, help="as for stage 2: changes to the small encoder")
    body_model: str | None = option(None, help="SMPL-H file (default: the body that ships with the package)")
    init_from: str | None = option(None, help="take the encoder's weights (only) of text_encoder/ in this folder")


@dataclass
class LayoutOptions:
    """What the encoder's states are decoded to."""

    _argument_group_name: ClassVar[str] = "layout"

    grid: int = option(8, help="cells per side, a query of the decoder for each")
    patch: int = option(2, help="points per side of a cell; maps have grid x patch a side")
    text_only: bool = option(False, help="encode captions alone: for a model that gets hands later")


@dataclass
class TextHandEncoderTrainingOptions(TrainingOptions):
    """Prepare a Text+Hand encoder for stage 2 by predicting coarse images from captions and hands."""

    data: DataOptions
    encoder: EncoderOptions
    latents: LatentOptions
    layout: LayoutOptions


class LayoutLoss:
    """Squared errors of the coarse latents, and `_JOINT_MAP_WEIGHT` times those of the joint maps.

    Args:
        options (`LayoutOptions`): size of the maps, and what is encoded.
        latent_channels (`int`): of the VAE.
    """

    def __init__(self, options: LayoutOptions, latent_channels: int):
        self.text_only, self.latent_channels = options.text_only, latent_channels
        self.side = options.grid * options.patch

    def __call__(self, objective: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        latents, maps = self.squared_errors(objective, batch)
        return {"loss": latents + _JOINT_MAP_WEIGHT * maps, "mse": latents, "joint_map_mse": maps}

    def squared_errors(
        self, objective: nn.Module, batch: Batch, other_captions: bool = False, other_hands: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Means of latents and of joint maps; optionally conditioned on captions or hands of another row."""
        latents = functional.adaptive_avg_pool2d(batch["latents"], self.side)
        maps = joint_maps(batch["hand_joints_2d"], batch["hand_visible"], self.side)
        hand_names = [] if self.text_only else [name for name in batch if name.startswith("hand_")]
        hands = {name: batch[name].roll(int(other_hands), 0) for name in hand_names}
        predicted = objective(batch["input_ids"].roll(int(other_captions), 0), **hands).float()
        errors = (predicted - torch.cat([latents, maps], 1)).square()
        return errors[:, : self.latent_channels].mean(), errors[:, self.latent_channels :].mean()

    def held_out(self, objective: nn.Module, batch: Batch) -> dict[str, float]:
        """The errors, and what they are with the captions, or the hands, of other rows."""
        latents, maps = self.squared_errors(objective, batch)
        return {
            "mse": latents.item(),
            "mse_of_other_captions": self.squared_errors(objective, batch, other_captions=True)[0].item(),
            "joint_map_mse": maps.item(),
            "joint_map_mse_of_other_hands": self.squared_errors(objective, batch, other_hands=True)[1].item(),
        }


def new_decoder(options: LayoutOptions, resolution: int, vae: AutoencoderKL, hidden_size: int) -> LayoutDecoder:
    """Raises a `ValueError` if the maps would be larger than the latents."""
    side = resolution // vae_factor(vae)
    if min(options.grid, options.patch) < 1 or options.grid * options.patch > side:
        raise ValueError(
            f"`grid` and `patch` must be at least 1 and their product at most {side}, the latents' side, "
            f"but are {options.grid} and {options.patch}"
        )
    return LayoutDecoder(hidden_size, vae.config.latent_channels + JOINT_MAPS, options.grid, options.patch)


def make_parser() -> OptionParser:
    return OptionParser(
        TextHandEncoderTrainingOptions,
        defaults={
            "learning_rate": 1e-3,
            "lr_scheduler": "cosine",
            "lr_warmup_steps": 100,
            "adam_beta2": 0.99,
            "resolution": 128,
        },
        dropped={**DROPPED, "joint_map_weight": _JOINT_MAP_WEIGHT},
        prog="python -m diffusers_handiffuser.training.text_hand_encoder",
    )


def parse_args(argv: Sequence[str] | None = None) -> TextHandEncoderTrainingOptions:
    return make_parser().parse(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_args(argv)
    accelerator = start_run(options)
    dataset = open_rows(options.data, need_images=True)
    num_train = count_training_rows(len(dataset), options.data.num_validation_rows)
    torch.manual_seed(options.run.seed)
    vae = load_vae(options.encoder.pretrained_vae_model_name_or_path)
    tokenizer = CLIPTokenizer.from_pretrained(options.encoder.tokenizer_name)
    text_encoder = new_text_encoder(options.encoder.text_encoder_config, tokenizer)
    if options.encoder.init_from is not None:
        load_initial_weights(Path(options.encoder.init_from), {"text_encoder": text_encoder})
    decoder = new_decoder(options.layout, options.latents.resolution, vae, text_encoder.config.hidden_size)
    body_model = load_body_model(options.encoder.body_model)
    cache_dir, num_workers = cache_folder(options.data, options.run.output_dir), options.data.dataloader_num_workers
    parts = (vae, tokenizer, text_encoder, body_model)
    examples = load_cached_rows(options.latents, cache_dir, num_workers, dataset, *parts, accelerator)

    models = {"text_encoder": text_encoder, "layout_decoder": decoder}
    run = TrainingRun(options, accelerator, LayoutObjective(text_encoder, decoder), models, num_train)
    loss = LayoutLoss(options.layout, vae.config.latent_channels)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if options.latents.random_flip else None
        return loss(run.objective, examples.batch(rows, mirror))

    def validate(objective: nn.Module) -> dict[str, float]:
        held_out = np.arange(num_train, len(dataset))
        return loss.held_out(objective, examples.batch(held_out)) if len(held_out) else {}

    run.train(compute_loss, validate)
    with run.whole_objective() as whole:
        if whole is not None:
            save_model(whole.text_encoder, run.output_dir / "text_encoder")
            run.log({"saved": "text_encoder"})
    run.close()


if __name__ == "__main__":
    run_as_command(main)
