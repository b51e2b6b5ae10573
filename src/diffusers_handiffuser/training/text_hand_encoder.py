"""Prepares a Text+Hand encoder for stage 2 where there is no CLIP to start from.

    python -m diffusers_handiffuser.training.text_hand_encoder --pretrained_vae_model_name_or_path VAE/vae \\
        --tokenizer_name TOKENIZER --train_data_dir DATA --output_dir OUT --resolution 128 --max_train_minutes 10

A small decoder, thrown away afterwards, predicts the picture's latents, averaged over a coarse grid, from the
encoder's states of caption and hands; both are trained on the squared error. It is stage 2's task at its noisiest step
without the noise and without the U-Net. The log tells the error on held-out rows, and what it would be with the
captions of other rows. The paper starts from Stable Diffusion's CLIP and needs none of this. Give the result to
stage 2 as `--init_from OUT`.
"""

import argparse

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from ..command_line import run_as_command
from ..models import TextHandEncoder
from .dataset import HandDataset
from .hand_params_to_image import load_body_model, load_training_rows, load_vae, new_text_encoder
from .options import add_data_options, add_training_options, check_training_options, json_option
from .run import TrainingRun, save_model, start_run


class LayoutDecoder(ModelMixin, ConfigMixin):
    """From states of text and hands to coarse latents: one learned query per cell of a grid.

    Args:
        hidden_size (`int`): width of the states.
        channels (`int`): of the latents.
        grid (`int`): cells per side.
        num_layers, num_heads (`int`): of the decoder.
    """

    @register_to_config
    def __init__(self, hidden_size: int, channels: int = 4, grid: int = 8, num_layers: int = 2, num_heads: int = 4):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(grid * grid, hidden_size) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                hidden_size, num_heads, 4 * hidden_size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.out = nn.Linear(hidden_size, channels)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, N, D) to latents (B, C, grid, grid)."""
        cells = self.queries.expand(len(states), -1, -1)
        for layer in self.layers:
            cells = layer(cells, states)
        side = self.config.grid
        return self.out(self.norm(cells)).transpose(1, 2).unflatten(-1, (side, side))


class LayoutObjective(nn.Module):
    """The coarse latents that encoder and decoder predict for tokens and hands."""

    def __init__(self, text_encoder: TextHandEncoder, decoder: LayoutDecoder):
        super().__init__()
        self.text_encoder, self.decoder = text_encoder, decoder

    def forward(self, input_ids: torch.Tensor, **hands: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.text_encoder(input_ids, **hands).last_hidden_state)


def parse_args(argv=None) -> argparse.Namespace:
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
    group.add_argument("--grid", type=int, default=8, help="cells per side that the latents are averaged to")
    group.add_argument("--random_flip", action="store_true", help="also train on mirrored rows")
    group.add_argument("--encode_batch_size", type=int, default=16)
    group.add_argument("--cache_on_device", action="store_true")
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    dataset = HandDataset(args.train_data_dir, args.max_train_samples, need_images=True)
    num_train = len(dataset) - args.num_validation_rows
    if num_train < 1:
        raise ValueError(f"`num_validation_rows` ({args.num_validation_rows}) leaves none of {len(dataset)} rows")
    torch.manual_seed(args.seed)
    vae = load_vae(args.pretrained_vae_model_name_or_path)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer_name)
    text_encoder = new_text_encoder(args.text_encoder_config, tokenizer)
    if not 1 <= args.grid <= args.resolution // 2 ** (len(vae.config.block_out_channels) - 1):
        raise ValueError(f"`grid` must be at least 1 and at most the latents' side, but is {args.grid}")
    decoder = LayoutDecoder(text_encoder.config.hidden_size, vae.config.latent_channels, args.grid)

    body_model = load_body_model(args.body_model)
    data = load_training_rows(args, dataset, vae, body_model, text_encoder, tokenizer, accelerator.device)

    objective = LayoutObjective(text_encoder, decoder)
    run = TrainingRun(
        args, accelerator, objective, {"text_encoder": text_encoder, "layout_decoder": decoder}, num_train
    )

    def error_of(batch, input_ids):
        target = functional.adaptive_avg_pool2d(batch["latents"], args.grid)
        hands = {name: value for name, value in batch.items() if name.startswith("hand_")}
        return (run.objective(input_ids, **hands).float() - target).square().mean()

    def compute_loss(rows, random):
        batch = data.batch(rows, random.uniform() < 0.5 if args.random_flip else None)
        return {"loss": error_of(batch, batch["input_ids"])}

    def validate():
        held_out = np.arange(num_train, len(dataset))
        if not len(held_out):
            return {}
        batch = data.batch(held_out)
        own, others = error_of(batch, batch["input_ids"]), error_of(batch, batch["input_ids"].roll(1, 0))
        return {"mse": own.item(), "mse_of_other_captions": others.item()}

    run.train(compute_loss, validate)
    if run.accelerator.is_main_process:
        with run.ema_weights():
            save_model(text_encoder, run.output_dir / "text_encoder")
        run.log({"saved": "text_encoder"})


if __name__ == "__main__":
    run_as_command(main)
