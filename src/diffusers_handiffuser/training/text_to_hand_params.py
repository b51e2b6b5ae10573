"""Trains stage 1: text to the SMPL-H parameters of one person.

With the CLIP text encoder of a Stable Diffusion pipeline, frozen, as in the paper:

    python -m diffusers_handiffuser.training.text_to_hand_params --pretrained_model_name_or_path SD \\
        --train_data_dir DATA --output_dir OUT --max_train_steps 200000 --use_ema

From nothing, a small model with a small text encoder that is trained along:

    python -m diffusers_handiffuser.training.text_to_hand_params --tokenizer_name TOKENIZER --train_text_encoder \\
        --model_config '{"hidden_size": 256, "num_layers": 4, "num_attention_heads": 4}' \\
        --train_data_dir DATA --output_dir OUT --max_train_minutes 120 --use_ema

`OUT` holds `text_to_hand_params/`, `hand_text_encoder/`, `hand_tokenizer/` and `text_to_hand_scheduler/`. Pictures are
not read. The mechanics are MDM's (Tevet et al. 2022): the clean sample is predicted, the text is dropped in a tenth of
the rows.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..command_line import run_as_command
from ..hands import HandBodyModel, HandParams
from ..hands.camera import project_weak_perspective
from ..hands.drawing import draw_hand_mesh
from ..hands.rotations import rot6d_to_rotmat, rotvec_to_rotmat
from ..hands.skeleton import LEFT_HAND, NUM_JOINTS, RIGHT_HAND
from ..models import TextToHandParamsModel
from ..models.text_to_hand_params import SAMPLE_PARTS, SAMPLE_SIZE
from .dataset import HandDataset, swap_sides
from .losses import HandJoints, min_snr_weights
from .options import add_data_options, add_training_options, check_training_options, json_option
from .run import TrainingRun, load_model, save_model, start_run

SMALL_TEXT_ENCODER = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m diffusers_handiffuser.training.text_to_hand_params",
        description="Train stage 1: text to the SMPL-H parameters of one person.",
    )
    add_data_options(parser)
    add_training_options(parser, checkpointing_steps=2000, train_batch_size=64, validation_steps=2000)

    group = parser.add_argument_group("models")
    group.add_argument(
        "--pretrained_model_name_or_path",
        help="folder or Hub id with tokenizer/ and text_encoder/ (CLIP); else the text encoder starts from nothing",
    )
    group.add_argument("--revision", help="revision of the Hub model")
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
    group.add_argument("--num_hand_inference_steps", type=int, default=20)
    group.add_argument("--hand_guidance_scale", type=float, default=2.5)

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
        text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", revision=args.revision)
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


def sample_statistics(samples: torch.Tensor, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (327,) of unstandardised samples (N, 327), the deviation at least `floor`."""
    return samples.double().mean(0).float(), samples.double().std(0, correction=0).float().clamp(min=floor)


def value_weights(hand_visible: torch.Tensor, invisible_weight: float) -> torch.Tensor:
    """Loss weight (B, 327) of each value: 1, but less for the fingers of a hand that is not visible."""
    weights = torch.ones(len(hand_visible), SAMPLE_SIZE, device=hand_visible.device)
    for side, joints in enumerate((LEFT_HAND, RIGHT_HAND)):
        columns = slice(6 * joints.start, 6 * joints.stop)
        weights[:, columns] = torch.where(hand_visible[:, side : side + 1], 1.0, invisible_weight)
    return weights


class HandParamsObjective(torch.nn.Module):
    """The clean sample that the model predicts, given a noisy one and tokens."""

    def __init__(self, model: TextToHandParamsModel, text_encoder: CLIPTextModel):
        super().__init__()
        self.model, self.text_encoder = model, text_encoder

    def forward(self, noisy, timesteps, input_ids, attention_mask) -> torch.Tensor:
        states = self.text_encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.model(noisy, timesteps, states, encoder_attention_mask=attention_mask).sample


class JointLoss(torch.nn.Module):
    """Squared errors of the visible hands' joints: where they are in the picture, and around the wrist in 3D.

    A close-up shows every small disagreement between arm and camera, which the standardised values hardly weigh.
    """

    _METRES = 0.05

    def __init__(self, model: TextToHandParamsModel, body_model: HandBodyModel):
        super().__init__()
        self.joints = HandJoints(body_model)
        self.register_buffer("mean", model.sample_mean.clone())
        self.register_buffer("std", model.sample_std.clone())

    def forward(self, prediction: torch.Tensor, target: torch.Tensor, hand_visible: torch.Tensor) -> torch.Tensor:
        """Standardised samples (B, 327) and `hand_visible` (B, 2) to a loss (B,); 0 where no hand is visible."""
        around, pictured = self._measure(prediction)
        with torch.no_grad():
            target_around, target_pictured = self._measure(target)
        errors = (pictured - target_pictured).square().mean((2, 3))
        errors = errors + ((around - target_around) / self._METRES).square().mean((2, 3))
        return (errors * hand_visible).sum(1) / hand_visible.sum(1).clamp(min=1)

    def _measure(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = sample.float() * self.std + self.mean
        rotations, betas, camera, _ = values.split(list(SAMPLE_PARTS.values()), 1)
        joints = self.joints(rot6d_to_rotmat(rotations.unflatten(1, (NUM_JOINTS, 6))), betas)
        pictured = project_weak_perspective(joints.flatten(1, 2), camera).unflatten(1, joints.shape[1:3])
        return joints - joints[:, :, :1], pictured


def sampling_pipeline(model, text_encoder, tokenizer, scheduler):
    """A pipeline that has stage 1 only."""
    from ..pipelines import HanDiffuserPipeline

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
        text_to_hand_scheduler=scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compare_hands(sampled: HandParams, wanted: HandParams, body_model: HandBodyModel) -> dict[str, float]:
    """How well sampled hands fit those of held-out rows with the same captions.

    `visibility`: part of the rows with the right hands visible; `finger_error`: mean angle in degrees between the
    finger rotations of hands visible in both; `in_picture`: part of the sampled visible hands' joints that lie in the
    picture.
    """
    numbers = {"visibility": (sampled.hand_visible == wanted.hand_visible).all(-1).float().mean().item()}
    both = sampled.hand_visible & wanted.hand_visible
    if both.any():
        ours, theirs = (
            rotvec_to_rotmat(torch.stack([h.left_hand_pose, h.right_hand_pose], 1).unflatten(-1, (15, 3)))[both]
            for h in (sampled, wanted)
        )
        trace = (ours * theirs).sum((-2, -1))
        numbers["finger_error"] = torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).acos()).mean().item()
    if sampled.hand_visible.any():
        inside = (body_model(sampled).joints_2d.abs() <= 1).all(-1).float().mean(-1)
        numbers["in_picture"] = inside[sampled.hand_visible].mean().item()
    return numbers


def main(argv=None) -> None:
    args = parse_args(argv)
    accelerator = start_run(args)
    device = accelerator.device
    dataset = HandDataset(args.train_data_dir, args.max_train_samples)
    num_train = len(dataset) - args.num_validation_rows
    if num_train < 1:
        raise ValueError(f"`num_validation_rows` ({args.num_validation_rows}) leaves none of {len(dataset)} rows")

    torch.manual_seed(args.seed)
    tokenizer, text_encoder = load_text_models(args)
    model = TextToHandParamsModel(**{"cross_attention_dim": text_encoder.config.hidden_size, **args.model_config})
    body_model = HandBodyModel.procedural() if args.body_model is None else HandBodyModel.from_smplh(args.body_model)
    hands = dataset.hand_params
    both = HandParams.cat([hands, hands.mirror()]) if args.random_flip else hands
    raw = model.encode(both)
    if args.init_from is not None:
        _init_from(Path(args.init_from), {"text_to_hand_params": model, "hand_text_encoder": text_encoder})
    else:
        train_rows = torch.arange(len(both)) % len(dataset) < num_train
        model.set_statistics(*sample_statistics(raw[train_rows], args.std_floor))
    samples = ((raw - model.sample_mean) / model.sample_std).to(device)
    visible = both.hand_visible.to(device)
    del raw

    texts = dataset.texts + ([swap_sides(text) for text in dataset.texts] if args.random_flip else [])
    tokens = tokenizer(
        [*texts, ""], padding="longest", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    input_ids, attention_mask = tokens.input_ids.to(device), tokens.attention_mask.to(device)
    no_text = len(texts)

    text_encoder.requires_grad_(args.train_text_encoder)
    trained = {"text_to_hand_params": model}
    if args.train_text_encoder:
        trained["hand_text_encoder"] = text_encoder
    objective = HandParamsObjective(model, text_encoder)
    run = TrainingRun(args, accelerator, objective, trained, num_train)
    joint_loss = JointLoss(model, body_model).to(device)
    scheduler = build_scheduler(args)
    alphas_cumprod = scheduler.alphas_cumprod.to(device)

    def losses_of(places, noise, timesteps, no_caption):
        clean = samples[places]
        noisy = scheduler.add_noise(clean, noise, timesteps)
        captions = torch.where(no_caption, no_text, places)
        prediction = run.objective(noisy, timesteps, input_ids[captions], attention_mask[captions]).float()
        weights = value_weights(visible[places], args.invisible_hand_weight)
        errors = ((prediction - clean).square() * weights).mean(1)
        joints = torch.zeros_like(errors)
        if args.joint_loss_weight > 0:
            with torch.autocast(device.type, enabled=False):
                joints = alphas_cumprod[timesteps] * joint_loss(prediction, clean, visible[places])
        return errors * min_snr_weights(scheduler, timesteps, args.snr_gamma), errors, joints

    def compute_loss(rows, random):
        places = torch.from_numpy(rows).to(device)
        if args.random_flip:
            places = places + len(dataset) * (random.uniform() < 0.5)
        no_caption = random.uniform() < args.condition_dropout
        noise, timesteps = random.normal(SAMPLE_SIZE), random.integers(args.num_train_timesteps)
        weighted, errors, joints = losses_of(places, noise, timesteps, no_caption)
        loss = weighted.mean() + args.joint_loss_weight * joints.mean()
        return {"loss": loss, "mse": errors.mean(), "joints": joints.mean()}

    def validate():
        held_out = np.arange(num_train, len(dataset))
        generator = torch.Generator().manual_seed(0)
        numbers = {}
        if len(held_out):
            places = torch.from_numpy(held_out).repeat(4).to(device)
            noise = torch.randn(len(places), SAMPLE_SIZE, generator=generator).to(device)
            timesteps = torch.randint(args.num_train_timesteps, (len(places),), generator=generator).to(device)
            _, errors, joints = losses_of(places, noise, timesteps, torch.zeros_like(places, dtype=torch.bool))
            numbers = {"mse": errors.mean().item(), "joints": joints.mean().item()}
        prompts = [dataset.texts[row] for row in held_out] + (args.validation_prompts or [])
        if prompts:
            pipeline = sampling_pipeline(model, text_encoder.eval(), tokenizer, scheduler).to(device)
            sampled = pipeline.sample_hand_params(
                prompts,
                num_hand_inference_steps=args.num_hand_inference_steps,
                hand_guidance_scale=args.hand_guidance_scale,
                hand_generator=[torch.Generator().manual_seed(number) for number in range(len(prompts))],
            )
            if len(held_out):
                numbers.update(compare_hands(sampled[: len(held_out)], hands[torch.from_numpy(held_out)], body_model))
            drawn = list(range(min(8, len(held_out)))) + list(range(len(held_out), len(prompts)))
            lines = [_side_by_side(draw_hand_mesh(sampled[drawn], body_model, 128))]
            first = held_out[: min(8, len(held_out))]
            if len(first):
                lines.insert(0, _side_by_side(draw_hand_mesh(hands[torch.from_numpy(first)], body_model, 128)))
            width = max(line.shape[1] for line in lines)
            lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
            Image.fromarray(np.concatenate(lines)).save(run.sample_path("hands"))
        return numbers

    run.train(compute_loss, validate)

    if run.accelerator.is_main_process:
        run.save_models(run.output_dir)
        if not args.train_text_encoder:
            save_model(text_encoder, run.output_dir / "hand_text_encoder")
        tokenizer.save_pretrained(run.output_dir / "hand_tokenizer")
        scheduler.save_pretrained(run.output_dir / "text_to_hand_scheduler")
        run.log({"saved": str(run.output_dir)})


def _init_from(folder: Path, models: dict) -> None:
    for name, model in models.items():
        averaged = folder / f"{name}_ema"
        load_model(model, averaged if averaged.is_dir() else folder / name)


def _side_by_side(pictures: list[Image.Image]) -> np.ndarray:
    return np.concatenate([np.asarray(picture) for picture in pictures], axis=1)


if __name__ == "__main__":
    run_as_command(main)
