r"""Trains stage 1: text to the SMPL-H parameters of one person.

With the CLIP text encoder of a Stable Diffusion pipeline, frozen, as in the paper:

    accelerate launch -m diffusers_handiffuser.training.text_to_hand_params --pretrained_model_name_or_path SD \
        --train_data_dir DATA --output_dir OUT --max_train_steps 200000 --use_ema

From nothing, a small model with a small text encoder that is trained along:

    python -m diffusers_handiffuser.training.text_to_hand_params --tokenizer_name TOKENIZER --train_text_encoder \
        --model_config '{"hidden_size": 256, "num_layers": 4, "num_attention_heads": 4}' \
        --train_data_dir DATA --output_dir OUT --max_train_minutes 120 --use_ema

`OUT` is a `HanDiffuserPipeline` that has stage 1 only: `text_to_hand_params/`, `hand_text_encoder/`,
`hand_tokenizer/`, `text_to_hand_scheduler/` and the body. Images are not read. The mechanics are MDM's (Tevet et al.
2022): the clean sample is predicted, the text is dropped in a tenth of the rows. See docs/training.md.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ...models.text_to_hand_params import SAMPLE_SIZE
from ..engine.option_parser import OptionParser
from ..engine.options import DROPPED
from ..engine.publishing import finish_run, open_repository
from ..engine.randomness import BatchRandom
from ..engine.run import TrainingRun, start_run
from ..engine.sources import open_rows
from ..engine.timesteps import TimestepSampler
from .data import open_hand_params
from .loss import HandParamsLoss, HandParamsObjective, JointLoss
from .models import load_models, stage_1_pipeline
from .options import HandParamsTrainingOptions
from .validation import HandParamsValidation


def make_parser() -> OptionParser:
    return OptionParser(
        HandParamsTrainingOptions,
        defaults={"checkpointing_steps": 2000, "train_batch_size": 64, "validation_steps": 2000},
        dropped={**DROPPED, "std_floor": 0.02},
        prog="python -m diffusers_handiffuser.training.text_to_hand_params",
    )


def parse_args(argv: Sequence[str] | None = None) -> HandParamsTrainingOptions:
    return make_parser().parse(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_args(argv)
    accelerator = start_run(options)
    if accelerator.is_main_process:
        open_repository(options.hub, options.run.output_dir)
    dataset = None if options.data.streaming else open_rows(options.data)
    torch.manual_seed(options.run.seed)
    models = load_models(options.models, options.diffusion)
    examples, num_train, held_out = open_hand_params(options, dataset, models.model, models.tokenizer, accelerator)

    trained: dict[str, nn.Module] = {"text_to_hand_params": models.model}
    if options.models.train_text_encoder:
        trained["hand_text_encoder"] = models.text_encoder
    objective = HandParamsObjective(models.model, models.text_encoder)
    run = TrainingRun(options, accelerator, objective, trained, num_train)
    joint_loss = JointLoss(models.model, models.body_model).to(run.device)
    sample_timesteps = TimestepSampler(options.diffusion.num_train_timesteps, options.diffusion, run.device)
    loss = HandParamsLoss(options.diffusion, models.scheduler, joint_loss)

    def compute_loss(rows: np.ndarray, random: BatchRandom) -> dict[str, torch.Tensor]:
        mirror = random.uniform() < 0.5 if options.examples.random_flip else None
        seeds = random.integers(2**62) if options.examples.live_captions is not None else None
        batch = examples.batch(rows, mirror, seeds)
        no_caption = random.uniform() < options.diffusion.condition_dropout
        noise, timesteps = random.normal(SAMPLE_SIZE), sample_timesteps(random)
        return loss(run.objective, batch, noise, timesteps, no_caption)

    run.train(compute_loss, HandParamsValidation(options.sampling, run, models, loss, held_out))

    def save(whole: HandParamsObjective, facts: dict[str, str]) -> None:
        result = replace(models, model=whole.model.eval(), text_encoder=whole.text_encoder.eval())
        pipeline = stage_1_pipeline(result, options.sampling)
        pipeline.save_pretrained(run.output_dir, safe_serialization=True, card=facts)

    base_model = options.models.pretrained_model_name_or_path
    finish_run(run, "text_to_hand_params", argv, save, data=options.data, hub=options.hub, base_model=base_model)
