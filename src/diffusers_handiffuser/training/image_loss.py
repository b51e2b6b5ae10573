"""Stage 2's loss: the U-Net's prediction for noisy latents, given caption and hands, some of them dropped."""

import argparse
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn

from ..models import TextHandEncoder
from .losses import min_snr_weights
from .randomness import BatchRandom

Batch = dict[str, torch.Tensor]


class ImageObjective(nn.Module):
    """The U-Net's prediction for noisy latents, given tokens and hands."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: TextHandEncoder):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(
        self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor, **hands: torch.Tensor
    ) -> torch.Tensor:
        states = self.text_encoder(input_ids, **hands).last_hidden_state
        return self.unet(noisy_latents, timesteps, states).sample


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
        errors = self.squared_errors(objective, batch, noise, timesteps, text_only, added)
        weights = min_snr_weights(self.noise_scheduler, timesteps, args.snr_gamma).view(-1, 1, 1, 1)
        if where is not None:
            weights = weights * where
        return {"loss": (errors * weights).mean(), "mse": errors.mean()}

    def errors(self, objective: nn.Module, batch: Batch, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Mean squared error (B,) of each row."""
        return self.squared_errors(objective, batch, noise, timesteps).mean((1, 2, 3))

    def squared_errors(
        self,
        objective: nn.Module,
        batch: Batch,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        text_only: bool = False,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Squared errors (B, C, H, W); `added` is the noise in the latents if it is not that of the target."""
        clean = batch["latents"]
        noisy = self.noise_scheduler.add_noise(clean, noise if added is None else added, timesteps)
        if self.noise_scheduler.config.prediction_type == "v_prediction":
            target = self.noise_scheduler.get_velocity(clean, noise, timesteps)
        else:
            target = noise
        hands = {} if text_only else {name: value for name, value in batch.items() if name.startswith("hand_")}
        prediction = objective(noisy, timesteps, batch["input_ids"], **hands)
        return (prediction.float() - target).square()


def near_hands(joints_2d: torch.Tensor, visible: torch.Tensor, size: int) -> torch.Tensor:
    """How near each latent position (B, 1, size, size) is to a joint of a visible hand: 1 on it, 0 far away.

    Args:
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool).
        size (`int`): latent positions a side. A joint reaches about two of them far (a Gaussian of 1.5).
    """
    places = (torch.arange(size, device=joints_2d.device) + 0.5) * (2 / size) - 1
    spread = 2 * (1.5 * 2 / size) ** 2
    across, down = ((places - joints_2d[..., axis, None]).square() / spread for axis in (0, 1))
    near = torch.exp(-(across[..., None, :] + down[..., :, None])) * visible[:, :, None, None, None]
    return near.flatten(1, 2).amax(1, keepdim=True)


def timestep_chances(args: argparse.Namespace, num_timesteps: int) -> torch.Tensor:
    """Cumulative chances `(num_timesteps,)` of the timesteps; uniform unless the options ask for a bias."""
    weights = torch.ones(num_timesteps, dtype=torch.float64)
    number = int(args.timestep_bias_portion * num_timesteps)
    if args.timestep_bias_strategy != "none" and number:
        meant = slice(-number, None) if args.timestep_bias_strategy == "later" else slice(number)
        weights[meant] *= args.timestep_bias_multiplier
    return (weights / weights.sum()).cumsum(0).float()


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
