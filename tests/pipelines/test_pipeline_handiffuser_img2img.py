"""Image-to-image: Stable Diffusion's without hands, the same hands as text-to-image with them, and shared parts."""

import inspect

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    StableDiffusionImg2ImgPipeline,
)
from small_calls import generator, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
    HanDiffuserPipelineOutput,
    HandParams,
    TextHandEncoder,
)
from diffusers_handiffuser.pipelines.hand_conditioning import HAND_COMPONENTS

FAMILY = {
    HanDiffuserPipeline: AutoPipelineForText2Image,
    HanDiffuserImg2ImgPipeline: AutoPipelineForImage2Image,
    HanDiffuserInpaintPipeline: AutoPipelineForInpainting,
}


@pytest.fixture
def img2img(pipe):
    return quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))


@pytest.fixture
def stable_diffusion(picture_components, clip_text_model, pipe):
    return quiet(
        StableDiffusionImg2ImgPipeline(
            **picture_components,
            text_encoder=clip_text_model,
            scheduler=pipe.scheduler,
            safety_checker=None,
            requires_safety_checker=False,
        )
    )


def same_hands(a: HandParams, b: HandParams) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in HandParams.FIELDS)


def test_signature_starts_as_stable_diffusions():
    ours = list(inspect.signature(HanDiffuserImg2ImgPipeline.__call__).parameters)
    theirs = list(inspect.signature(StableDiffusionImg2ImgPipeline.__call__).parameters)
    assert ours[: len(theirs) - 1] == theirs[:-1]
    text_to_image = list(inspect.signature(HanDiffuserPipeline.__call__).parameters)
    assert ours[len(theirs) - 1 :] == text_to_image[text_to_image.index("hand_params") :]


class TestNoHands:
    """Text only is Stable Diffusion, bit for bit."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"strength": 0.5, "negative_prompt": "a foot"},
            {"guidance_scale": 1.0, "eta": 0.5},
            {"num_images_per_prompt": 2},
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*initial images:FutureWarning")
    def test_scale_zero_is_stable_diffusion(self, img2img, stable_diffusion, arguments):
        common = {
            "image": random_image(),
            "num_inference_steps": 4,
            "output_type": "np",
            "guidance_scale": 5.0,
            **arguments,
        }
        theirs = stable_diffusion("a hand", generator=generator(), **common).images
        ours = img2img("a hand", generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, theirs) and ours.hand_params is None

    @pytest.mark.parametrize("kind", ["np", "pt", "latents", "list"])
    def test_forms_of_the_image(self, img2img, stable_diffusion, kind):
        pixels = np.asarray(random_image()).astype(np.float32) / 255
        image = {
            "np": pixels[None],
            "pt": torch.from_numpy(pixels).permute(2, 0, 1),
            "latents": torch.randn(1, 4, 8, 8, generator=generator()),
            "list": [random_image(), random_image(1)],
        }[kind]
        prompt = ["a hand", "two"] if kind == "list" else "a hand"
        common = {"image": image, "num_inference_steps": 4, "output_type": "np"}
        theirs = stable_diffusion(prompt, generator=generator(), **common).images
        ours = img2img(prompt, generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, theirs)

    def test_without_stage_1_is_stable_diffusion(self, text_only_pipe, stable_diffusion):
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(text_only_pipe))
        common = {"image": random_image(), "num_inference_steps": 4, "output_type": "np"}
        theirs = stable_diffusion("a hand", generator=generator(), **common).images
        assert np.array_equal(img2img("a hand", generator=generator(), **common).images, theirs)


class TestHands:
    def test_sampled_hands_are_those_of_text_to_image(self, pipe, img2img):
        out = img2img("a hand", image=random_image(), generator=generator(), num_inference_steps=4)
        assert isinstance(out, HanDiffuserPipelineOutput) and out.images[0].size == (16, 16)
        assert same_hands(out.hand_params, pipe.sample_hand_params("a hand", hand_generator=generator()))

    def test_hands_change_the_image_and_are_returned(self, img2img, hands):
        common = {"prompt": "a hand", "image": random_image(), "num_inference_steps": 4, "output_type": "np"}
        images, nsfw, used = img2img(hand_params=hands[0], generator=generator(), return_dict=False, **common)
        other = img2img(hand_params=hands[1], generator=generator(), **common)
        assert not np.array_equal(images, other.images) and nsfw is None
        assert same_hands(used, hands[:1])

    def test_result_belongs_to_prompt_and_image_i_div_n(self, img2img, hands):
        rows = HandParams.cat([hands, hands.mirror()])
        common = {"num_inference_steps": 4, "output_type": "np", "strength": 0.5}
        pictures = [random_image(0), random_image(1)]
        batch = img2img(
            ["a", "b"],
            image=pictures,
            num_images_per_prompt=2,
            hand_params=rows,
            generator=[generator(i) for i in range(4)],
            **common,
        ).images
        for i in range(4):
            alone = img2img(
                "ab"[i // 2], image=pictures[i // 2], hand_params=rows[i], generator=generator(i), **common
            ).images
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-4)

    def test_defaults_of_the_checkpoint(self, make_pipe, hands):
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(make_pipe(default_num_inference_steps=4)))
        steps = []

        def count(pipe, step, timestep, kwargs):
            steps.append(step)
            return kwargs

        img2img("a hand", image=random_image(), hand_params=hands[0], strength=0.5, callback_on_step_end=count)
        assert steps == [0, 1]


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            ({"image": None}, "`image`.*NoneType"),
            ({"image": []}, "`image`.*empty"),
            ({"image": [random_image(), np.zeros((16, 16, 3))]}, "`image`.*Image and ndarray"),
            ({"image": [np.zeros((16, 16, 3)), np.zeros((16, 18, 3))]}, "`image`.*one size"),
            ({"image": np.zeros((16, 16))}, "`image`.*dimensions"),
            ({"image": np.zeros((16, 16, 3), np.uint8)}, "`image`.*floating-point"),
            ({"image": np.full((16, 16, 3), np.nan)}, "`image`.*finite"),
            ({"image": [random_image()] * 3}, r"`image`.*\(1, 2\), got 3"),
            ({"strength": 1.5}, "`strength`"),
            ({"strength": -0.5}, "`strength`"),
            ({"strength": 0.1}, "`strength` 0.1 leaves none of the 4"),
            ({"num_inference_steps": 0}, "`num_inference_steps`"),
            ({"guidance": 3}, "guidance"),
            ({"image": random_image(width=17)}, "`image` must have sides divisible by 2, .*got 17 x 16 pixels"),
            ({"image": np.zeros((15, 16, 3))}, "`image` must have sides divisible by 2, .*got 16 x 15 pixels"),
            ({"image": torch.zeros(3, 16, 19)}, "`image` must have sides divisible by 2, .*got 19 x 16 pixels"),
            ({"guidance_scale": float("nan")}, "`guidance_scale`"),
        ],
    )
    def test_is_named_before_anything_runs(self, img2img, arguments, words):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        defaults = {"prompt": ["a", "b"], "image": random_image(), "num_inference_steps": 4}
        with pytest.raises((ValueError, TypeError), match=words):
            img2img(hand_callback_on_step_end=fail, **{**defaults, **arguments})

    def test_rgba_is_not_taken_for_latents(self, img2img, hands):
        common = {"hand_params": hands[0], "num_inference_steps": 4, "output_type": "np"}
        rgb = img2img("a hand", image=random_image(), generator=generator(), **common).images
        rgba = img2img("a hand", image=random_image().convert("RGBA"), generator=generator(), **common).images
        assert np.array_equal(rgb, rgba)

    def test_phone_photos_are_turned_upright(self, img2img, hands):
        """Hands that are fitted to a photograph lie on it as people see it."""
        common = {"hand_params": hands[0], "num_inference_steps": 4, "output_type": "np"}
        photo = random_image().transpose(PIL.Image.Transpose.ROTATE_90)
        exif = PIL.Image.Exif()
        exif[PIL.ExifTags.Base.Orientation] = 6
        photo.info["exif"] = exif.tobytes()
        upright, turned = (
            img2img("a hand", image=image, generator=generator(), **common).images for image in (random_image(), photo)
        )
        assert np.array_equal(upright, turned)


class TestSharing:
    @pytest.mark.parametrize("target", FAMILY)
    @pytest.mark.parametrize("source", FAMILY)
    def test_every_way_round(self, pipe, source, target):
        first = source.from_pipe(pipe)
        for found in (target.from_pipe(first), FAMILY[target].from_pipe(first)):
            assert type(found) is target
            assert set(found.components) == set(pipe.components)
            for name, component in pipe.components.items():
                assert getattr(found, name) is component, name
            assert found.with_default("num_inference_steps", None) == 2

    def test_from_stable_diffusion(self, stable_diffusion, clip_text_model):
        encoder = TextHandEncoder.from_clip(clip_text_model, hand_hidden_size=32, num_basis_points=16)
        ours = quiet(HanDiffuserImg2ImgPipeline.from_pipe(stable_diffusion, text_encoder=encoder))
        assert all(getattr(ours, name) is None for name in HAND_COMPONENTS)
        common = {"image": random_image(), "num_inference_steps": 4, "output_type": "np"}
        theirs = stable_diffusion("a hand", generator=generator(), **common).images
        assert np.array_equal(ours("a hand", generator=generator(), **common).images, theirs)

    def test_saved_pipeline_loads_as_any_of_the_family(self, pipe, tmp_path):
        HanDiffuserImg2ImgPipeline.from_pipe(pipe).save_pretrained(tmp_path)
        assert type(AutoPipelineForText2Image.from_pretrained(tmp_path)) is HanDiffuserPipeline
        assert type(HanDiffuserInpaintPipeline.from_pretrained(tmp_path)) is HanDiffuserInpaintPipeline
