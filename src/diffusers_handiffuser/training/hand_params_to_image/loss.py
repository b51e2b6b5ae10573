"""Stage 2's loss: the U-Net's prediction for noisy latents, given caption and hands, some of them dropped."""

import argparse
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn

from ...models import TextHandEncoder
from ..engine.randomness import BatchRandom
from ..engine.timesteps import TimestepBalance, min_snr_weights, prediction_target, timestep_chances
from .joint_head import JointFinder, JointLogits, joint_cross_entropy, last_features, near_hands, palm_cross_entropy

Batch = dict[str, torch.Tensor]


class ImageObjective(nn.Module):
    """The U-Net's prediction for noisy latents, given tokens and hands.

    Args:
        unet, text_encoder: of stage 2.
        joint_finder (`JointFinder`, *optional*): reads the features that come into the U-Net's last block, and the
            states of joints where there are any; with it the result is a pair of the prediction and its logits.
    """

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: TextHandEncoder, joint_finder: JointFinder | None = None
    ):
        super().__init__()
        self.unet, self.text_encoder, self.joint_finder = unet, text_encoder, joint_finder

    def forward(
        self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor, **hands: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, JointLogits]:
        states = self.text_encoder(input_ids, **hands).last_hidden_state
        if self.joint_finder is None:
            return self.unet(noisy_latents, timesteps, states).sample
        with last_features(self.unet) as features:
            prediction = self.unet(noisy_latents, timesteps, states).sample
        told = bool(hands) and "joints_2d" in self.text_encoder.hand_representations
        return prediction, self.joint_finder(features[0], states if told else None)


class ImageLoss:
    """The training loss of a batch, and its errors at given noise.

    Args:
        args (`argparse.Namespace`): the trainer's options.
        noise_scheduler (`DDPMScheduler`): with the prediction type that is trained.
        empty_ids (`torch.Tensor` of shape (1, 77)): tokens of "".
        device (`torch.device`): of the batches.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        noise_scheduler: DDPMScheduler,
        empty_ids: torch.Tensor,
        device: torch.device,
    ):
        self.args, self.empty_ids = args, empty_ids.to(device)
        self.noise_scheduler: Any = noise_scheduler  # whose hints ask for timesteps of 32 bits
        self.num_timesteps = noise_scheduler.config.num_train_timesteps
        self.chances = timestep_chances(args, self.num_timesteps).to(device)
        self.balance = TimestepBalance(self.num_timesteps, device) if args.balance_timesteps else None

    def keep_in_checkpoints(self, accelerator: Accelerator) -> None:
        """Has checkpoints hold what the loss remembers of earlier steps; call it before a `TrainingRun` is made."""
        if self.balance is not None:
            accelerator.register_for_checkpointing(self.balance)

    def __call__(self, objective: nn.Module, batch: Batch, random: BatchRandom) -> Batch:
        """Scalars "loss" and "mse" (without weights) of a batch of rows."""
        args, where = self.args, None
        if args.hand_loss_weight > 0:
            near = near_hands(batch["hand_joints_2d"], batch["hand_visible"], batch["latents"].shape[-1])
            where = 1 + args.hand_loss_weight * near
        text_only = random.one_uniform() < args.text_only_steps
        batch = drop_conditions(batch, random.uniform(), self.empty_ids, args.condition_dropout, args.hand_dropout)
        if args.joint_jitter > 0:
            amount = args.joint_jitter * random.uniform(1, 1, 1)
            batch["hand_joints_2d"] = batch["hand_joints_2d"] + amount * random.normal(2, 21, 2)
        noise = random.normal(*batch["latents"].shape[1:])
        if args.noise_offset > 0:
            noise = noise + args.noise_offset * random.normal(noise.shape[1], 1, 1)
        timesteps = random.integers(self.num_timesteps)
        if args.timestep_bias_strategy != "none":
            timesteps = torch.searchsorted(self.chances, random.uniform()).clamp(max=self.num_timesteps - 1)
        added = noise
        if args.input_perturbation > 0:
            added = noise + args.input_perturbation * random.normal(*noise.shape[1:])
        errors, joint_logits = self.predict(objective, batch, noise, timesteps, text_only, added)
        weights = min_snr_weights(self.noise_scheduler, timesteps, args.snr_gamma).view(-1, 1, 1, 1)
        if where is not None:
            weights = weights * where
        rows = (errors * weights).mean((1, 2, 3))
        if self.balance is not None:
            rows = rows * self.balance(timesteps, rows.detach())
        loss = rows.mean()
        scalars = {"loss": loss, "mse": errors.mean()}
        if joint_logits is not None:
            over, along = joint_cross_entropy(joint_logits, batch["hand_joints_2d"], batch["hand_visible"])
            joint_loss = args.joint_loss_weight * (over + along)
            scalars |= {"loss": loss + joint_loss, "joints": over, "joint_states": along}
            if joint_logits.palm is not None:
                palm = palm_cross_entropy(joint_logits.palm, batch["hand_joints_2d"], batch["hand_visible"])
                scalars |= {"loss": scalars["loss"] + args.palm_loss_weight * palm, "palm": palm}
        return scalars

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
        """Squared errors (B, C, H, W), and what the objective's joint finder says, if it has one.

        `added` is the noise in the latents if it is not that of the target.
        """
        clean = batch["latents"]
        noisy = self.noise_scheduler.add_noise(clean, noise if added is None else added, timesteps)
        target = prediction_target(self.noise_scheduler, clean, noise, timesteps)
        hands = {} if text_only else {name: value for name, value in batch.items() if name.startswith("hand_")}
        predicted = objective(noisy, timesteps, batch["input_ids"], **hands)
        prediction, joint_logits = predicted if isinstance(predicted, tuple) else (predicted, None)
        return (prediction.float() - target).square(), joint_logits


def drop_conditions(
    batch: Batch,
    chance: torch.Tensor,
    empty_ids: torch.Tensor,
    condition_dropout: float,
    hand_dropout: float,
) -> Batch:
    """Rows with chance < condition_dropout lose caption and hands, the next `hand_dropout` of them the hands alone."""
    everything = chance < condition_dropout
    hands = chance < condition_dropout + hand_dropout
    return {
        **batch,
        "input_ids": torch.where(everything[:, None], empty_ids, batch["input_ids"]),
        "hand_visible": batch["hand_visible"] & ~hands[:, None],
    }
