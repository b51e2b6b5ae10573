"""Stage 1's validation: the loss on held-out rows, and hands sampled for their captions."""

import numpy as np
import torch

from ...hands import HandBodyModel, HandParams
from ...hands.rotations import rotmat_geodesic_distance, rotvec_to_rotmat
from ...models.text_to_hand_params import SAMPLE_SIZE
from ...pipelines.hand_sampling import sample_hands
from ...rendering.drawing import draw_hand_mesh
from ..engine.run import TrainingRun
from ..engine.tracking import image_grid
from .data import CachedHandParams
from .loss import HandParamsLoss, HandParamsObjective
from .models import HandParamsModels
from .options import SamplingOptions

_DRAWN, _SIZE = 8, 128
_DRAWS_PER_ROW = 4


class HandParamsValidation:
    """Losses of held-out rows, and hands sampled for their captions and for further prompts.

    Args:
        options (`SamplingOptions`): prompts and settings of sampling.
        run (`TrainingRun`): logs the image.
        models (`HandParamsModels`): of stage 1; each call passes the trained ones.
        loss (`HandParamsLoss`): of the training.
        held_out (`CachedHandParams`, *optional*): the held-out rows.
    """

    def __init__(
        self,
        options: SamplingOptions,
        run: TrainingRun,
        models: HandParamsModels,
        loss: HandParamsLoss,
        held_out: CachedHandParams | None,
    ):
        self.options, self.run, self.models, self.loss, self.held_out = options, run, models, loss, held_out

    def __call__(self, objective: HandParamsObjective) -> dict[str, float]:
        """Returns scalars to log, and logs the image."""
        held_out = self.held_out
        numbers = {} if held_out is None else self.held_out_losses(objective, held_out)
        prompts = ([] if held_out is None else held_out.texts) + (self.options.validation_prompts or [])
        if prompts:
            sampled = sample_hands(
                prompts,
                self.models.tokenizer,
                objective.text_encoder,
                objective.model,
                self.models.scheduler,
                self.options.num_hand_inference_steps,
                self.options.hand_guidance_scale,
                [torch.Generator().manual_seed(number) for number in range(len(prompts))],
                self.run.device,
            )
            wanted, body_model = HandParams.zeros(0), self.models.body_model.to("cpu")
            if held_out is not None:
                wanted = held_out.hands
                numbers |= compare_hands(sampled[: len(wanted)], wanted, body_model)
            self.run.show("hands", draw_samples(sampled, wanted, body_model))
        return numbers

    def held_out_losses(self, objective: HandParamsObjective, held_out: CachedHandParams) -> dict[str, float]:
        """Losses of the held-out rows, four draws each, at noise that is the same every time."""
        generator, device = torch.Generator().manual_seed(0), self.run.device
        rows = torch.arange(len(held_out)).repeat(_DRAWS_PER_ROW)
        noise = torch.randn(len(rows), SAMPLE_SIZE, generator=generator).to(device)
        num_timesteps = self.loss.options.num_train_timesteps
        timesteps = torch.randint(num_timesteps, (len(rows),), generator=generator).to(device)
        with_caption = torch.zeros(len(rows), dtype=torch.bool, device=device)
        losses = self.loss(objective, held_out.batch(rows.numpy()), noise, timesteps, with_caption)
        return {name: losses[name].item() for name in ("mse", "joints")}


def compare_hands(sampled: HandParams, wanted: HandParams, body_model: HandBodyModel) -> dict[str, float]:
    """How well sampled hands agree with those of held-out rows with the same captions.

    `visibility`: part of the rows with exactly the right hands visible; `finger_error`: mean angle in degrees between
    the finger rotations of hands visible in both; `in_picture`: part of the sampled visible hands' joints inside the
    image.
    """
    numbers = {"visibility": (sampled.hand_visible == wanted.hand_visible).all(-1).float().mean().item()}
    both = sampled.hand_visible & wanted.hand_visible
    if both.any():
        ours, theirs = (
            rotvec_to_rotmat(torch.stack([h.left_hand_pose, h.right_hand_pose], 1).unflatten(-1, (15, 3)))[both]
            for h in (sampled, wanted)
        )
        numbers["finger_error"] = rotmat_geodesic_distance(ours, theirs).rad2deg().mean().item()
    if sampled.hand_visible.any():
        inside = (body_model(sampled).joints_2d.abs() <= 1).all(-1).float().mean(-1)
        numbers["in_picture"] = inside[sampled.hand_visible].mean().item()
    return numbers


def draw_samples(sampled: HandParams, wanted: HandParams, body_model: HandBodyModel) -> np.ndarray:
    """The first held-out rows' own hands, and below them those sampled for their captions and for further prompts.

    Args:
        sampled ([`HandParams`] of N + M rows): for N held-out captions, then for M prompts.
        wanted ([`HandParams`] of N rows): the held-out rows' own.
        body_model ([`HandBodyModel`]): draws them.
    """
    first = range(min(_DRAWN, len(wanted)))
    shown = [*first, *range(len(wanted), len(sampled))]
    lines = [draw_hand_mesh(wanted[list(first)], body_model, _SIZE)] if first else []
    lines.append(draw_hand_mesh(sampled[shown], body_model, _SIZE))
    return image_grid([[np.asarray(image) for image in line] for line in lines])
