from argparse import Namespace

import torch
from diffusers import DDPMScheduler

from diffusers_handiffuser.training.image_loss import ImageLoss, near_hands
from diffusers_handiffuser.training.randomness import BatchRandom

OPTIONS = {
    "text_only_steps": 0.0,
    "condition_dropout": 0.0,
    "hand_dropout": 0.0,
    "joint_jitter": 0.0,
    "noise_offset": 0.0,
    "input_perturbation": 0.0,
    "timestep_bias_strategy": "none",
    "timestep_bias_multiplier": 1.0,
    "timestep_bias_portion": 0.25,
    "snr_gamma": None,
    "hand_loss_weight": 0.0,
}


def test_near_hands_is_one_on_the_joints_of_visible_hands():
    joints = torch.full((2, 2, 21, 2), 5.0)  # far outside
    joints[:, 0] = torch.tensor([0.25, -0.75])  # of the left hand: column 2.5 and row 0.5 of 4
    near = near_hands(joints, torch.tensor([[True, False], [False, True]]), 4)
    assert near.shape == (2, 1, 4, 4)
    assert near[0, 0].argmax().item() == 2 and near[0, 0, 0, 2] == 1
    assert 0.7 < near[0, 0, 0, 3] == near[0, 0, 1, 2] < 1 and near[0, 0, 3, 2] < 0.2
    assert near[1].max() < 1e-3


def test_weight_of_hands_counts_errors_on_them():
    joints = torch.full((1, 2, 21, 2), -0.75)
    batch = {
        "latents": torch.zeros(1, 4, 4, 4),
        "input_ids": torch.zeros(1, 77, dtype=torch.long),
        "hand_joints_2d": joints,
        "hand_visible": torch.tensor([[True, True]]),
    }

    def losses(weight: float, place: tuple[int, int]) -> tuple[float, float]:
        """With a prediction that is 1 off at one place and right elsewhere."""
        arguments = Namespace(**{**OPTIONS, "hand_loss_weight": weight})
        loss = ImageLoss(arguments, DDPMScheduler(), torch.zeros(1, 77, dtype=torch.long), torch.device("cpu"))
        wrong = torch.zeros(1, 4, 4, 4)
        wrong[:, :, *place] = 1

        def objective(noisy, timesteps, *_, **__):
            alpha = loss.noise_scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            return noisy / (1 - alpha).sqrt() + wrong

        found = loss(objective, batch, BatchRandom(torch.Generator().manual_seed(0), 1, slice(0, 1)))
        return found["loss"].item(), found["mse"].item()

    on, away = (0, 0), (3, 3)
    assert torch.allclose(torch.tensor(losses(0, on)), torch.tensor([1 / 16, 1 / 16]), atol=1e-5)
    assert torch.allclose(torch.tensor(losses(3, on)), torch.tensor([4 / 16, 1 / 16]), atol=1e-5)
    assert torch.allclose(torch.tensor(losses(3, away)), torch.tensor([1 / 16, 1 / 16]), rtol=0.15)
