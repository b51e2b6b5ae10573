"""Stage 2's loss: the U-Net's prediction for noisy latents, conditioned on caption and hands."""

from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn

from ...models import TextHandEncoder
from ..engine.images import Batch
from ..engine.randomness import BatchRandom
from ..engine.timesteps import TimestepBalance, TimestepSampler, min_snr_weights, prediction_target
from .conditions import ConditionDropout
from .joint_head import JointHead, JointLogits, joint_losses, last_features, near_hands
from .options import ConditionOptions, LossOptions


class ImageObjective(nn.Module):
    """The U-Net's prediction for noisy latents, given tokens and hands.

    Args:
        unet, text_encoder: of stage 2.
        joint_head (`JointHead`, *optional*): reads the input of the U-Net's last block, and the states of joints where
            there are any; with it the result is a pair of the prediction and its logits.
    """

    def __init__(self, unet: UNet2DConditionModel, text_encoder: TextHandEncoder, joint_head: JointHead | None = None):
        super().__init__()
        self.unet, self.text_encoder, self.joint_head = unet, text_encoder, joint_head

    def forward(
        self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor, **hands: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, JointLogits]:
        states = self.text_encoder(input_ids, **hands).last_hidden_state
        if self.joint_head is None:
            return self.unet(noisy_latents, timesteps, states).sample
        with last_features(self.unet) as features:
            prediction = self.unet(noisy_latents, timesteps, states).sample
        has_joints = bool(hands) and "joints_2d" in self.text_encoder.hand_representations
        return prediction, self.joint_head(features[0], states if has_joints else None)


class ImageLoss:
    """The training loss of a batch: `mean(w(t) * b(t) * h(x) * (prediction - target)²) + joint and palm losses`.

    `w` are min-SNR weights, `b` balances the timesteps, and `h` is larger near visible hands; each is 1 by default.

    Args:
        options (`LossOptions`): weights, noise and timesteps.
        conditions (`ConditionOptions`): dropout of caption and hands.
        noise_scheduler (`DDPMScheduler`): with the prediction type that is trained.
        empty_ids (`torch.Tensor` of shape (1, 77)): tokens of "".
        device (`torch.device`): of the batches.
    """

    def __init__(
        self,
        options: LossOptions,
        conditions: ConditionOptions,
        noise_scheduler: DDPMScheduler,
        empty_ids: torch.Tensor,
        device: torch.device,
    ):
        self.options = options
        self.noise_scheduler: Any = noise_scheduler  # diffusers annotates timesteps as `IntTensor`; these are int64
        self.num_timesteps = noise_scheduler.config.num_train_timesteps
        self.drop_conditions = ConditionDropout(conditions, empty_ids.to(device))
        self.sample_timesteps = TimestepSampler(self.num_timesteps, options, device)
        self.balance = TimestepBalance(self.num_timesteps, device) if options.balance_timesteps else None

    def keep_in_checkpoints(self, accelerator: Accelerator) -> None:
        """Adds the running means of the timestep balance to checkpoints; call it before a `TrainingRun` is made."""
        if self.balance is not None:
            accelerator.register_for_checkpointing(self.balance)

    def __call__(self, objective: nn.Module, batch: Batch, random: BatchRandom) -> Batch:
        """Scalars of a batch of rows: "loss", "mse" (without weights), and those of `joint_losses`."""
        given, text_only = self.drop_conditions(batch, random)
        noise = sample_noise(batch["latents"], self.options.noise_offset, random)
        timesteps = self.sample_timesteps(random)
        added = perturb_noise(noise, self.options.input_perturbation, random)
        errors, joint_logits = self.predict(objective, given, noise, timesteps, text_only, added)
        rows = (errors * self.weights(batch, timesteps)).mean((1, 2, 3))
        if self.balance is not None:
            rows = rows * self.balance(timesteps, rows.detach())
        loss, joints = rows.mean(), joint_losses(joint_logits, given["hand_joints_2d"], given["hand_visible"])
        if joints:
            loss = loss + self.options.joint_loss_weight * (joints["joints"] + joints["joint_states"])
        if "palm" in joints:
            loss = loss + self.options.palm_loss_weight * joints["palm"]
        return {"loss": loss, "mse": errors.mean(), **joints}

    def weights(self, batch: Batch, timesteps: torch.Tensor) -> torch.Tensor:
        """Weights of squared errors: (B, 1, 1, 1), or (B, 1, H, W) where those near hands count more."""
        weights = min_snr_weights(self.noise_scheduler, timesteps, self.options.snr_gamma).view(-1, 1, 1, 1)
        if self.options.hand_loss_weight > 0:
            near = near_hands(batch["hand_joints_2d"], batch["hand_visible"], batch["latents"].shape[-1])
            weights = weights * (1 + self.options.hand_loss_weight * near)
        return weights

    def errors(self, objective: nn.Module, batch: Batch, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Mean squared error (B,) of each row."""
        return self.predict(objective, batch, noise, timesteps)[0].mean((1, 2, 3))

    def predict(
        self,
        objective: nn.Module,
        batch: Batch,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        text_only: bool = False,
        added: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, JointLogits | None]:
        """Squared errors (B, C, H, W), and the logits of the objective's joint head, if it has one.

        `added` is the noise in the latents where it differs from that of the target.
        """
        clean = batch["latents"]
        noisy = self.noise_scheduler.add_noise(clean, noise if added is None else added, timesteps)
        target = prediction_target(self.noise_scheduler, clean, noise, timesteps)
        hands = {} if text_only else {name: value for name, value in batch.items() if name.startswith("hand_")}
        predicted = objective(noisy, timesteps, batch["input_ids"], **hands)
        prediction, joint_logits = predicted if isinstance(predicted, tuple) else (predicted, None)
        return (prediction.float() - target).square(), joint_logits


def sample_noise(latents: torch.Tensor, offset: float, random: BatchRandom) -> torch.Tensor:
    """Standard normal noise for latents (B, C, H, W), and `offset` times more that is constant in each channel."""
    noise = random.normal(*latents.shape[1:])
    if offset > 0:
        noise = noise + offset * random.normal(noise.shape[1], 1, 1)
    return noise


def perturb_noise(noise: torch.Tensor, amount: float, random: BatchRandom) -> torch.Tensor:
    """The noise that is added to latents: with `amount` times more than the target has (Ning et al. 2023)."""
    return noise + amount * random.normal(*noise.shape[1:]) if amount > 0 else noise
