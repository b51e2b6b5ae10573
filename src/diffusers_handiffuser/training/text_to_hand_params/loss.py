"""Stage 1's loss: errors of the predicted clean sample, and of the hands' joints that follow from it."""

from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import nn

from ...hands import HandBodyModel
from ...hands.camera import project_weak_perspective
from ...hands.kinematics import HandJoints
from ...hands.rotations import rot6d_to_rotmat
from ...hands.skeleton import JOINT_NAMES, LEFT_HAND, NUM_JOINTS, RIGHT_HAND, SIDES
from ...models import TextToHandParamsModel
from ...models.text_models import text_states
from ...models.text_to_hand_params import SAMPLE_PARTS, SAMPLE_SIZE
from ..engine.like_lengths import by_like_lengths
from ..engine.timesteps import min_snr_weights
from .options import DiffusionOptions

Batch = dict[str, torch.Tensor]
ARM_JOINTS = [
    [JOINT_NAMES.index(f"{side}_{name}") for name in ("collar", "shoulder", "elbow", "wrist")] for side in SIDES
]
"""Of the left and the right arm, from the body to the hand."""


class HandParamsLoss:
    """The loss of a noisy sample x_t whose clean sample x is predicted as x̂.

    It is the mean over rows of

        w(t) mean(v (x̂ - x)²) + λ ᾱ_t joints(x̂, x)

    with `min_snr_weights` w, `value_weights` v, `joint_loss_weight` λ, and `JointLoss` counting as much as there is
    signal in x_t.

    Args:
        options (`DiffusionOptions`): the weights.
        scheduler (`DDIMScheduler`): predicts the clean sample.
        joint_loss (`JointLoss`): on the device of the batches.
    """

    def __init__(self, options: DiffusionOptions, scheduler: DDIMScheduler, joint_loss: "JointLoss"):
        self.options, self.joint_loss = options, joint_loss
        self.scheduler: Any = scheduler  # its hints want 32-bit timesteps
        self.alphas_cumprod = scheduler.alphas_cumprod.to(joint_loss.mean.device)

    def __call__(
        self,
        objective: nn.Module,
        batch: Batch,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        no_caption: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Scalars "loss", "mse" and "joints" of B rows.

        Args:
            objective (`torch.nn.Module`): the `HandParamsObjective`.
            batch (`dict[str, torch.Tensor]`): of `data.CachedHandParams` or `data.StreamedHandParams`.
            noise (`torch.Tensor` of shape (B, 327)): of x_t.
            timesteps (`torch.Tensor` of shape (B,)): of x_t.
            no_caption (`torch.Tensor` of shape (B,), bool): rows whose caption is dropped.
        """
        clean, visible = batch["samples"], batch["hand_visible"]
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        predicted = objective(noisy, timesteps, *drop_captions(batch, no_caption)).float()
        weights = value_weights(
            visible,
            self.options.invisible_hand_weight,
            self.options.arm_loss_weight,
            self.options.visibility_loss_weight,
        )
        errors = ((predicted - clean).square() * weights).mean(1)
        joints = self.joint_errors(predicted, clean, visible, timesteps).mean()
        snr_weights = min_snr_weights(self.scheduler, timesteps, self.options.snr_gamma)
        loss = (errors * snr_weights).mean() + self.options.joint_loss_weight * joints
        return {"loss": loss, "mse": errors.mean(), "joints": joints}

    def joint_errors(
        self, predicted: torch.Tensor, clean: torch.Tensor, visible: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """ᾱ_t times the `JointLoss` (B,); zeros if it has no weight."""
        if self.options.joint_loss_weight <= 0:
            return torch.zeros(len(clean), device=clean.device)
        with torch.autocast(clean.device.type, enabled=False):
            return self.alphas_cumprod[timesteps] * self.joint_loss(predicted, clean, visible)


def drop_captions(batch: Batch, drop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and their mask, each (B, N), those of "" where `drop` (B,) is true."""
    return (
        torch.where(drop[:, None], batch["empty_ids"], batch["input_ids"]),
        torch.where(drop[:, None], batch["empty_mask"], batch["attention_mask"]),
    )


class HandParamsObjective(nn.Module):
    """The clean sample that the model predicts, given a noisy one and tokens."""

    def __init__(self, model: TextToHandParamsModel, text_encoder: Any):
        super().__init__()
        self.model, self.text_encoder = model, text_encoder

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        def predict(
            mask: torch.Tensor, ids: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
        ) -> torch.Tensor:
            states = text_states(self.text_encoder, ids, mask)
            return self.model(noisy, timesteps, states, encoder_attention_mask=mask).sample

        return by_like_lengths(predict, attention_mask, input_ids, noisy, timesteps)


class JointLoss(nn.Module):
    """Squared errors of the visible hands' joints: their positions in the image, and relative to the wrist in 3D.

    In a close-up every small disagreement between arm and camera is visible, though small in standardised values.
    """

    _METRES = 0.05
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: TextToHandParamsModel, body_model: HandBodyModel):
        super().__init__()
        self.joints = HandJoints(body_model)
        self.register_buffer("mean", model.sample_mean.clone())
        self.register_buffer("std", model.sample_std.clone())

    def forward(self, prediction: torch.Tensor, target: torch.Tensor, hand_visible: torch.Tensor) -> torch.Tensor:
        """Standardised samples (B, 327) and `hand_visible` (B, 2) to a loss (B,); 0 where no hand is visible."""
        local, projected = self._joints(prediction)
        with torch.no_grad():
            target_local, target_projected = self._joints(target)
        errors = (projected - target_projected).square().mean((2, 3))
        errors = errors + ((local - target_local) / self._METRES).square().mean((2, 3))
        return (errors * hand_visible).sum(1) / hand_visible.sum(1).clamp(min=1)

    def _joints(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Relative to the wrist (B, 2, J, 3), and in the image (B, 2, J, 2)."""
        values = sample.float() * self.std + self.mean
        rotations, betas, camera, _ = values.split(list(SAMPLE_PARTS.values()), 1)
        joints = self.joints(rot6d_to_rotmat(rotations.unflatten(1, (NUM_JOINTS, 6))), betas)
        projected = project_weak_perspective(joints.flatten(1, 2), camera).unflatten(1, joints.shape[1:3])
        return joints - joints[:, :, :1], projected


def sample_statistics(samples: torch.Tensor, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (327,) of unstandardised samples (N, 327), the deviation at least `floor`."""
    return samples.double().mean(0).float(), samples.double().std(0, correction=0).float().clamp(min=floor)


def value_weights(
    hand_visible: torch.Tensor, invisible_weight: float, arm_weight: float = 1.0, visibility_weight: float = 1.0
) -> torch.Tensor:
    """Loss weight (B, 327) of each value.

    It is 1, but for fingers of a hand that is not visible, the arm of one that is, and which hands are visible.

    Whatever the weights, the loss is least where the prediction is the mean of the clean samples.
    """
    weights = torch.ones(len(hand_visible), SAMPLE_SIZE, device=hand_visible.device)
    for side, joints in enumerate((LEFT_HAND, RIGHT_HAND)):
        columns = slice(6 * joints.start, 6 * joints.stop)
        weights[:, columns] = torch.where(hand_visible[:, side : side + 1], 1.0, invisible_weight)
        for joint in ARM_JOINTS[side]:
            columns = slice(6 * joint, 6 * joint + 6)
            weights[:, columns] = torch.where(hand_visible[:, side : side + 1], arm_weight, 1.0)
    weights[:, -SAMPLE_PARTS["hand_visible"] :] = visibility_weight
    return weights
