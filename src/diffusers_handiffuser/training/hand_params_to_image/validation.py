"""Stage 2's validation: the loss on held-out rows, and pictures with the hands they were drawn from."""

import argparse
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ...data.dataset import HandDataset
from ...hands import HandBodyModel, HandParams
from ...rendering.drawing import draw_hand_mesh
from ..engine.run import TrainingRun
from ..engine.tracking import image_grid
from .loss import ImageLoss, ImageObjective
from .models import ImageModels, build_pipeline
from .rows import CachedRows, LiveRows


@dataclass
class HeldOutRows:
    """Rows that are not trained on: their data set, their numbers in it, and where their batches come from."""

    dataset: HandDataset
    rows: np.ndarray
    source: CachedRows | LiveRows


class ImageValidation:
    """Samples held-out rows and prompts; see `TrainingRun.train`.

    Args:
        args (`argparse.Namespace`): the trainer's options.
        run (`TrainingRun`): which shows the pictures.
        models (`ImageModels`): of the run.
        body_model ([`HandBodyModel`]): poses and draws the hands.
        loss (`ImageLoss`): of the run.
        held_out (`HeldOutRows`, *optional*): what is measured and shown.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        run: TrainingRun,
        models: ImageModels,
        body_model: HandBodyModel,
        loss: ImageLoss,
        held_out: HeldOutRows | None,
    ):
        self.args, self.run, self.models, self.body_model, self.loss = args, run, models, body_model, loss
        self.held_out = held_out if held_out is not None and len(held_out.rows) else None

    def __call__(self, objective: ImageObjective) -> dict[str, float]:
        """Numbers to log; pictures go to the run: originals, samples and hands of held-out rows; those of prompts."""
        args = self.args
        numbers: dict[str, float] = {}
        resting_place = self.models.vae.device  # the loop may have no use for it
        models = replace(self.models, unet=objective.unet, text_encoder=objective.text_encoder)
        self.pipeline = build_pipeline(args, models, self.body_model).to(self.run.device)
        self.models.vae.enable_slicing()  # one picture after the other: their decoding takes most memory
        if self.held_out is not None:
            numbers["mse"] = self.held_out_loss(objective, self.held_out)
            dataset, rows = self.held_out.dataset, self.held_out.rows
            shown = rows[np.linspace(0, len(rows) - 1, min(args.num_validation_images, len(rows))).astype(int)]
            originals = [dataset.load_image(row, args.resolution) for row in shown]
            hands = dataset.hand_params[torch.from_numpy(shown)].to(self.run.device)
            lines = self.sample([dataset.texts[row] for row in shown], hands)
            self.run.show("held-out", image_grid([originals, *lines]))
        if args.validation_prompts:
            self.run.show("prompts", image_grid(self.sample(args.validation_prompts, None)))
        self.models.vae.disable_slicing()
        self.models.vae.to(resting_place)
        return numbers

    def sample(self, prompts: list[str], hands: HandParams | None) -> list[list[np.ndarray]]:
        """A line of pictures, and a line of the hands that they show."""
        generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
        out = self.pipeline(prompts, hand_params=hands, generator=generators, output_type="np")
        pictures = np.clip(np.rint(out.images * 255), 0, 255).astype(np.uint8)
        previews = draw_hand_mesh(out.hand_params, self.body_model, self.args.resolution)
        return [list(pictures), [np.asarray(preview) for preview in previews]]

    def held_out_loss(self, objective: nn.Module, held_out: HeldOutRows) -> float:
        """Mean squared error over the held-out rows, at noise that is the same every time."""
        generator = torch.Generator().manual_seed(0)
        total, size = 0.0, self.args.train_batch_size
        for start in range(0, len(held_out.rows), size):
            batch = held_out.source.batch(held_out.rows[start : start + size])
            noise = torch.randn(batch["latents"].shape, generator=generator).to(self.run.device)
            timesteps = torch.randint(self.loss.num_timesteps, (len(noise),), generator=generator)
            total += self.loss.errors(objective, batch, noise, timesteps.to(self.run.device)).sum().item()
        return total / len(held_out.rows)
