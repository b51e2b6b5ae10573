"""Every scheduler of Stable Diffusion draws pictures, and every one that can step from a clean sample draws hands."""

import copy

import diffusers
import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, TCDScheduler
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.schedulers.scheduling_utils import AysSchedules
from peft import LoraConfig, get_peft_model_state_dict

from diffusers_handiffuser import HandParams, TextToHandParamsModel
from diffusers_handiffuser.models.text_to_hand_params import TextToHandParamsOutput

KARRAS = [member.name for member in KarrasDiffusionSchedulers]
PREDICTS_SAMPLE = {
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
}
LATENTS_ONLY = {"num_inference_steps": 2, "hand_conditioning_scale": 0, "output_type": "latent"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scheduler_like(config, name: str, **changes):
    """`from_config` as users call it; a config of another class may hold keys that only that one knows."""
    scheduler_class = getattr(diffusers, name)
    if name == "EDMEulerScheduler":  # its sigmas are its own, and so are the defaults of its ends
        return scheduler_class(prediction_type="epsilon", **changes)
    return scheduler_class.from_config(config, **changes)


class TestPictures:
    @pytest.mark.filterwarnings("ignore:Should have ta>=t0")  # torchsde, of rounded times
    @pytest.mark.parametrize("name", KARRAS)
    def test_every_scheduler(self, pipe, hands, name):
        pipe.scheduler = scheduler_like(pipe.scheduler.config, name)
        arguments = {"hand_params": hands[0], "num_inference_steps": 4, "output_type": "np"}
        images = pipe("a hand", generator=generator(), **arguments).images
        assert images.shape == (1, 16, 16, 3) and np.isfinite(images).all() and images.std() > 0

    def test_timesteps(self, pipe):
        pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        timesteps = AysSchedules["StableDiffusionTimesteps"]
        seen = []

        def callback(pipe, step, timestep, kwargs):
            seen.append(int(timestep))
            return kwargs

        pipe("a hand", timesteps=timesteps, callback_on_step_end=callback, **LATENTS_ONLY)
        assert seen == timesteps

    def test_sigmas(self, pipe):
        pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
        sigmas = AysSchedules["StableDiffusionSigmas"]
        pipe("a hand", sigmas=sigmas, **LATENTS_ONLY)
        torch.testing.assert_close(pipe.scheduler.sigmas, torch.tensor(sigmas))

    @pytest.mark.parametrize("argument", ["timesteps", "sigmas"])
    def test_schedulers_without_custom_schedules_say_so(self, pipe, argument):
        pipe.scheduler = diffusers.DEISMultistepScheduler.from_config(pipe.scheduler.config)
        with pytest.raises(ValueError, match="DEISMultistepScheduler.* does not support custom"):
            pipe("a hand", **{argument: [900, 500, 100]}, **LATENTS_ONLY)

    @pytest.mark.parametrize("scheduler_class", [LCMScheduler, TCDScheduler])
    @pytest.mark.parametrize("guidance_scale", [0, 1.5])
    def test_few_step_lora(self, make_pipe, picture_components, hands, scheduler_class, guidance_scale):
        """As LCM and TCD LoRAs are used: load, swap the scheduler, four steps, little or no guidance."""
        pipe = make_pipe(unet=copy.deepcopy(picture_components["unet"]))
        donor = copy.deepcopy(pipe.unet)
        torch.manual_seed(0)
        donor.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False), "lcm")
        lora = {f"unet.{key}": value for key, value in get_peft_model_state_dict(donor, adapter_name="lcm").items()}
        pipe.scheduler = scheduler_class.from_config(pipe.scheduler.config)
        arguments = {"hand_params": hands[0], "guidance_scale": guidance_scale, "num_inference_steps": 4}
        plain = pipe("a hand", generator=generator(), output_type="np", **arguments).images
        pipe.load_lora_weights(lora)
        images = pipe("a hand", generator=generator(), output_type="np", **arguments).images
        assert np.isfinite(images).all() and not np.array_equal(images, plain)
        pipe.unload_lora_weights()
        assert np.array_equal(pipe("a hand", generator=generator(), output_type="np", **arguments).images, plain)


class Gaussian(TextToHandParamsModel):
    """The best possible denoiser of samples that are normal with one mean and one deviation; needs no training.

    With x_t = a x_0 + s noise, E[x_0 | x_t] = mean + std^2 a / (std^2 a^2 + s^2) (x_t - a mean).
    """

    mean, std = 0.7, 0.4

    def forward(self, sample, timestep, encoder_hidden_states, encoder_attention_mask=None, return_dict=True):
        alphas = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
        low = int(timestep)
        share = float(timestep) - low
        log_odds = torch.log(alphas / (1 - alphas))
        square = torch.sigmoid(log_odds[low] * (1 - share) + log_odds[min(low + 1, 999)] * share)
        variance = self.std**2
        gain = variance * square.sqrt() / (variance * square + 1 - square)
        clean = self.mean + gain * (sample - square.sqrt() * self.mean)
        return TextToHandParamsOutput(sample=clean) if return_dict else (clean,)


@pytest.fixture(scope="module")
def gaussian():
    return Gaussian(hidden_size=8, num_layers=0, num_attention_heads=1, cross_attention_dim=16)


class TestHands:
    @pytest.mark.parametrize("name", sorted(PREDICTS_SAMPLE))
    def test_samples_the_distribution_that_the_network_knows(self, make_pipe, gaussian, name):
        """Sensible hands: the samples have the mean and deviation of the data, whatever way they were drawn."""
        pipe = make_pipe(text_to_hand_params=gaussian)
        pipe.text_to_hand_scheduler = scheduler_like(pipe.text_to_hand_scheduler.config, name)
        samples = {}

        def keep(pipe, step, timestep, kwargs):
            samples["last"] = kwargs["sample"]

        hands = pipe.sample_hand_params(
            "a hand",
            num_images_per_prompt=16,
            num_hand_inference_steps=40,
            hand_generator=generator(),
            hand_callback_on_step_end=keep,
        )
        assert isinstance(hands, HandParams) and hands.batch_shape == (16,)
        assert abs(samples["last"].mean().item() - gaussian.mean) < 0.03
        assert abs(samples["last"].std().item() - gaussian.std) < 0.08

    @pytest.mark.parametrize("name", [name for name in KARRAS if name not in PREDICTS_SAMPLE])
    def test_the_others_are_refused_by_name_before_anything_is_drawn(self, pipe, name):
        pipe.text_to_hand_scheduler = getattr(diffusers, name)()
        drawn = generator()
        before, global_before = drawn.get_state(), torch.get_rng_state()
        for call in (lambda: pipe("a hand", generator=drawn), lambda: pipe.sample_hand_params("a hand")):
            with pytest.raises(ValueError, match=name):
                call()
        assert torch.equal(before, drawn.get_state()) and torch.equal(global_before, torch.get_rng_state())

    def test_a_prediction_type_that_is_only_claimed_is_refused(self, pipe):
        """These take `prediction_type="sample"` from a config and fail in the middle of sampling."""
        config = {key: value for key, value in pipe.text_to_hand_scheduler.config.items() if key[0] != "_"}
        for name in ("EulerAncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "DPMSolverSDEScheduler"):
            pipe.text_to_hand_scheduler = getattr(diffusers, name).from_config(config)
            assert pipe.text_to_hand_scheduler.config.prediction_type == "sample"
            with pytest.raises(ValueError, match=name):
                pipe("a hand")

    def test_both_stages_may_have_different_schedulers(self, pipe):
        pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
        pipe.text_to_hand_scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.text_to_hand_scheduler.config)
        out = pipe("a hand", num_inference_steps=3, num_hand_inference_steps=4, output_type="np")
        assert len(pipe.scheduler.timesteps) == 3 and len(pipe.text_to_hand_scheduler.timesteps) == 4
        assert np.isfinite(out.images).all() and out.hand_params.batch_shape == (1,)
