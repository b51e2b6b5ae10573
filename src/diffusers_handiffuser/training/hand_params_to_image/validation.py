"""Validation of stage 2: the loss on held-out rows, and sampled images beside renders of their hands."""

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
from .options import ImageTrainingOptions
from .rows import CachedDataset, LiveDataset


@dataclass
class HeldOutRows:
    """Rows that are not trained on: their data set, their indices in it, and the source of their batches."""

    dataset: HandDataset
    rows: np.ndarray
    source: CachedDataset | LiveDataset


class ImageValidation:
    """Samples held-out rows and prompts; see `TrainingRun.train`.

    Args:
        options (`ImageTrainingOptions`): of the trainer.
        run (`TrainingRun`): logs the images.
        models (`ImageModels`): of the run.
        body_model ([`HandBodyModel`]): poses and draws the hands.
        loss (`ImageLoss`): of the run.
        held_out (`HeldOutRows`, *optional*): the rows; none if `None`.
    """

    def __init__(
        self,
        options: ImageTrainingOptions,
        run: TrainingRun,
        models: ImageModels,
        body_model: HandBodyModel,
        loss: ImageLoss,
        held_out: HeldOutRows | None,
    ):
        self.options, self.run, self.models, self.body_model, self.loss = options, run, models, body_model, loss
        self.held_out = held_out if held_out is not None and len(held_out.rows) else None

    def __call__(self, objective: ImageObjective) -> dict[str, float]:
        """Scalars to log. Logs images: originals, samples and hands of held-out rows; samples and hands of prompts."""
        validation, resolution = self.options.validation, self.options.images.resolution
        numbers: dict[str, float] = {}
        vae_device = self.models.vae.device  # may be the CPU, since the loop does not use the VAE
        models = replace(self.models, unet=objective.unet, text_encoder=objective.text_encoder)
        stage_1 = self.options.models.text_to_hand_params_dir
        self.pipeline = build_pipeline(validation, models, self.body_model, stage_1).to(self.run.device)
        self.models.vae.enable_slicing()  # decode one by one: decoding takes most of the memory
        if self.held_out is not None:
            numbers["mse"] = self.held_out_loss(objective, self.held_out)
            dataset, rows = self.held_out.dataset, self.held_out.rows
            shown = rows[np.linspace(0, len(rows) - 1, min(validation.num_validation_images, len(rows))).astype(int)]
            originals = [dataset.load_image(row, resolution) for row in shown]
            hands = dataset.square_hand_params(shown, self.body_model).to(self.run.device)
            lines = self.sample([dataset.texts[row] for row in shown], hands)
            self.run.show("held-out", image_grid([originals, *lines]))
        if validation.validation_prompts:
            self.run.show("prompts", image_grid(self.sample(validation.validation_prompts, None)))
        self.models.vae.disable_slicing()
        self.models.vae.to(vae_device)
        return numbers

    def sample(self, prompts: list[str], hands: HandParams | None) -> list[list[np.ndarray]]:
        """A line of sampled images, and a line of renders of their hands."""
        generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
        out = self.pipeline(prompts, hand_params=hands, generator=generators, output_type="np")
        images = np.clip(np.rint(out.images * 255), 0, 255).astype(np.uint8)
        previews = draw_hand_mesh(out.hand_params, self.body_model, self.options.images.resolution)
        return [list(images), [np.asarray(preview) for preview in previews]]

    def held_out_loss(self, objective: nn.Module, held_out: HeldOutRows) -> float:
        """Mean squared error over the held-out rows, at the same noise every time."""
        generator = torch.Generator().manual_seed(0)
        total, size = 0.0, self.options.run.train_batch_size
        for start in range(0, len(held_out.rows), size):
            batch = held_out.source.batch(held_out.rows[start : start + size])
            noise = torch.randn(batch["latents"].shape, generator=generator).to(self.run.device)
            timesteps = torch.randint(self.loss.num_timesteps, (len(noise),), generator=generator)
            total += self.loss.errors(objective, batch, noise, timesteps.to(self.run.device)).sum().item()
        return total / len(held_out.rows)
