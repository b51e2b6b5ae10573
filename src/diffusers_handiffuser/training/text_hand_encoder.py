"""Prepares a Text+Hand encoder for stage 2 where there is no CLIP to start from.

    python -m diffusers_handiffuser.training.text_hand_encoder --pretrained_vae_model_name_or_path VAE/vae \\
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --max_train_minutes 10

A small decoder, thrown away afterwards, predicts two things on a coarse grid from the encoder's states of caption and
hands; all are trained on the squared errors. The first is the picture's latents: stage 2's task at its noisiest step,
without the noise and without the U-Net. The second is where wrists and fingers are. The latents alone do not teach
that: a hand is brighter than one background and darker than the next, so that on average its place says nothing of a
pixel's colour. The log tells the errors on held-out rows, and what they would be with the captions, or the hands, of
other rows. The paper starts from Stable Diffusion's CLIP and needs none of this. Give the result to stage 2 as
`--init_from OUT`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from ..hands.body_model import load_body_model
from ..models import TextHandEncoder
from ..utils.command_line import run_as_command
from ..utils.typing import register_to_config
from .engine.options import add_data_options, add_training_options, check_training_options, json_option
from .engine.randomness import BatchRandom
from .engine.run import TrainingRun, count_training_rows, start_run
from .engine.small_models import load_vae, new_text_encoder
from .engine.sources import open_rows
from .engine.weights import save_model
from .hand_params_to_image.models import load_initial_weights
from .hand_params_to_image.rows import load_cached_rows

JOINT_MAPS = 12
"""Of each hand, right first: the wrist and the five fingers."""
_FINGER_OF_JOINT = torch.tensor([0, *(finger for finger in range(1, 6) for _ in range(4))])
_MAP_WIDTH = 0.08
_MAP_SCALE = 12.0


def joint_maps(joints_2d: torch.Tensor, hand_visible: torch.Tensor, size: int) -> torch.Tensor:
    """Where wrists and fingers are: `exp(-d² / 2w²)` of the distance d to the nearest joint, w = 0.08, times 12.

    The factor brings the variance over studio pictures to about one, the latents' scale.

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
    fingers = [bumps[:, :, _FINGER_OF_JOINT == finger].amax(2) for finger in range(6)]
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


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.text_hand_encoder",
        description="Prepare a Text+Hand encoder for stage 2 by predicting coarse pictures from captions and hands.",
    )
    add_data_options(parser)
    add_training_options(parser, learning_rate=1e-3, lr_scheduler="cosine", lr_warmup_steps=100, adam_beta2=0.99)
    group = parser.add_argument_group("encoder")
    group.add_argument("--pretrained_vae_model_name_or_path", required=True, help="the VAE of stage 2")
    group.add_argument("--tokenizer_name", required=True, help="the tokenizer of stage 2: its folder")
    group.add_argument(
        "--text_encoder_config", type=json_option, default={}, help="as for stage 2: changes to the small encoder"
    )
    group.add_argument("--body_model", help="SMPL-H file (default: the body that ships with the package)")
    group.add_argument("--resolution", type=int, default=128, help="pictures are resized to this many pixels a side")
    group.add_argument("--grid", type=int, default=8, help="cells per side, a query of the decoder for each")
    group.add_argument("--patch", type=int, default=2, help="points per side of a cell; maps have grid x patch a side")
    group.add_argument(
        "--joint_map_weight", type=float, default=1.5, help="of the error of the joint maps; that of the latents has 1"
    )
    group.add_argument(
        "--text_only", action="store_true", help="tell it captions alone: for a model that will be told hands later"
    )
    group.add_argument("--init_from", help="take the encoder's weights (only) of text_encoder/ in this folder")
    group.add_argument("--random_flip", action="store_true", help="also train on mirrored rows")
    group.add_argument("--encode_batch_size", type=int, default=16)
    group.add_argument("--cache_on_device", action="store_true")
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    dataset = open_rows(args, need_images=True)
    num_train = count_training_rows(len(dataset), args.num_validation_rows)
    torch.manual_seed(args.seed)
    vae = load_vae(args.pretrained_vae_model_name_or_path)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer_name)
    text_encoder = new_text_encoder(args.text_encoder_config, tokenizer)
    if args.init_from is not None:
        load_initial_weights(Path(args.init_from), {"text_encoder": text_encoder})
    side = args.grid * args.patch
    latents_side = args.resolution // 2 ** (len(vae.config.block_out_channels) - 1)
    if min(args.grid, args.patch) < 1 or side > latents_side:
        raise ValueError(
            f"`grid` and `patch` must be at least 1 and their product at most {latents_side}, the latents' side, "
            f"but are {args.grid} and {args.patch}"
        )
    channels = vae.config.latent_channels
    decoder = LayoutDecoder(text_encoder.config.hidden_size, channels + JOINT_MAPS, args.grid, args.patch)

    body_model = load_body_model(args.body_model)
    data = load_cached_rows(args, dataset, vae, tokenizer, text_encoder, body_model, accelerator)

    objective = LayoutObjective(text_encoder, decoder)
    run = TrainingRun(
        args, accelerator, objective, {"text_encoder": text_encoder, "layout_decoder": decoder}, num_train
    )

    def errors_of(
        objective: nn.Module, batch: dict[str, torch.Tensor], other_captions: bool = False, other_hands: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors of latents and of joint maps; the predictions may be made for another row of the batch."""
        latents = functional.adaptive_avg_pool2d(batch["latents"], side)
        maps = joint_maps(batch["hand_joints_2d"], batch["hand_visible"], side)
        told = () if args.text_only else [name for name in batch if name.startswith("hand_")]
        hands = {name: batch[name].roll(int(other_hands), 0) for name in told}
        predicted = objective(batch["input_ids"].roll(int(other_captions), 0), **hands).float()
        errors = (predicted - torch.cat([latents, maps], 1)).square()
        return errors[:, :channels].mean(), errors[:, channels:].mean()

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        batch = data.batch(rows, random.uniform() < 0.5 if args.random_flip else None)
        latents, maps = errors_of(run.objective, batch)
        return {"loss": latents + args.joint_map_weight * maps, "mse": latents, "joint_map_mse": maps}

    def validate(objective: nn.Module) -> dict[str, float]:
        held_out = np.arange(num_train, len(dataset))
        if not len(held_out):
            return {}
        batch = data.batch(held_out)
        latents, maps = errors_of(objective, batch)
        return {
            "mse": latents.item(),
            "mse_of_other_captions": errors_of(objective, batch, other_captions=True)[0].item(),
            "joint_map_mse": maps.item(),
            "joint_map_mse_of_other_hands": errors_of(objective, batch, other_hands=True)[1].item(),
        }

    run.train(compute_loss, validate)
    with run.whole_objective() as whole:
        if whole is not None:
            save_model(whole.text_encoder, run.output_dir / "text_encoder")
            run.log({"saved": "text_encoder"})
    run.close()


if __name__ == "__main__":
    run_as_command(main)
