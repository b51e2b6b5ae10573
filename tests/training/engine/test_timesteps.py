"""Timesteps of training batches, and weights of their losses."""

import pytest
import torch
from diffusers import DDPMScheduler

from diffusers_handiffuser.training.engine.timesteps import TimestepSampler, min_snr_weights
from diffusers_handiffuser.training.hand_params_to_image import trainer as hand_params_to_image


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


def test_timestep_bias():
    def chances(*options):
        loss = hand_params_to_image.parse_args(
            ["--train_data_dir", "d", "--output_dir", "o", "--max_train_steps", "1", "--pretrained_model_name_or_path",
             "sd", *options]
        ).loss  # fmt: skip
        cumulative = TimestepSampler(1000, loss).cumulative
        return cumulative.diff(prepend=torch.zeros(1))

    assert torch.allclose(chances(), torch.full((1000,), 1e-3), atol=1e-6)
    bias = ("--timestep_bias_multiplier", "4", "--timestep_bias_portion", "0.2")
    later = chances("--timestep_bias_strategy", "later", *bias)
    assert later[800:].sum().item() == pytest.approx(0.5, abs=1e-4)
    assert later[:800].max() < later[800:].min() and later.sum().item() == pytest.approx(1, abs=1e-5)
    earlier = chances("--timestep_bias_strategy", "earlier", *bias)
    assert torch.allclose(earlier, later.flip(0), atol=1e-6)
    with pytest.raises(SystemExit):
        chances("--timestep_bias_multiplier", "0")
