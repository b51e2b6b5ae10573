"""The contracts of the pipeline: what is bit-equal to what, and which row belongs to which prompt."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from small_calls import generator

from diffusers_handiffuser import HanDiffuserPipeline, HanDiffuserPipelineOutput, HandParams
from diffusers_handiffuser.pipelines import HandConditioningMixin


@pytest.fixture
def stable_diffusion(picture_components, clip_text_model, make_pipe):
    pipe = StableDiffusionPipeline(
        **picture_components,
        text_encoder=clip_text_model,
        scheduler=make_pipe().scheduler,
        safety_checker=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def same_hands(a: HandParams, b: HandParams) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in HandParams.FIELDS)


class TestSignature:
    def test_stable_diffusions_arguments_come_first_and_in_its_order(self):
        ours = list(inspect.signature(HanDiffuserPipeline.__call__).parameters)
        theirs = list(inspect.signature(StableDiffusionPipeline.__call__).parameters)
        assert ours[: len(theirs) - 1] == theirs[:-1]
        assert ours[len(theirs) - 1 : -1] == [
            "hand_params",
            "num_hand_inference_steps",
            "hand_guidance_scale",
            "hand_conditioning_scale",
            "hand_generator",
            "hand_callback_on_step_end",
            "framing",
        ]

    def test_constructor_starts_as_stable_diffusions(self):
        ours = list(inspect.signature(HanDiffuserPipeline.__init__).parameters)
        theirs = list(inspect.signature(StableDiffusionPipeline.__init__).parameters)
        assert ours[: len(theirs) - 1] == theirs[:-1]

    def test_encode_prompt_says_in_its_source_what_it_returns(self):
        source = inspect.getsource(HanDiffuserPipeline.encode_prompt)
        assert source.count("return ") == 1
        assert source.rstrip().endswith("return prompt_embeds, negative_prompt_embeds")


class TestOutput:
    def test_positions_keep_stable_diffusions_meaning(self, pipe):
        out = pipe("a hand", generator=generator(), output_type="np")
        assert isinstance(out, HanDiffuserPipelineOutput)
        assert out[0] is out.images and out[1] is None and out[2] is out.hand_params
        assert out.images.shape == (1, 16, 16, 3) and np.isfinite(out.images).all()
        assert out.hand_params.batch_shape == (1,) and out.hand_params.device.type == "cpu"

    def test_tuple(self, pipe):
        out = pipe("a hand", generator=generator(), output_type="np")
        images, nsfw, hand_params = pipe("a hand", generator=generator(), output_type="np", return_dict=False)
        assert np.array_equal(images, out.images) and nsfw is None and same_hands(hand_params, out.hand_params)

    @pytest.mark.parametrize("output_type", ["pil", "pt", "latent"])
    def test_output_types(self, pipe, output_type):
        out = pipe("a hand", output_type=output_type)
        assert len(out.images) == 1

    def test_height_and_width(self, pipe):
        assert pipe("a hand", height=24, width=16, output_type="np").images.shape == (1, 24, 16, 3)


class TestNoHands:
    """Text only is Stable Diffusion, bit for bit."""

    @pytest.mark.parametrize(
        "arguments", [{}, {"negative_prompt": "a foot"}, {"clip_skip": 1}, {"guidance_scale": 1.0}]
    )
    def test_scale_zero_is_stable_diffusion(self, pipe, stable_diffusion, arguments):
        common = {"num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "np", **arguments}
        if "clip_skip" in arguments:  # transformers' CLIPTextModel has no `text_model` any more, which diffusers reads
            stable_diffusion.text_encoder = pipe.text_encoder
        theirs = stable_diffusion("a hand", generator=generator(), **common).images
        ours = pipe("a hand", generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, theirs)
        assert ours.hand_params is None

    def test_without_stage_1_is_stable_diffusion(self, text_only_pipe, stable_diffusion):
        common = {"num_inference_steps": 2, "num_images_per_prompt": 2, "output_type": "np"}
        theirs = stable_diffusion(["a hand", "two"], generator=generator(), **common).images
        ours = text_only_pipe(["a hand", "two"], generator=generator(), **common)
        assert np.array_equal(ours.images, theirs)
        assert ours.hand_params is None

    def test_scale_zero_ignores_given_hands(self, pipe, hands):
        given = pipe(
            "a hand", generator=generator(), hand_params=hands[0], hand_conditioning_scale=0, output_type="np"
        )
        assert given.hand_params is None
        plain = pipe("a hand", generator=generator(), hand_conditioning_scale=0, output_type="np")
        assert np.array_equal(given.images, plain.images)

    def test_stage_1_does_not_run(self, pipe):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        pipe("a hand", hand_conditioning_scale=0, hand_callback_on_step_end=fail)


class TestGivenHands:
    def test_same_hands_and_seed_give_the_same_image(self, pipe):
        out = pipe("a hand", generator=generator(), output_type="np")
        again = pipe("a hand", generator=generator(), hand_params=out.hand_params, output_type="np")
        assert np.array_equal(out.images, again.images)
        assert same_hands(out.hand_params, again.hand_params)

    def test_hands_change_the_image(self, pipe, hands):
        arguments = {"prompt": "a hand", "output_type": "np"}
        a = pipe(hand_params=hands[0], generator=generator(), **arguments).images
        b = pipe(hand_params=hands[1], generator=generator(), **arguments).images
        none = pipe(hand_params=HandParams.zeros(1), generator=generator(), **arguments)
        assert not np.array_equal(a, b) and not np.array_equal(a, none.images)
        assert not none.hand_params.hand_visible.any()

    def test_one_row_per_prompt_is_repeated(self, pipe, hands):
        out = pipe(["a", "b"], num_images_per_prompt=2, hand_params=hands, generator=generator(), output_type="np")
        assert same_hands(out.hand_params, hands.repeat_interleave(2)) and len(out.images) == 4
        rows = hands.repeat_interleave(2)
        used = pipe(["a", "b"], num_images_per_prompt=2, hand_params=rows, generator=generator(), output_type="np")
        assert np.array_equal(out.images, used.images)

    def test_image_belongs_to_prompt_i_div_n(self, pipe, hands):
        """Each image of a batch is the one that its prompt, hands and generator give alone."""
        rows = HandParams.cat([hands, hands.mirror()])
        batch = pipe(
            ["a", "b"],
            negative_prompt=["x", "y"],
            num_images_per_prompt=2,
            hand_params=rows,
            generator=[generator(i) for i in range(4)],
            output_type="np",
        ).images
        for i in range(4):
            alone = pipe(
                "ab"[i // 2],
                negative_prompt="xy"[i // 2],
                hand_params=rows[i],
                generator=generator(i),
                output_type="np",
            )
            np.testing.assert_allclose(batch[i], alone.images[0], atol=1e-4)

    def test_without_stage_1(self, make_pipe, hands):
        pipe = make_pipe(text_to_hand_params=None, text_to_hand_scheduler=None)
        assert len(pipe("a hand", hand_params=hands[0]).hand_params) == 1


class TestEncodePrompt:
    def arguments(self, **changes):
        defaults = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        return {**defaults, **changes}

    def test_lengths(self, pipe, hands):
        with_hands = pipe.encode_prompt(["a", "b"], hand_params=hands, **self.arguments(num_images_per_prompt=3))
        assert [embeds.shape for embeds in with_hands] == [(6, 165, 16)] * 2
        text = pipe.encode_prompt("a", **self.arguments())
        assert [embeds.shape for embeds in text] == [(1, 77, 16)] * 2

    def test_caption_states_are_those_without_hands(self, pipe, hands):
        joint, negative = pipe.encode_prompt("a", hand_params=hands[0], negative_prompt="b", **self.arguments())
        text, negative_text = pipe.encode_prompt("a", negative_prompt="b", **self.arguments())
        torch.testing.assert_close(joint[:, 2:79], text, atol=1e-5, rtol=0)
        torch.testing.assert_close(negative[:, 2:79], negative_text, atol=1e-5, rtol=0)

    def test_negative_has_nulls_in_the_places_of_hands(self, pipe, hands):
        _, negative = pipe.encode_prompt("a", hand_params=hands[0], negative_prompt="b", **self.arguments())
        nulls = pipe.text_encoder.null_hand_states()
        assert torch.equal(torch.cat([negative[0, :2], negative[0, 79:]]), nulls)
        missing, _ = pipe.encode_prompt("b", hand_params=HandParams.zeros(1), **self.arguments())
        torch.testing.assert_close(missing, negative, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("clip_skip", [None, 1])
    def test_scale_goes_through_the_nulls(self, pipe, hands, clip_skip):
        def encode(scale):
            arguments = self.arguments(hand_conditioning_scale=scale, clip_skip=clip_skip)
            return pipe.encode_prompt(["a", "a"], hand_params=hands, **arguments)

        full, negative = encode(1.0)
        half, negative_half = encode(0.5)
        nulls = pipe.text_encoder.null_hand_states()
        assert torch.equal(negative, negative_half)
        assert torch.equal(half[:, 2:79], full[:, 2:79])
        for places, null in ((slice(0, 2), nulls[:2]), (slice(79, None), nulls[2:])):
            torch.testing.assert_close(half[:, places], null + 0.5 * (full[:, places] - null))
        left_hand = slice(79 + 43, None)
        assert torch.equal(half[1, left_hand], nulls[2 + 43 :]), "a missing hand's joints are nulls at any scale"

    def test_clip_skip(self, pipe, hands):
        last, _ = pipe.encode_prompt("a", hand_params=hands[0], **self.arguments())
        skipped, _ = pipe.encode_prompt("a", hand_params=hands[0], **self.arguments(clip_skip=1))
        text, _ = pipe.encode_prompt("a", **self.arguments(clip_skip=1))
        assert torch.equal(last[:, :2], skipped[:, :2]), "theta and M are not made by the transformer"
        torch.testing.assert_close(skipped[:, 2:79], text, atol=1e-5, rtol=0)
        assert not torch.equal(last[:, 79:], skipped[:, 79:])

    def test_embeddings_are_used_as_given(self, pipe, hands):
        embeds, negative = pipe.encode_prompt("a", hand_params=hands[0], negative_prompt="b", **self.arguments())
        reference = pipe(
            "a", negative_prompt="b", hand_params=hands[0], generator=generator(), guidance_scale=4, output_type="np"
        )
        arguments = {"generator": generator(), "guidance_scale": 4, "output_type": "np"}
        given = pipe(prompt_embeds=embeds, negative_prompt_embeds=negative, **arguments)
        assert np.array_equal(given.images, reference.images) and given.hand_params is None
        arguments["generator"] = generator()
        half_given = pipe(prompt_embeds=embeds, negative_prompt="b", **arguments)
        assert np.array_equal(half_given.images, reference.images)

    def test_embeddings_of_any_length(self, pipe):
        embeds = torch.randn(2, 7, 16, generator=generator())
        out = pipe(prompt_embeds=embeds, negative_prompt_embeds=-embeds, num_images_per_prompt=2, output_type="np")
        assert len(out.images) == 4 and out.hand_params is None
        with pytest.raises(ValueError, match="negative_prompt_embeds"):
            pipe(prompt_embeds=embeds)
        text = torch.randn(2, 77, 16, generator=generator())
        assert len(pipe(prompt_embeds=text, negative_prompt="x", output_type="np").images) == 2

    def test_negative_embeddings_beside_hands(self, pipe, hands):
        arguments = self.arguments(num_images_per_prompt=2)
        _, expected = pipe.encode_prompt(["a", "b"], hand_params=hands, negative_prompt=["c", "d"], **arguments)
        given = pipe.encode_prompt(["a", "b"], hand_params=hands, negative_prompt_embeds=expected[::2], **arguments)
        assert torch.equal(given[1], expected)
        with pytest.raises(ValueError, match="negative_prompt_embeds"):
            pipe("a", hand_params=hands[0], negative_prompt_embeds=torch.zeros(1, 77, 16))
        ignored = pipe("a", hand_params=hands[0], negative_prompt_embeds=torch.zeros(1, 77, 16), guidance_scale=1)
        assert len(ignored.images) == 1

    def test_long_prompt_is_cut_with_a_warning(self, pipe, hands, caplog):
        pipe_logger = "diffusers_handiffuser.pipelines.hand_encoding"
        import logging

        logger = logging.getLogger(pipe_logger)
        logger.addHandler(caplog.handler)
        try:
            embeds, _ = pipe.encode_prompt("hand " * 40, hand_params=hands[0], **self.arguments())
        finally:
            logger.removeHandler(caplog.handler)
        assert embeds.shape[1] == 165
        assert "truncated" in caplog.text


class TestSavedDefaults:
    def test_used_where_the_argument_is_none(self, make_pipe):
        pipe = make_pipe(default_num_inference_steps=3, default_guidance_scale=2)
        steps = []

        def callback(pipe, step, timestep, kwargs):
            steps.append(pipe.guidance_scale)
            return kwargs

        pipe("a hand", hand_conditioning_scale=0, callback_on_step_end=callback)
        assert steps == [2.0] * 3
        assert make_pipe(default_num_inference_steps=None).with_default("num_inference_steps", None) == 50
        assert pipe.with_default("guidance_scale", 1.5) == 1.5
        assert pipe.with_default("hand_guidance_scale", None) == 2.5


@pytest.mark.parametrize("scheduler_class", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_scheduler_swap(pipe, hands, scheduler_class):
    pipe.scheduler = scheduler_class.from_config(pipe.scheduler.config)
    out = pipe("a hand", hand_params=hands[0], generator=generator(), output_type="np")
    assert np.isfinite(out.images).all()


def test_image_that_is_not_finite_is_an_error_not_a_black_one(pipe, hands):
    def poison(pipe, step, timestep, kwargs):
        return {"latents": kwargs["latents"] * float("nan")}

    with pytest.raises(ValueError, match="not finite"):
        pipe("a hand", hand_params=hands[0], callback_on_step_end=poison)


def test_progress_bars_name_their_stage(pipe, capfd):
    pipe.set_progress_bar_config()
    pipe("a hand", generator=generator())
    shown = capfd.readouterr().err
    assert "hands:" in shown and "image:" in shown and shown.index("hands:") < shown.index("image:")
    pipe.set_progress_bar_config(desc="mine")
    pipe("a hand", generator=generator())
    shown = capfd.readouterr().err
    assert "mine" in shown and "hands:" not in shown
    assert pipe._progress_bar_config == {"desc": "mine"}


class HanDiffuserImg2ImgPipeline(HandConditioningMixin, StableDiffusionImg2ImgPipeline):
    """The mixin knows nothing of text-to-image."""

    @torch.no_grad()
    def __call__(self, prompt, image, guidance_scale=5.0, generator=None, **kwargs):
        self._guidance_scale = guidance_scale
        embeds, negative_embeds, hands = self.encode_hand_conditioning(
            prompt, 1, self.do_classifier_free_guidance, generator=generator
        )
        images = super().__call__(
            prompt_embeds=embeds,
            negative_prompt_embeds=negative_embeds,
            image=image,
            guidance_scale=guidance_scale,
            generator=generator,
            **kwargs,
        )[0]
        return images, hands


def test_mixin_before_another_pipeline(pipe):
    other = HanDiffuserImg2ImgPipeline.from_pipe(pipe)
    assert other.text_to_hand_params is pipe.text_to_hand_params
    picture = torch.rand(1, 3, 16, 16, generator=generator())
    images, hands = other("a hand", picture, generator=generator(), num_inference_steps=4, output_type="np")
    assert images.shape == (1, 16, 16, 3) and hands.batch_shape == (1,)
    assert same_hands(hands, pipe.sample_hand_params("a hand", hand_generator=generator()))
