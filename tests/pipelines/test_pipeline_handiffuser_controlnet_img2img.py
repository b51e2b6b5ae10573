"""Image to image with ControlNets: conditions follow the image, and all else is image-to-image's."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    DiffusionPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
)
from small_calls import generator, make_controlnet, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserImg2ImgPipeline,
)


@pytest.fixture(scope="session")
def controlnets(picture_components):
    return [make_controlnet(picture_components["unet"], seed) for seed in (5, 6)]


@pytest.fixture
def img2img(pipe, controlnets):
    return quiet(HanDiffuserControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnets[0]))


@pytest.fixture
def several(pipe, controlnets):
    return quiet(HanDiffuserControlNetImg2ImgPipeline.from_pipe(pipe, controlnet=controlnets))


def test_signature_starts_as_stable_diffusions():
    ours = list(inspect.signature(HanDiffuserControlNetImg2ImgPipeline.__call__).parameters)
    theirs = list(inspect.signature(StableDiffusionControlNetImg2ImgPipeline.__call__).parameters)
    hands = list(inspect.signature(HanDiffuserImg2ImgPipeline.__call__).parameters)
    assert ours == [*theirs[:-1], *hands[hands.index("hand_params") :]]


class TestNoHands:
    @pytest.mark.parametrize(
        "arguments",
        [{}, {"guess_mode": True, "height": 24, "width": 16}, {"guidance_scale": 1.0, "num_images_per_prompt": 2}],
    )
    def test_is_stable_diffusion(self, img2img, clip_text_model, arguments):
        names = ("vae", "unet", "tokenizer", "scheduler", "feature_extractor", "safety_checker", "controlnet")
        components = {name: getattr(img2img, name) for name in names}
        theirs = quiet(
            StableDiffusionControlNetImg2ImgPipeline(
                **components, text_encoder=clip_text_model, requires_safety_checker=False
            )
        )
        common = {"prompt": "a hand", "image": random_image(), "control_image": random_image(1), "strength": 0.75}
        common |= {"num_inference_steps": 4, "output_type": "np", "guidance_scale": 5.0, **arguments}
        expected = theirs(generator=generator(), **common).images
        ours = img2img(generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, expected) and ours.hand_params is None


class TestHands:
    def test_hands_image_and_condition_all_matter(self, pipe, img2img, hands):
        def draw(pipeline, row, seed, **more):
            return pipeline(
                "a hand",
                image=random_image(seed),
                hand_params=hands[row],
                strength=0.5,
                num_inference_steps=4,
                output_type="np",
                generator=generator(),
                **more,
            ).images

        first = draw(img2img, 0, 0, control_image=random_image(2))
        for row, seed, condition in ((1, 0, 2), (0, 1, 2), (0, 0, 3)):
            assert not np.array_equal(first, draw(img2img, row, seed, control_image=random_image(condition)))
        off = draw(img2img, 0, 0, control_image=random_image(2), controlnet_conditioning_scale=0.0)
        without = quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))
        np.testing.assert_allclose(off, draw(without, 0, 0), atol=1e-5)

    def test_controlnet_sees_the_caption_alone(self, img2img, hands):
        seen = []
        handle = img2img.controlnet.register_forward_hook(
            lambda module, args, kwargs, output: seen.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        try:
            img2img("a", image=random_image(), control_image=random_image(1), hand_params=hands[0], guidance_scale=1)
        finally:
            handle.remove()
        caption, _ = img2img.encode_prompt("a", "cpu", 1, False)
        assert seen
        for states in seen:
            torch.testing.assert_close(states, caption, atol=1e-5, rtol=0)
        assert not img2img.controlnet._forward_pre_hooks

    @pytest.mark.parametrize("number", [1, 2])
    def test_result_belongs_to_prompt_image_and_condition_i_div_n(self, img2img, several, hands, number):
        pipe = img2img if number == 1 else several

        def of_prompt(i):
            return [random_image(2 + i), random_image(4 + i)] if number == 2 else random_image(2 + i)

        common = {"output_type": "np", "num_inference_steps": 2, "strength": 1.0}
        batch = pipe(
            ["a", "b"],
            image=[random_image(0), random_image(1)],
            control_image=[of_prompt(0), of_prompt(1)],
            num_images_per_prompt=2,
            hand_params=hands,
            generator=[generator(i) for i in range(4)],
            **common,
        ).images
        for i in range(4):
            alone = pipe(
                "ab"[i // 2],
                image=random_image(i // 2),
                control_image=of_prompt(i // 2),
                hand_params=hands[i // 2],
                generator=generator(i),
                **common,
            ).images
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-4)

    def test_joints_are_stretched_with_the_image(self, img2img, hands):
        joints = []
        handle = img2img.text_encoder.register_forward_pre_hook(
            lambda module, args, kwargs: joints.append(kwargs.get("hand_joints_2d")), with_kwargs=True
        )
        image = random_image(height=16, width=32)
        common = {"image": image, "control_image": random_image(1), "hand_params": hands[:1], "strength": 1.0}
        try:
            out = img2img("a hand", **common)
            stretched = img2img("a hand", height=16, width=16, **common)
        finally:
            handle.remove()
        assert out.images[0].size == (32, 16) and stretched.images[0].size == (16, 16)
        own, other = (value for value in joints if value is not None)
        expected = img2img.body_model(hands[:1]).joints_2d
        assert torch.equal(own, expected)
        assert (other - expected * torch.tensor([0.5, 1.0])).abs().max() < 1e-6

    def test_latents(self, img2img, hands):
        latents = torch.randn(1, 4, 12, 8, generator=generator())
        common = {"image": latents, "control_image": random_image(1), "hand_params": hands[0], "strength": 1.0}
        assert img2img("a hand", **common).images[0].size == (16, 24)
        with pytest.raises(ValueError, match="must be those of the latents in `image`, 24 and 16, got 16 and 16"):
            img2img("a hand", height=16, width=16, **common)


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            ({"image": random_image(height=15)}, "`image` must have sides divisible by 2.*16 x 15"),
            ({"image": None}, "`image` must be PIL images"),
            ({"control_image": None}, "`control_image` must be PIL images.*NoneType"),
            ({"control_image": [random_image()] * 3}, "`control_image` must hold one image.*got 3"),
            ({"height": 16}, "`height` and `width` must come together"),
            ({"strength": 0.1, "num_inference_steps": 5}, "`strength`"),
            ({"hand_params": "fit"}, "`hand_params` must be HandParams, got 'fit'; `fit_hands"),
        ],
    )
    def test_is_named_before_anything_runs(self, img2img, arguments, words):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        common = {"prompt": "a hand", "image": random_image(), "control_image": random_image(1)}
        with pytest.raises((ValueError, TypeError), match=words):
            img2img(**{**common, "hand_callback_on_step_end": fail, **arguments})

    def test_without_one(self, img2img):
        img2img.controlnet = None
        with pytest.raises(ValueError, match="`controlnet` is needed"):
            img2img("a hand", image=random_image(), control_image=random_image())


class TestSharing:
    def test_components(self, pipe, img2img):
        assert set(img2img.components) == {*pipe.components, "controlnet"}
        found = AutoPipelineForImage2Image.from_pipe(pipe, controlnet=img2img.controlnet)
        assert type(found) is HanDiffuserControlNetImg2ImgPipeline
        assert type(AutoPipelineForImage2Image.from_pipe(found, controlnet=None)) is HanDiffuserImg2ImgPipeline

    def test_save_and_load(self, several, tmp_path, hands):
        several.save_pretrained(tmp_path)
        loaded = quiet(DiffusionPipeline.from_pretrained(tmp_path))
        assert type(loaded) is HanDiffuserControlNetImg2ImgPipeline and len(loaded.controlnet.nets) == 2
        common = {"image": random_image(), "control_image": [random_image(1), random_image(2)], "strength": 1.0}
        common |= {"prompt": "a hand", "hand_params": hands[0], "output_type": "np"}
        expected = several(generator=generator(), **common).images
        assert np.array_equal(loaded(generator=generator(), **common).images, expected)
