"""Stage 1's loss: errors of the clean sample that is predicted, and of the hands' joints that follow from it."""

import torch
from torch import nn
from transformers import CLIPTextModel

from ...hands import HandBodyModel
from ...hands.camera import project_weak_perspective
from ...hands.kinematics import HandJoints
from ...hands.rotations import rot6d_to_rotmat
from ...hands.skeleton import LEFT_HAND, NUM_JOINTS, RIGHT_HAND
from ...models import TextToHandParamsModel
from ...models.text_to_hand_params import SAMPLE_PARTS, SAMPLE_SIZE


class HandParamsObjective(nn.Module):
    """The clean sample that the model predicts, given a noisy one and tokens."""

    def __init__(self, model: TextToHandParamsModel, text_encoder: CLIPTextModel):
        super().__init__()
        self.model, self.text_encoder = model, text_encoder

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        longest = int(attention_mask.sum(1).max())  # padding behind every row's words costs as much as words
        input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        states = self.text_encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        return self.model(noisy, timesteps, states, encoder_attention_mask=attention_mask).sample


class JointLoss(nn.Module):
    """Squared errors of the visible hands' joints: where they are in the picture, and around the wrist in 3D.

    A close-up shows every small disagreement between arm and camera, which the standardised values hardly weigh.
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
