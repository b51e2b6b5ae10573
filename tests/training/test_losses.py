import pytest
import torch
from diffusers import DDPMScheduler

from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.hands.kinematics import HandJoints
from diffusers_handiffuser.hands.rotations import rotvec_to_rotmat
from diffusers_handiffuser.hands.skeleton import OPENPOSE_FROM_MANO
from diffusers_handiffuser.training.engine.timesteps import min_snr_weights
from diffusers_handiffuser.training.vae.objective import pyramid_l1


def test_hand_joints_are_those_of_the_body_model():
    generator = torch.Generator().manual_seed(0)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "betas")
    values = {name: 0.4 * torch.randn(3, HandParams.FIELDS[name], generator=generator) for name in names}
    hands = HandParams.zeros(3).replace(**values)
    body_model = HandBodyModel.procedural()
    joints = HandJoints(body_model)(rotvec_to_rotmat(hands.full_pose), hands.betas)[:, :, list(OPENPOSE_FROM_MANO)]
    assert (joints - body_model(hands).joints_3d).norm(dim=-1).max() < 1e-3


def test_pyramid_sees_edges_that_l1_does_not():
    shift = torch.full((1, 3, 16, 16), 0.1)
    edges = 0.1 * torch.ones(16)
    edges[::2] *= -1
    edges = edges.expand(1, 3, 16, 16)
    flat = torch.zeros(1, 3, 16, 16)
    assert pyramid_l1(flat, flat).item() == 0
    assert pyramid_l1(shift, flat).item() == pytest.approx(0.1)
    assert pyramid_l1(edges, flat).item() == pytest.approx(0.2)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weights_clip_the_same_loss(prediction_type):
    scheduler = DDPMScheduler(prediction_type=prediction_type)
    timesteps = torch.tensor([0, 100, 400, 900])
    assert torch.equal(min_snr_weights(scheduler, timesteps, None), torch.ones(4))
    clean, noise, error = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    signal, sigma = scheduler.alphas_cumprod[timesteps].sqrt(), (1 - scheduler.alphas_cumprod[timesteps]).sqrt()
    noisy = signal * clean + sigma * noise
    wrong = {"sample": clean + error, "epsilon": (noisy - signal * (clean + error)) / sigma}
    wrong["v_prediction"] = signal * wrong["epsilon"] - sigma * wrong["sample"]
    right = {"sample": clean, "epsilon": noise, "v_prediction": scheduler.get_velocity(clean, noise, timesteps)}
    errors = wrong[prediction_type] - right[prediction_type]
    loss = min_snr_weights(scheduler, timesteps, 5.0) * errors.square()
    assert torch.allclose(loss, (signal / sigma).square().clamp(max=5) * error.square(), rtol=1e-3)


def test_min_snr_weights_at_zero_terminal_snr():
    scheduler = DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert torch.isfinite(min_snr_weights(scheduler, torch.tensor([999]), 5.0)).all()
