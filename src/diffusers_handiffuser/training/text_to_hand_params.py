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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..command_line import run_as_command
from ..data.captions import swap_sides
from ..hands import HandBodyModel, HandParams
from ..model_card import CARD_FILE
from ..models import TextToHandParamsModel
from ..models.text_to_hand_params import SAMPLE_SIZE
from ..pipelines import HanDiffuserPipeline
from .hand_params_loss import HandParamsObjective, JointLoss, sample_statistics, value_weights
from .hand_params_validation import compare_hands, draw_samples
from .image_models import load_body_model
from .losses import min_snr_weights
from .options import add_data_options, add_hub_options, add_training_options, check_training_options, json_option
from .publishing import add_run_to_card, card_facts, open_repository, push_result
from .randomness import BatchRandom
from .run import TrainingRun, count_training_rows, start_run
from .sources import open_rows
from .weights import load_model

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
    add_data_options(parser)
    add_training_options(parser, checkpointing_steps=2000, train_batch_size=64, validation_steps=2000)
    add_hub_options(parser)

    group = parser.add_argument_group("models")
    group.add_argument(
        "--pretrained_model_name_or_path",
        help="folder or Hub id with tokenizer/ and text_encoder/ (CLIP); else the text encoder starts from nothing",
    )
    group.add_argument("--revision", help="revision of the Hub model")
    group.add_argument("--variant", help='variant of the model files, e.g. "fp16"')
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
        text_encoder = CLIPTextModel(CLIPTextConfig(**values))
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


class HandParamsRows:
    """All rows, and with `mirror` the mirrored ones after them, as standardised samples and tokens on a device.

    Args:
        hands ([`HandParams`] of N rows), texts (`list[str]`): the rows.
        tokenizer (`CLIPTokenizer`): of the text encoder.
        mirror (`bool`): add the mirrored rows.
    """

    def __init__(self, hands: HandParams, texts: list[str], tokenizer: CLIPTokenizer, mirror: bool):
        self.hands = HandParams.cat([hands, hands.mirror()]) if mirror else hands
        texts = texts + ([swap_sides(text) for text in texts] if mirror else [])
        self.tokens = tokenizer(
            [*texts, ""],
            padding="longest",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        self.no_text = len(texts)

    def standardise(
        self, model: TextToHandParamsModel, statistics_of: torch.Tensor | None, std_floor: float, device: torch.device
    ) -> None:
        """Makes the samples; with `statistics_of` (bool per row) the model's mean and deviation are set from these."""
        raw = model.encode(self.hands)
        if statistics_of is not None:
            model.set_statistics(*sample_statistics(raw[statistics_of], std_floor))
        self.samples = ((raw - model.sample_mean) / model.sample_std).to(device)
        self.visible = self.hands.hand_visible.to(device)
        self.input_ids, self.attention_mask = (
            self.tokens.input_ids.to(device),
            self.tokens.attention_mask.to(device),
        )


class HandParamsLoss:
    """Errors of a batch of places in `HandParamsRows`; see `JointLoss` for those of the joints."""

    def __init__(
        self, args: argparse.Namespace, rows: HandParamsRows, joint_loss: JointLoss, scheduler: DDIMScheduler
    ):
        self.args, self.rows, self.joint_loss = args, rows, joint_loss
        self.scheduler: Any = scheduler  # whose hints ask for timesteps of 32 bits
        self.alphas_cumprod = scheduler.alphas_cumprod.to(rows.samples.device)

    def __call__(
        self,
        objective: nn.Module,
        places: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        no_caption: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weighted errors, errors and joint errors, each (B,)."""
        rows, args = self.rows, self.args
        clean = rows.samples[places]
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        captions = torch.where(no_caption, rows.no_text, places)
        prediction = objective(noisy, timesteps, rows.input_ids[captions], rows.attention_mask[captions]).float()
        weights = value_weights(rows.visible[places], args.invisible_hand_weight)
        errors = ((prediction - clean).square() * weights).mean(1)
        joints = torch.zeros_like(errors)
        if args.joint_loss_weight > 0:
            with torch.autocast(clean.device.type, enabled=False):
                joints = self.alphas_cumprod[timesteps] * self.joint_loss(prediction, clean, rows.visible[places])
        return errors * min_snr_weights(self.scheduler, timesteps, args.snr_gamma), errors, joints


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    device = accelerator.device
    if accelerator.is_main_process:
        open_repository(args)
    dataset = open_rows(args)
    num_rows, hands = len(dataset), dataset.hand_params
    num_train = count_training_rows(num_rows, args.num_validation_rows)

    torch.manual_seed(args.seed)
    tokenizer, text_encoder = load_text_models(args)
    model = TextToHandParamsModel(**{"cross_attention_dim": text_encoder.config.hidden_size, **args.model_config})
    body_model = load_body_model(args.body_model)
    rows = HandParamsRows(hands, dataset.texts, tokenizer, args.random_flip)
    statistics_of: torch.Tensor | None = torch.arange(len(rows.hands)) % num_rows < num_train
    if args.init_from is not None:
        statistics_of = None
        _init_from(Path(args.init_from), {"text_to_hand_params": model, "hand_text_encoder": text_encoder})
    rows.standardise(model, statistics_of, args.std_floor, device)

    text_encoder.requires_grad_(args.train_text_encoder)
    trained: dict[str, nn.Module] = {"text_to_hand_params": model}
    if args.train_text_encoder:
        trained["hand_text_encoder"] = text_encoder
    run = TrainingRun(args, accelerator, HandParamsObjective(model, text_encoder), trained, num_train)
    losses_of = HandParamsLoss(args, rows, JointLoss(model, body_model).to(device), build_scheduler(args))

    def compute_loss(row_numbers: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        places = torch.from_numpy(row_numbers).to(device)
        if args.random_flip:
            places = places + num_rows * (random.uniform() < 0.5)
        no_caption = random.uniform() < args.condition_dropout
        noise, timesteps = random.normal(SAMPLE_SIZE), random.integers(args.num_train_timesteps)
        weighted, errors, joints = losses_of(run.objective, places, noise, timesteps, no_caption)
        loss = weighted.mean() + args.joint_loss_weight * joints.mean()
        return {"loss": loss, "mse": errors.mean(), "joints": joints.mean()}

    held_out = torch.arange(num_train, num_rows)

    def validate(objective: HandParamsObjective) -> dict[str, float]:
        numbers = {}
        if len(held_out):
            generator = torch.Generator().manual_seed(0)
            places = held_out.repeat(4).to(device)
            noise = torch.randn(len(places), SAMPLE_SIZE, generator=generator).to(device)
            timesteps = torch.randint(args.num_train_timesteps, (len(places),), generator=generator).to(device)
            with_caption = torch.zeros_like(places, dtype=torch.bool)
            _, errors, joints = losses_of(objective, places, noise, timesteps, with_caption)
            numbers = {"mse": errors.mean().item(), "joints": joints.mean().item()}
        prompts = [dataset.texts[row] for row in held_out] + (args.validation_prompts or [])
        if prompts:
            parts = (objective.model, objective.text_encoder.eval(), tokenizer, body_model)
            sampled = stage_1_pipeline(args, *parts).to(device).sample_hand_params(
                prompts, hand_generator=[torch.Generator().manual_seed(number) for number in range(len(prompts))]
            ).to("cpu")  # fmt: skip
            body = body_model.to("cpu")
            if len(held_out):
                numbers.update(compare_hands(sampled[: len(held_out)], hands[held_out], body))
            run.show("hands", draw_samples(sampled, hands[held_out], body))
        return numbers

    run.train(compute_loss, validate)

    with run.whole_objective() as whole:
        if whole is not None:
            facts = card_facts(args, "text_to_hand_params", sys.argv[1:] if argv is None else argv)
            (run.output_dir / CARD_FILE).unlink(missing_ok=True)  # of an earlier end of this run
            pipeline = stage_1_pipeline(args, whole.model.eval(), whole.text_encoder.eval(), tokenizer, body_model)
            pipeline.save_pretrained(run.output_dir, safe_serialization=True, card=facts)
            add_run_to_card(run)
            run.log({"saved": str(run.output_dir)})
            pushed = push_result(args)
            if pushed is not None:
                run.log({"pushed": pushed})
    run.close()


def _init_from(folder: Path, models: dict[str, nn.Module]) -> None:
    for name, model in models.items():
        averaged = folder / f"{name}_ema"
        load_model(model, averaged if averaged.is_dir() else folder / name)


if __name__ == "__main__":
    run_as_command(main)
