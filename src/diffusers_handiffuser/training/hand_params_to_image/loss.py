"""Stage 2's loss: the U-Net's prediction for noisy latents, given caption and hands, some of them dropped."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import reduce
from diffusers import ConfigMixin, DDPMScheduler, ModelMixin, UNet2DConditionModel
from torch import nn

from ...utils.typing import register_to_config
from ...hands.palms import palm_share
from ...hands.skeleton import OPENPOSE_HAND_NAMES
from ...models import TextHandEncoder
from ...models.text_hand_encoder import NUM_JOINT_STATES
from ..engine.losses import min_snr_weights
from ..engine.randomness import BatchRandom

Batch = dict[str, torch.Tensor]
NUM_HAND_JOINTS = len(OPENPOSE_HAND_NAMES)


class JointFinder(ModelMixin, ConfigMixin):
    """Reads where the joints of both hands are, and whether their palm is seen, from features of the U-Net; the former
    from the joints' own states, too.

    It has no layers to speak of, so what it can read lies open there. Wanted in training alone.

    Args:
        channels (`int`): of the features.
        hidden_size (`int`): width of the states.
        size (`int`, defaults to 32): how many places it tells apart along x and along y, from the states.
        palms (`bool`, defaults to `False`): whether it reads palms; a layer that no loss asks would never get the
            optimiser's state, which FSDP insists on when a run is resumed.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, channels: int, hidden_size: int, size: int = 32, palms: bool = False):
        super().__init__()
        self.gradient_checkpointing = False  # may be switched on with that of the U-Net; there is nothing to save here
        self.norm = nn.GroupNorm(1, channels)
        self.over = nn.Conv2d(channels, 2 * NUM_HAND_JOINTS, 1)
        self.along = nn.Linear(hidden_size, 2 * size)
        self.palm = nn.Conv2d(channels, 2, 1) if palms else None

    def forward(self, features: torch.Tensor, states: torch.Tensor | None = None) -> "JointLogits":
        """Features (B, C, H, W) and, where they are told, states (B, N, D) of caption and hands to logits."""
        features = self.norm(features.float())
        over = self.over(features).unflatten(1, (2, NUM_HAND_JOINTS))
        palm = None if self.palm is None else self.palm(features)
        if states is None:
            return JointLogits(over, None, palm)
        # The right hand's come first; of each hand a marker, then x and y of every joint.
        joint_states = states[:, -NUM_JOINT_STATES:].unflatten(1, (2, -1)).flip(1)[:, :, 2::2]
        return JointLogits(over, self.along(joint_states.float()).unflatten(-1, (2, -1)), palm)


class JointLogits(NamedTuple):
    """Where joints are: `over` the latents' positions (B, 2, 21, H, W), and `along` x and y (B, 2, 21, 2, size); and
    whether the `palm` of a hand is seen at each position (B, 2, H, W)."""

    over: torch.Tensor
    along: torch.Tensor | None
    palm: torch.Tensor | None = None


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


@contextlib.contextmanager
def last_features(unet: UNet2DConditionModel) -> Iterator[list[torch.Tensor]]:
    """While it is open, the list gets what comes into the U-Net's last block, which is as large as the latents."""
    features: list[torch.Tensor] = []
    hook = unet.up_blocks[-2].register_forward_hook(lambda *call: features.append(call[-1]))
    try:
        yield features
    finally:
        hook.remove()


def new_joint_finder(unet: UNet2DConditionModel, palms: bool = False) -> JointFinder:
    """One for the U-Net's `last_features`."""
    return JointFinder(unet.config.block_out_channels[1], unet.config.cross_attention_dim, palms=palms)


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


def prediction_target(
    scheduler: Any, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the U-Net is to predict: the velocity or the noise, as the scheduler's `prediction_type` says."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(clean, noise, timesteps)
    return noise


class TimestepBalance:
    """Weights with which every range of timesteps counts about the same in the loss.

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
        """Weights (B,) of rows with these timesteps (B,) and losses (B,), which the means then know, too."""
        ranges = (timesteps * self.num_ranges).div(self.num_timesteps, rounding_mode="floor")
        new = torch.zeros_like(self.sums)
        new.index_add_(1, ranges, torch.stack([losses.float(), torch.ones_like(losses, dtype=torch.float32)]))
        new = reduce(new, "sum")
        self.sums = self.sums * (1 - 1 / self.memory) ** new[1].sum() + new
        total, number = self.sums
        overall = total.sum() / number.sum()
        means = (total + overall) / (number + 1)  # one more, average row: what has not been drawn yet is average
        return (overall / means)[ranges]

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"sums": self.sums}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.sums = state["sums"].to(self.sums.device)


def joint_cross_entropy(
    logits: JointLogits, joints_2d: torch.Tensor, visible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropies, in nats, of where the visible hands' joints are: over the latents, and along x and y.

    A joint's place is shared out to the positions around it, as in bilinear interpolation. Joints outside of the
    picture do not count. Every joint of all processes' rows counts the same, so all of them have to come here. The
    second is 0 where there are no logits of it.

    Args:
        logits (`JointLogits`): of B rows.
        joints_2d (`torch.Tensor` of shape (B, 2, 21, 2)): in [-1, 1], x to the right and y down.
        visible (`torch.Tensor` of shape (B, 2), bool).
    """
    counted = _counted(joints_2d, visible)
    x, y = _shares(joints_2d[..., 0], logits.over.shape[-1]), _shares(joints_2d[..., 1], logits.over.shape[-2])
    found = logits.over.flatten(-2).float().log_softmax(-1)
    over = (found * (y[..., :, None] * x[..., None, :]).flatten(-2)).sum(-1)
    if logits.along is None:
        along = torch.zeros_like(over)
    else:
        along = (logits.along.float().log_softmax(-1) * _shares(joints_2d, logits.along.shape[-1])).sum((-2, -1))
    return _mean_over(counted, -over), _mean_over(counted, -along)


def palm_cross_entropy(logits: torch.Tensor, joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, in nats, of whether the palm of visible hands is seen, read at their joints.

    It is 0.69 where nothing is known. See `joint_cross_entropy` for which joints count.

    Args:
        logits (`torch.Tensor` of shape (B, 2, H, W)): of each hand's palm over the latents.
        joints_2d, visible: as there.
    """
    wanted = palm_share(joints_2d)[..., None].expand(joints_2d.shape[:-1])
    x, y = _shares(joints_2d[..., 0], logits.shape[-1]), _shares(joints_2d[..., 1], logits.shape[-2])
    read = torch.einsum("bshw,bsjh,bsjw->bsj", logits.float(), y, x)
    errors = nn.functional.binary_cross_entropy_with_logits(read, wanted, reduction="none")
    return _mean_over(_counted(joints_2d, visible), errors)


def _counted(joints_2d: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """(B, 2, 21): those of visible hands that lie in the picture."""
    return visible[..., None] & (joints_2d.abs() <= 1).all(-1)


def _mean_over(counted: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Over the joints that count, of all processes."""
    number = reduce(counted.sum().float(), "mean").clamp(min=1e-6)  # fewer than 1 where another process has them
    return (values * counted).sum() / number


def _shares(coordinates: torch.Tensor, size: int) -> torch.Tensor:
    """Of the `size` positions along an axis (..., size) in coordinates (...) in [-1, 1]: linear interpolation."""
    places = ((coordinates.float() + 1) / 2 * size - 0.5).clamp(0, size - 1)
    return (1 - (places[..., None] - torch.arange(size, device=places.device)).abs()).clamp(min=0)


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
