"""Timesteps: sampling, loss weights, prediction targets."""

from typing import Any

import torch
from accelerate.utils import reduce
from diffusers.training_utils import compute_snr

from .options import TimestepBiasOptions
from .randomness import BatchRandom


def prediction_target(
    scheduler: Any, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """The training target for the scheduler's `prediction_type`: the velocity or the noise."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(clean, noise, timesteps)
    return noise


class TimestepBalance:
    """Weights that make every range of timesteps count about equally in the loss.

    A row's weight is the mean loss of all timesteps over that of its own range, both running means, so that the loss
    as a whole keeps its size. "Analyzing and Improving the Training Dynamics of Diffusion Models" (Karras et al. 2024)
    has a small network learn such weights; running means do not depend on the learning rate. Not of HanDiffuser's
    paper.

    Args:
        num_timesteps (`int`): of the noise schedule.
        device (`torch.device`): of the rows.
        num_ranges (`int`, defaults to 20): ranges of timesteps, equally long.
        memory (`int`, defaults to 1600): rows, of all ranges, over which the means run; 100 steps of 16.
    """

    def __init__(self, num_timesteps: int, device: torch.device, num_ranges: int = 20, memory: int = 1600):
        self.num_timesteps, self.num_ranges, self.memory = num_timesteps, num_ranges, memory
        self.sums = torch.zeros(2, num_ranges, device=device)

    def __call__(self, timesteps: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Weights (B,) of rows with these timesteps (B,) and losses (B,), after an update of the means."""
        ranges = (timesteps * self.num_ranges).div(self.num_timesteps, rounding_mode="floor")
        new = torch.zeros_like(self.sums)
        new.index_add_(1, ranges, torch.stack([losses.float(), torch.ones_like(losses, dtype=torch.float32)]))
        new = reduce(new, "sum")
        self.sums = self.sums * (1 - 1 / self.memory) ** new[1].sum() + new
        total, number = self.sums
        overall = total.sum() / number.sum()
        means = (total + overall) / (number + 1)  # with one more row of average loss in each
        return (overall / means)[ranges]

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"sums": self.sums}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.sums = state["sums"].to(self.sums.device)


class TimestepSampler:
    """Samples the timesteps of a batch, uniformly or with a bias to the noisiest or the cleanest ones.

    Args:
        num_timesteps (`int`): of the noise schedule.
        options (`TimestepBiasOptions`): "later" favours the noisiest timesteps, "earlier" the cleanest; the
            portion of the timesteps that is drawn more often; and how many times as often.
        device (`torch.device`): of the rows.
    """

    def __init__(
        self,
        num_timesteps: int,
        options: TimestepBiasOptions,
        device: torch.device | str = "cpu",
    ):
        self.num_timesteps, self.biased = num_timesteps, options.timestep_bias_strategy != "none"
        weights = torch.ones(num_timesteps, dtype=torch.float64)
        number = int(options.timestep_bias_portion * num_timesteps)
        if self.biased and number:
            later = options.timestep_bias_strategy == "later"
            weights[slice(-number, None) if later else slice(number)] *= options.timestep_bias_multiplier
        self.cumulative = (weights / weights.sum()).cumsum(0).float().to(device)

    def __call__(self, random: BatchRandom) -> torch.Tensor:
        """Timesteps (B,)."""
        timesteps = random.integers(self.num_timesteps)  # with a bias, too: resumed runs rely on the order of draws
        if self.biased:
            timesteps = torch.searchsorted(self.cumulative, random.uniform()).clamp(max=self.num_timesteps - 1)
        return timesteps


def min_snr_weights(scheduler: Any, timesteps: torch.Tensor, snr_gamma: float | None) -> torch.Tensor:
    """Weight (B,) of each row's mean squared error under the scheduler's `prediction_type`.

    "Efficient Diffusion Training via Min-SNR Weighting Strategy" (Hang et al. 2023): min(SNR, gamma) in terms of the
    clean sample, divided by SNR for epsilon and by SNR + 1 for v, as in diffusers' training scripts. None: weight 1.
    """
    if snr_gamma is None:
        return torch.ones(timesteps.shape, device=timesteps.device)
    snr = compute_snr(scheduler, timesteps)
    clipped = snr.clamp(max=snr_gamma)
    prediction_type = scheduler.config.prediction_type
    if prediction_type == "sample":
        return clipped
    if prediction_type == "v_prediction":
        return clipped / (snr + 1)
    if prediction_type == "epsilon":
        return torch.where(snr > 0, clipped / snr.clamp(min=1e-12), torch.ones_like(snr))
    raise ValueError(f"`prediction_type` must be epsilon, v_prediction or sample, but is {prediction_type}")
