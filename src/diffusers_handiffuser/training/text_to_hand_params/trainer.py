"""Trains stage 1: text to the SMPL-H parameters of one person.

With the CLIP text encoder of a Stable Diffusion pipeline, frozen, as in the paper:

    accelerate launch -m diffusers_handiffuser.training.text_to_hand_params --pretrained_model_name_or_path SD \\
        --train_data_dir DATA --output_dir OUT --max_train_steps 200000 --use_ema

From nothing, a small model with a small text encoder that is trained along:

    python -m diffusers_handiffuser.training.text_to_hand_params --tokenizer_name TOKENIZER --train_text_encoder \\
        --model_config '{"hidden_size": 256, "num_layers": 4, "num_attention_heads": 4}' \\
        --train_data_dir DATA --output_dir OUT --max_train_minutes 120 --use_ema

`OUT` is a `HanDiffuserPipeline` that has stage 1 only: `text_to_hand_params/`, `hand_text_encoder/`,
`hand_tokenizer/`, `text_to_hand_scheduler/` and the body. Pictures are not read. The mechanics are MDM's (Tevet et al.
2022): the clean sample is predicted, the text is dropped in a tenth of the rows. See docs/training.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ...hands import HandBodyModel, HandParams
from ...hands.body_model import load_body_model
from ...models import TextToHandParamsModel
from ...models.text_to_hand_params import SAMPLE_SIZE
from ...pipelines import HanDiffuserPipeline
from ..engine.options import (
    add_data_options,
    add_hub_model_options,
    add_hub_options,
    add_training_options,
    check_training_options,
    json_option,
)
from ..engine.publishing import finish_run, open_repository
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, start_run
from ..engine.small_models import with_large_tables
from ..engine.sources import open_rows
from ..engine.timesteps import min_snr_weights
from ..engine.weights import load_model
from .loss import HandParamsObjective, JointLoss, value_weights
from .rows import Batch, open_hand_params
from .validation import compare_hands, draw_samples

SMALL_TEXT_ENCODER = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.text_to_hand_params",
        description="Train stage 1: text to the SMPL-H parameters of one person.",
    )
    add_data_options(parser, streaming=True)
    add_training_options(parser, checkpointing_steps=2000, train_batch_size=64, validation_steps=2000)
    add_hub_options(parser)

    group = parser.add_argument_group("rows")
    group.add_argument("--validation_split", help="hold out the first rows of this split, not the last of the data")
    group.add_argument(
        "--statistics_rows", type=int, default=10_000, help="streaming: mean and deviation are those of the first rows"
    )

    group = parser.add_argument_group("models")
    group.add_argument(
        "--pretrained_model_name_or_path",
        help="folder or Hub id with tokenizer/ and text_encoder/ (CLIP); else the text encoder starts from nothing",
    )
    add_hub_model_options(group)
    group.add_argument("--tokenizer_name", help="another tokenizer: its folder")
    group.add_argument("--train_text_encoder", action="store_true", help="train the text encoder along (else frozen)")
    group.add_argument(
        "--text_encoder_config",
        type=json_option,
        default={},
        help="JSON (or file): changes to the small text encoder's configuration (a transformers CLIPTextConfig)",
    )
    group.add_argument(
        "--model_config", type=json_option, default={}, help="JSON (or file): TextToHandParamsModel's configuration"
    )
    group.add_argument(
        "--init_from",
        help="take the weights (only) from this output or checkpoint folder; of a checkpoint, the averaged",
    )
    group.add_argument("--body_model", help="SMPL-H file for the joint loss (default: the body of the package)")

    group = parser.add_argument_group("diffusion and losses")
    group.add_argument(
        "--random_flip", action="store_true", help="also train on mirrored rows, left and right swapped"
    )
    group.add_argument(
        "--condition_dropout", type=float, default=0.1, help='part of the rows whose caption becomes ""'
    )
    group.add_argument("--num_train_timesteps", type=int, default=1000)
    group.add_argument("--beta_schedule", default="squaredcos_cap_v2")
    group.add_argument("--snr_gamma", type=float, help="min-SNR loss weights (Hang et al. 2023); default: weight 1")
    group.add_argument("--std_floor", type=float, default=0.02, help="smallest deviation that values are divided by")
    group.add_argument(
        "--invisible_hand_weight",
        type=float,
        default=0.1,
        help="weight of finger rotations of a hand that is not visible",
    )
    group.add_argument(
        "--joint_loss_weight",
        type=float,
        default=1.0,
        help="weight of the loss on the visible hands' joints, in the picture and around the wrist",
    )

    group = parser.add_argument_group("validation")
    group.add_argument("--validation_prompts", nargs="+", help="drawn besides the first held-out captions")
    group.add_argument("--num_hand_inference_steps", type=int, default=20, help="in validation; saved as the default")
    group.add_argument("--hand_guidance_scale", type=float, default=2.5, help="in validation; saved as the default")
    return parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser()
    args = parser.parse_args(argv)
    check_training_options(parser, args)
    if args.pretrained_model_name_or_path is None:
        if args.tokenizer_name is None:
            parser.error("without --pretrained_model_name_or_path, --tokenizer_name is needed")
        if not args.train_text_encoder and args.init_from is None:
            parser.error("a text encoder that starts from nothing has to be trained: add --train_text_encoder")
    if not 0 <= args.condition_dropout <= 1:
        parser.error(f"--condition_dropout must lie in [0, 1], but is {args.condition_dropout}")
    if args.statistics_rows < 2:
        parser.error(f"--statistics_rows must be at least 2, but is {args.statistics_rows}")
    if not args.std_floor > 0:
        parser.error(f"--std_floor must be positive, but is {args.std_floor}")
    return args


def load_text_models(args: argparse.Namespace) -> tuple[CLIPTokenizer, CLIPTextModel]:
    base = args.pretrained_model_name_or_path
    if args.tokenizer_name is not None:
        tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer_name)
    else:
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", revision=args.revision)
    if base is not None:
        text_encoder = CLIPTextModel.from_pretrained(
            base, subfolder="text_encoder", revision=args.revision, variant=args.variant
        )
    else:
        values = {
            **SMALL_TEXT_ENCODER,
            **args.text_encoder_config,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": tokenizer.model_max_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        text_encoder = with_large_tables(CLIPTextModel(CLIPTextConfig(**values)))
    return tokenizer, text_encoder.float()


def build_scheduler(args: argparse.Namespace) -> DDIMScheduler:
    """Trailing steps, so that sampling starts from the pure noise that the last training step has seen."""
    return DDIMScheduler(
        num_train_timesteps=args.num_train_timesteps,
        beta_schedule=args.beta_schedule,
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def stage_1_pipeline(
    args: argparse.Namespace,
    model: TextToHandParamsModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    body_model: HandBodyModel,
) -> HanDiffuserPipeline:
    """A pipeline that has stage 1 only."""
    pipeline = HanDiffuserPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        hand_tokenizer=tokenizer,
        hand_text_encoder=text_encoder,
        text_to_hand_params=model,
        text_to_hand_scheduler=build_scheduler(args),
        body_model=body_model,
        default_num_hand_inference_steps=args.num_hand_inference_steps,
        default_hand_guidance_scale=args.hand_guidance_scale,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class HandParamsLoss:
    """Errors of a batch of rows; see `JointLoss` for those of the joints."""

    def __init__(
        self, args: argparse.Namespace, joint_loss: JointLoss, scheduler: DDIMScheduler, device: torch.device
    ):
        self.args, self.joint_loss = args, joint_loss
        self.scheduler: Any = scheduler  # whose hints ask for timesteps of 32 bits
        self.alphas_cumprod = scheduler.alphas_cumprod.to(device)

    def __call__(
        self,
        objective: nn.Module,
        batch: Batch,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        no_caption: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weighted errors, errors and joint errors, each (B,)."""
        args, clean, visible = self.args, batch["samples"], batch["hand_visible"]
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        input_ids, attention_mask = (
            torch.where(no_caption[:, None], empty, given)
            for empty, given in (
                (batch["empty_ids"], batch["input_ids"]),
                (batch["empty_mask"], batch["attention_mask"]),
            )
        )
        prediction = objective(noisy, timesteps, input_ids, attention_mask).float()
        weights = value_weights(visible, args.invisible_hand_weight)
        errors = ((prediction - clean).square() * weights).mean(1)
        joints = torch.zeros_like(errors)
        if args.joint_loss_weight > 0:
            with torch.autocast(clean.device.type, enabled=False):
                joints = self.alphas_cumprod[timesteps] * self.joint_loss(prediction, clean, visible)
        return errors * min_snr_weights(self.scheduler, timesteps, args.snr_gamma), errors, joints


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    device = accelerator.device
    if accelerator.is_main_process:
        open_repository(args)
    dataset = None if args.streaming else open_rows(args)
    torch.manual_seed(args.seed)
    tokenizer, text_encoder = load_text_models(args)
    model = TextToHandParamsModel(**{"cross_attention_dim": text_encoder.config.hidden_size, **args.model_config})
    body_model = load_body_model(args.body_model)
    if args.init_from is not None:
        _init_from(Path(args.init_from), {"text_to_hand_params": model, "hand_text_encoder": text_encoder})
    source, num_train, held_out = open_hand_params(args, dataset, model, tokenizer, accelerator)

    text_encoder.requires_grad_(args.train_text_encoder)
    trained: dict[str, nn.Module] = {"text_to_hand_params": model}
    if args.train_text_encoder:
        trained["hand_text_encoder"] = text_encoder
    run = TrainingRun(args, accelerator, HandParamsObjective(model, text_encoder), trained, num_train)
    losses_of = HandParamsLoss(args, JointLoss(model, body_model).to(device), build_scheduler(args), device)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        batch = source.batch(rows, random.uniform() < 0.5 if args.random_flip else None)
        no_caption = random.uniform() < args.condition_dropout
        noise, timesteps = random.normal(SAMPLE_SIZE), random.integers(args.num_train_timesteps)
        weighted, errors, joints = losses_of(run.objective, batch, noise, timesteps, no_caption)
        loss = weighted.mean() + args.joint_loss_weight * joints.mean()
        return {"loss": loss, "mse": errors.mean(), "joints": joints.mean()}

    def validate(objective: HandParamsObjective) -> dict[str, float]:
        numbers, wanted = {}, HandParams.zeros(0) if held_out is None else held_out.hands
        if held_out is not None:
            generator = torch.Generator().manual_seed(0)
            places = torch.arange(len(held_out)).repeat(4)
            noise = torch.randn(len(places), SAMPLE_SIZE, generator=generator).to(device)
            timesteps = torch.randint(args.num_train_timesteps, (len(places),), generator=generator).to(device)
            with_caption = torch.zeros(len(places), dtype=torch.bool, device=device)
            _, errors, joints = losses_of(objective, held_out.batch(places.numpy()), noise, timesteps, with_caption)
            numbers = {"mse": errors.mean().item(), "joints": joints.mean().item()}
        prompts = ([] if held_out is None else held_out.texts) + (args.validation_prompts or [])
        if prompts:
            parts = (objective.model, objective.text_encoder.eval(), tokenizer, body_model)
            sampled = stage_1_pipeline(args, *parts).to(device).sample_hand_params(
                prompts, hand_generator=[torch.Generator().manual_seed(number) for number in range(len(prompts))]
            ).to("cpu")  # fmt: skip
            body = body_model.to("cpu")
            if held_out is not None:
                numbers.update(compare_hands(sampled[: len(wanted)], wanted, body))
            run.show("hands", draw_samples(sampled, wanted, body))
        return numbers

    run.train(compute_loss, validate)

    def save(whole: HandParamsObjective, facts: dict[str, str]) -> None:
        pipeline = stage_1_pipeline(args, whole.model.eval(), whole.text_encoder.eval(), tokenizer, body_model)
        pipeline.save_pretrained(run.output_dir, safe_serialization=True, card=facts)

    finish_run(run, args, "text_to_hand_params", argv, save)


def _init_from(folder: Path, models: dict[str, nn.Module]) -> None:
    for name, model in models.items():
        averaged = folder / f"{name}_ema"
        load_model(model, averaged if averaged.is_dir() else folder / name)
