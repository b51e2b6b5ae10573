"""Sampling hands: randomness, schedulers, callbacks."""

import diffusers
import numpy as np
import pytest
import torch
from small_calls import generator

from diffusers_handiffuser import HandParams
from diffusers_handiffuser.pipelines.component_checks import check_stage_1
from diffusers_handiffuser.pipelines.hand_sampling import clone_generators, encode_text_for_hands

WITH_SAMPLE_BRANCH = [
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "LMSDiscreteScheduler",
]
WITHOUT_SAMPLE_BRANCH = [
    "PNDMScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverSDEScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
]


def assert_close(a: HandParams, b: HandParams, atol: float = 1e-4) -> None:
    for name in HandParams.FIELDS:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=atol, rtol=0)


def rotation_distance(a: HandParams, b: HandParams) -> float:
    return (a.full_pose - b.full_pose).abs().max().item()


def test_rows(pipe):
    hands = pipe.sample_hand_params(["a", "b"], num_images_per_prompt=2, hand_generator=generator())
    assert isinstance(hands, HandParams) and hands.batch_shape == (4,) and hands.device.type == "cpu"
    assert pipe.sample_hand_params("a").batch_shape == (1,)


class TestRandomness:
    def test_same_seed_same_hands(self, pipe):
        a = pipe.sample_hand_params("a", hand_generator=generator(3))
        assert rotation_distance(a, pipe.sample_hand_params("a", hand_generator=generator(3))) == 0
        assert rotation_distance(a, pipe.sample_hand_params("a", hand_generator=generator(4))) > 1e-3

    @pytest.mark.parametrize("scheduler", ["DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler"])
    def test_row_does_not_depend_on_the_batch(self, pipe, scheduler):
        """Also where the scheduler draws noise in every step."""
        scheduler = getattr(diffusers, scheduler)
        pipe.text_to_hand_scheduler = scheduler.from_config(pipe.text_to_hand_scheduler.config)
        alone = pipe.sample_hand_params("a", hand_generator=generator())
        first = pipe.sample_hand_params(["a", "b", "c"], hand_generator=generator())[0:1]
        assert_close(alone, first)
        listed = pipe.sample_hand_params(["b", "a"], hand_generator=[generator(9), generator()])[1:2]
        assert_close(alone, listed)

    def test_one_generator_draws_row_after_row(self, pipe):
        shared = generator()
        a, b = (pipe.sample_hand_params(text, hand_generator=shared) for text in "ab")
        both = pipe.sample_hand_params(["a", "b"], hand_generator=generator())
        assert_close(HandParams.cat([a, b]), both)

    def test_stage_1_draws_from_a_copy_of_the_generator(self, pipe):
        expected = pipe.sample_hand_params("a", hand_generator=generator(5))
        used = generator(5)
        before = used.get_state()
        out = pipe("a", generator=used, output_type="latent", num_inference_steps=1)
        assert rotation_distance(out.hand_params, expected) == 0
        plain = generator(5)
        pipe("a", generator=plain, output_type="latent", num_inference_steps=1, hand_conditioning_scale=0)
        assert torch.equal(used.get_state(), plain.get_state()) and not torch.equal(used.get_state(), before)

    @pytest.mark.parametrize("listed", [False, True])
    def test_generator_gives_the_hands_of_a_call(self, pipe, listed):
        """And is not advanced, in contrast to `hand_generator`."""

        def same_state() -> torch.Generator | list[torch.Generator]:
            return [generator(5), generator(6)] if listed else generator(5)

        used = same_state()
        states = [g.get_state() for g in (used if listed else [used])]
        hands = pipe.sample_hand_params(["a", "b"], generator=used)
        out = pipe(["a", "b"], generator=used, output_type="latent", num_inference_steps=1)
        assert rotation_distance(hands, out.hand_params) == 0
        again = pipe.sample_hand_params(["a", "b"], generator=same_state())
        assert rotation_distance(hands, again) == 0
        pipe.sample_hand_params(["a", "b"], generator=(untouched := same_state()))
        assert all(
            torch.equal(g.get_state(), state)
            for g, state in zip(untouched if listed else [untouched], states, strict=True)
        )
        pipe.sample_hand_params("a", hand_generator=(advanced := generator(5)))
        assert not torch.equal(advanced.get_state(), generator(5).get_state())

    def test_two_kinds_of_generators_or_too_few(self, pipe):
        with pytest.raises(ValueError, match="Only one of `generator` and `hand_generator`"):
            pipe.sample_hand_params("a", generator=generator(), hand_generator=generator())
        with pytest.raises(ValueError, match="`generator`"):
            pipe.sample_hand_params(["a", "b", "c"], generator=[generator(), generator()])
        with pytest.raises(TypeError):  # by keyword alone
            pipe.sample_hand_params("a", 1, 2, 1.0, None, None, generator())

    def test_hand_generator_changes_hands_alone(self, pipe):
        a = pipe("a", generator=generator(), hand_generator=generator(1), output_type="np")
        b = pipe("a", generator=generator(2), hand_generator=generator(1), output_type="np")
        assert rotation_distance(a.hand_params, b.hand_params) == 0
        assert not np.array_equal(a.images, b.images)

    @pytest.mark.parametrize("scheduler", ["DDIMScheduler", "DDPMScheduler"])
    def test_global_random_state_is_untouched(self, pipe, scheduler):
        scheduler = getattr(diffusers, scheduler)
        pipe.text_to_hand_scheduler = scheduler.from_config(pipe.text_to_hand_scheduler.config)
        torch.manual_seed(0)
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        pipe(["a", "b"], generator=[generator(), generator(1)])
        assert torch.equal(before, torch.get_rng_state())
        assert np.array_equal(numpy_before, np.random.get_state()[1])

    def test_without_generators_the_global_state_counts(self, pipe):
        torch.manual_seed(7)
        a = pipe("a", output_type="np")
        torch.manual_seed(7)
        b = pipe("a", output_type="np")
        assert np.array_equal(a.images, b.images) and rotation_distance(a.hand_params, b.hand_params) == 0

    def test_generator_that_stands_twice_stays_one(self):
        one = generator()
        clones = clone_generators([one, one, generator()])
        assert clones[0] is clones[1] and clones[0] is not one and clones[2] is not clones[0]


class TestSchedulers:
    @pytest.mark.parametrize("name", WITH_SAMPLE_BRANCH)
    def test_with_sample_branch(self, pipe, name):
        config = pipe.text_to_hand_scheduler.config
        pipe.text_to_hand_scheduler = getattr(diffusers, name).from_config(config)
        steps = []

        def callback(pipe, step, timestep, kwargs):
            steps.append(step)

        hands = pipe.sample_hand_params(
            "a", num_hand_inference_steps=4, hand_generator=generator(), hand_callback_on_step_end=callback
        )
        assert steps == list(range(len(pipe.text_to_hand_scheduler.timesteps)))
        mean = pipe.text_to_hand_params.decode(torch.zeros(1, 327))
        assert rotation_distance(hands, mean) < 0.5, (
            "an untrained model predicts about the mean, and so do its samples"
        )

    @pytest.mark.parametrize("name", WITHOUT_SAMPLE_BRANCH)
    def test_without_sample_branch_is_refused_by_name(self, pipe, name):
        config = {k: v for k, v in pipe.text_to_hand_scheduler.config.items() if not k.startswith("_")}
        pipe.text_to_hand_scheduler = getattr(diffusers, name).from_config(config)
        before = torch.get_rng_state()
        for call in (pipe, pipe.sample_hand_params):
            with pytest.raises(ValueError, match=name):
                call("a")
        assert torch.equal(before, torch.get_rng_state()), "refused before anything is drawn"

    def test_wrong_prediction_type_is_refused(self, pipe):
        config = pipe.text_to_hand_scheduler.config
        pipe.text_to_hand_scheduler = diffusers.DDIMScheduler.from_config(config, prediction_type="epsilon")
        with pytest.raises(ValueError, match="DDIMScheduler with 'epsilon'"):
            pipe("a")

    def test_scheduler_is_not_disturbed_by_the_check(self, pipe):
        pipe.text_to_hand_scheduler.set_timesteps(17)
        check_stage_1(pipe)
        assert len(pipe.text_to_hand_scheduler.timesteps) == 17


class TestGuidance:
    def test_off_at_one_and_below(self, pipe):
        off = [pipe.sample_hand_params("a", hand_guidance_scale=s, hand_generator=generator()) for s in (1.0, 0, -2)]
        assert rotation_distance(off[0], off[1]) == rotation_distance(off[0], off[2]) == 0
        strong = pipe.sample_hand_params("a", hand_guidance_scale=50.0, hand_generator=generator())
        assert rotation_distance(off[0], strong) > 1e-5

    def test_empty_prompt_is_its_own_unconditional(self, pipe):
        a = pipe.sample_hand_params("", hand_guidance_scale=1.0, hand_generator=generator())
        b = pipe.sample_hand_params("", hand_guidance_scale=9.0, hand_generator=generator())
        assert_close(a, b)


class TestCallback:
    def test_sees_and_changes_the_sample(self, pipe):
        def to_mean(pipe, step, timestep, kwargs):
            assert kwargs["sample"].shape == (1, 327) and kwargs["sample"].dtype == torch.float32
            return {"sample": torch.zeros_like(kwargs["sample"])}

        hands = pipe.sample_hand_params("a", hand_callback_on_step_end=to_mean)
        assert rotation_distance(hands, pipe.text_to_hand_params.decode(torch.zeros(1, 327))) == 0

    def test_interrupt_ends_both_stages(self, pipe):
        seen = {"hands": 0, "picture": 0}

        def stop(pipe, step, timestep, kwargs):
            seen["hands"] += 1
            pipe._interrupt = True

        def count(pipe, step, timestep, kwargs):
            seen["picture"] += 1
            return kwargs

        out = pipe("a", hand_callback_on_step_end=stop, callback_on_step_end=count, num_hand_inference_steps=3)
        assert seen == {"hands": 1, "picture": 0}
        assert len(out.images) == 1 and pipe.interrupt
        pipe("a", callback_on_step_end=count)
        assert seen == {"hands": 1, "picture": 2} and not pipe.interrupt

    def test_interrupt_of_the_image(self, pipe):
        def stop(pipe, step, timestep, kwargs):
            pipe._interrupt = True
            return kwargs

        pipe("a", callback_on_step_end=stop)
        assert pipe.interrupt


def test_pipeline_of_stage_1_alone(make_pipe):
    """What a training run of stage 1 samples with."""
    parts = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "body_model")
    pipe = make_pipe(**dict.fromkeys(parts))
    assert pipe.sample_hand_params("a").batch_shape == (1,)


class TestText:
    def test_padding_is_masked(self, pipe):
        encode = (pipe.hand_tokenizer, pipe.hand_text_encoder)
        states, mask = encode_text_for_hands(*encode, ["a hand", ""], "cpu")
        assert states.shape == (2, 77, 16) and mask.sum(1).tolist() == [2 + 5, 2]
        alone, _ = encode_text_for_hands(*encode, ["a hand"], "cpu")
        torch.testing.assert_close(states[:1, :7], alone[:, :7], atol=1e-5, rtol=0)

    def test_has_a_tokenizer_of_its_own(self, make_pipe):
        pipe = make_pipe(tokenizer=None)
        assert pipe.sample_hand_params("a").batch_shape == (1,)

    def test_non_finite_network_is_an_error(self, make_pipe, hand_components):
        import copy

        broken = copy.deepcopy(hand_components["text_to_hand_params"])
        torch.nn.init.constant_(broken.joint_out.bias, float("nan"))
        with pytest.raises(ValueError, match="text_to_hand_params"):
            make_pipe(text_to_hand_params=broken).sample_hand_params("a")
