"""Runs of the smallest model there can be."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from diffusers_handiffuser.training.engine.option_parser import parse_options
from diffusers_handiffuser.training.engine.options import TrainingOptions
from diffusers_handiffuser.training.engine.run import TrainingRun, start_run

ROWS = 10
OPTIONS = ("--max_train_steps", 6, "--checkpointing_steps", 2, "--use_ema", "--lr_scheduler", "cosine")


class Line(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 3):
        super().__init__()
        self.linear = torch.nn.Linear(width, 1)
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, x):
        return self.linear(x) + self.offset


def make_run(folder, *options) -> tuple[TrainingRun, Line]:
    defaults = {"train_batch_size": 4, "logging_steps": 2, "learning_rate": 0.01, "lr_warmup_steps": 2}
    parsed = parse_options(TrainingOptions, ["--output_dir", str(folder), *map(str, options)], defaults=defaults)
    torch.manual_seed(0)
    model = Line()
    model.offset.fill_(0.5)
    return TrainingRun(parsed, start_run(parsed), model, {"line": model}, ROWS), model


def train(folder, *options, compute=None, validate=None) -> TrainingRun:
    run, _ = make_run(folder, *options)
    seen = []

    def compute_loss(rows, random):
        seen.append(rows)
        if compute is not None:
            compute(run)
        x = torch.from_numpy(rows).float()[:, None] / ROWS + 0.1 * random.normal(3)
        loss = (run.objective(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": loss}

    run.seen = seen
    run.train(compute_loss, validate)
    return run
