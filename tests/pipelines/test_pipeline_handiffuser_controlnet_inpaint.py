"""Inpainting with ControlNets: conditions are cropped and padded with the image, and all else is inpainting's."""

import inspect

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AutoPipelineForInpainting,
    DiffusionPipeline,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from small_calls import generator, make_controlnet, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)
from diffusers_handiffuser.hands.camera import square_to_pixels

HEIGHT, WIDTH = 24, 16


@pytest.fixture(scope="session")
def controlnets(picture_components):
    return [make_controlnet(picture_components["unet"], seed) for seed in (5, 6)]


@pytest.fixture(scope="session")
def nine_channel_unet(picture_components):
    torch.manual_seed(3)
    return UNet2DConditionModel.from_config({**picture_components["unet"].config, "in_channels": 9}).eval()


@pytest.fixture
def inpaint(pipe, controlnets):
    return quiet(HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnets[0]))


@pytest.fixture
def several(pipe, controlnets):
    return quiet(HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnets))


@pytest.fixture
def conditions(inpaint, several):
    """What the first ControlNet is given, call by call."""
    seen = []
    handle = inpaint.controlnet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[3] if len(args) > 3 else kwargs["controlnet_cond"]),
        with_kwargs=True,
    )
    yield seen
    handle.remove()


def image_of(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> PIL.Image.Image:
    return random_image(seed, height, width)


def box_mask(width: int = WIDTH, height: int = HEIGHT, box=(4, 6, 12, 20)) -> PIL.Image.Image:
    mask = PIL.Image.new("L", (width, height))
    mask.paste(255, box)
    return mask


def stable_diffusion(pipe, clip_text_model):
    names = ("vae", "unet", "tokenizer", "scheduler", "feature_extractor", "safety_checker", "controlnet")
    components = {name: getattr(pipe, name) for name in names}
    return quiet(
        StableDiffusionControlNetInpaintPipeline(
            **components, text_encoder=clip_text_model, requires_safety_checker=False
        )
    )


def test_signature_starts_as_stable_diffusions():
    ours = list(inspect.signature(HanDiffuserControlNetInpaintPipeline.__call__).parameters)
    theirs = list(inspect.signature(StableDiffusionControlNetInpaintPipeline.__call__).parameters)
    hands = list(inspect.signature(HanDiffuserInpaintPipeline.__call__).parameters)
    assert ours == [*theirs[:-1], *hands[hands.index("hand_params") :]]


class TestNoHands:
    @pytest.mark.parametrize("channels", [4, 9])
    @pytest.mark.parametrize(
        "arguments", [{}, {"strength": 0.5, "guess_mode": True}, {"guidance_scale": 1.0, "num_images_per_prompt": 2}]
    )
    def test_is_stable_diffusion(self, inpaint, clip_text_model, nine_channel_unet, channels, arguments):
        if channels == 9:
            inpaint.unet = nine_channel_unet
        theirs = stable_diffusion(inpaint, clip_text_model)
        common = {"prompt": "a hand", "image": image_of(), "mask_image": box_mask(), "control_image": image_of(1)}
        common |= {"num_inference_steps": 4, "output_type": "np", "guidance_scale": 5.0, **arguments}
        expected = theirs(height=HEIGHT, width=WIDTH, generator=generator(), **common).images
        whole = inpaint(generator=generator(), hand_conditioning_scale=0, keep_unmasked=False, **common)
        assert np.array_equal(whole.images, expected) and whole.hand_params is None
        ours = inpaint(generator=generator(), hand_conditioning_scale=0, **common).images
        painted = np.asarray(box_mask()) > 0
        assert np.array_equal(ours[:, painted], expected[:, painted])

    def test_crop_is_stable_diffusions(self, inpaint, clip_text_model):
        """At the U-Net's own size, which is 16 x 16 pixels here; diffusers would take that of the image."""
        theirs = stable_diffusion(inpaint, clip_text_model)
        mask = box_mask(64, 40, (20, 10, 30, 22))
        common = {"prompt": "a hand", "image": image_of(0, 64, 40), "mask_image": mask, "padding_mask_crop": 2}
        common |= {"control_image": image_of(1, 64, 40), "num_inference_steps": 2, "guidance_scale": 5.0}
        (expected,) = theirs(height=16, width=16, generator=generator(), **common).images
        ours = inpaint(generator=generator(), hand_conditioning_scale=0, keep_unmasked=False, **common).images[0]
        assert np.array_equal(np.asarray(ours), np.asarray(expected))


class TestHands:
    def test_hands_and_condition_both_matter(self, pipe, inpaint, hands):
        common = {"image": image_of(), "mask_image": box_mask(), "output_type": "np", "prompt": "a hand"}

        def draw(hand_params, seed, scale=1.0):
            return inpaint(
                control_image=image_of(seed),
                hand_params=hand_params,
                controlnet_conditioning_scale=scale,
                generator=generator(),
                **common,
            ).images

        first = draw(hands[0], 1)
        assert not np.array_equal(first, draw(hands[1], 1)) and not np.array_equal(first, draw(hands[0], 2))
        without = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        expected = without(hand_params=hands[0], generator=generator(), **common).images
        np.testing.assert_allclose(draw(hands[0], 1, scale=0.0), expected, atol=1e-5)

    def test_controlnet_sees_the_caption_alone(self, inpaint, hands):
        seen = []
        handle = inpaint.controlnet.register_forward_hook(
            lambda module, args, kwargs, output: seen.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        try:
            inpaint("a hand", image=image_of(), control_image=image_of(1), hand_params=hands[0], guidance_scale=5.0)
        finally:
            handle.remove()
        caption, negative = inpaint.encode_prompt("a hand", "cpu", 1, True)
        assert seen
        for states in seen:
            torch.testing.assert_close(states, torch.cat([negative, caption]), atol=1e-5, rtol=0)
        assert not inpaint.controlnet._forward_pre_hooks

    def test_outline_of_sampled_hands_is_the_mask(self, inpaint):
        out = inpaint("a hand", image=image_of(), control_image=image_of(1), generator=generator(), output_type="np")
        mask = np.asarray(inpaint.hand_mask(out.hand_params, HEIGHT, WIDTH)) > 0
        before = np.asarray(image_of()).astype(np.float32) / 255
        assert mask.any() and np.array_equal(out.images[0][~mask], before[~mask])

    @pytest.mark.parametrize("number", [1, 2])
    def test_result_belongs_to_prompt_image_and_condition_i_div_n(self, inpaint, several, hands, number):
        pipe = inpaint if number == 1 else several

        def of_prompt(i):
            return [image_of(2 + i), image_of(4 + i)] if number == 2 else image_of(2 + i)

        common = {"mask_image": box_mask(), "output_type": "np", "num_inference_steps": 2}
        batch = pipe(
            ["a", "b"],
            image=[image_of(0), image_of(1)],
            control_image=[of_prompt(0), of_prompt(1)],
            num_images_per_prompt=2,
            hand_params=hands,
            generator=[generator(i) for i in range(4)],
            **common,
        ).images
        for i in range(4):
            alone = pipe(
                "ab"[i // 2],
                image=image_of(i // 2),
                control_image=of_prompt(i // 2),
                hand_params=hands[i // 2],
                generator=generator(i),
                **common,
            ).images
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-4)


class TestSizes:
    @pytest.mark.parametrize("form", ["pil", "np", "pt"])
    def test_sides_are_padded_and_cut_back(self, inpaint, conditions, hands, form):
        """17 x 27 pixels become 24 x 32, multiples of 8, for image and condition; joints stay on their pixels."""
        joints, pipe = [], inpaint
        handle = pipe.text_encoder.register_forward_pre_hook(
            lambda module, args, kwargs: joints.append(kwargs.get("hand_joints_2d")), with_kwargs=True
        )
        image, condition, mask = image_of(0, 17, 27), image_of(1, 34, 54), box_mask(17, 27)
        image, condition = (
            {"pil": x, "np": y, "pt": torch.from_numpy(y).permute(2, 0, 1)}[form]
            for x, y in ((x, np.asarray(x).astype(np.float32) / 255) for x in (image, condition))
        )
        arguments = {"image": image, "control_image": condition, "mask_image": mask, "hand_params": hands[0]}
        try:
            out = pipe("a hand", output_type="np" if form == "np" else "pil", **arguments).images[0]
        finally:
            handle.remove()
        before, painted = np.asarray(image_of(0, 17, 27)), np.asarray(mask) > 0
        after = np.asarray(out)
        before = before.astype(np.float32) / 255 if form == "np" else before
        assert after.shape == (27, 17, 3) and np.array_equal(after[~painted], before[~painted])
        assert not np.array_equal(after[painted], before[painted])
        (seen, *_) = conditions
        assert seen.shape[-2:] == (32, 24) and (seen[..., 17:] == seen[..., 16:17]).all()
        assert (seen[:, :, 27:] == seen[:, :, 26:27]).all()
        if form == "pil":
            resized = np.asarray(condition.resize((17, 27), PIL.Image.Resampling.LANCZOS)) / np.float32(255)
            assert np.array_equal(seen[0, :, :27, :17].permute(1, 2, 0).numpy(), resized)
        expected = square_to_pixels(pipe.body_model(hands[:1]).joints_2d, 27, 17)
        given = next(value for value in joints if value is not None)
        assert (square_to_pixels(given, 32, 24) - expected).abs().max() < 1e-4

    def test_crop_takes_the_same_region_of_the_condition(self, inpaint, conditions, hands):
        """16 x 16 pixels at (20, 10), each of which becomes one."""
        mask, condition = box_mask(64, 40, (22, 12, 34, 24)), image_of(1, 64, 40)
        image = image_of(0, 64, 40)
        out = inpaint(
            "a hand",
            image=image,
            mask_image=mask,
            control_image=condition,
            padding_mask_crop=2,
            hand_params=hands[0],
            height=16,
            width=16,
        ).images[0]
        crop = np.asarray(condition.crop((20, 10, 36, 26))).astype(np.float32) / 255
        assert np.array_equal(conditions[0][0].permute(1, 2, 0).numpy(), crop)
        kept = np.asarray(mask) == 0
        assert out.size == image.size and np.array_equal(np.asarray(out)[kept], np.asarray(image)[kept])

    def test_another_size_stretches_all(self, inpaint, conditions, hands):
        out = inpaint(
            "a hand",
            image=image_of(0, 48, 24),
            mask_image=box_mask(48, 24),
            control_image=image_of(1, 48, 24),
            hand_params=hands[0],
            height=32,
            width=16,
        )
        assert out.images[0].size == (16, 32) and conditions[0].shape[-2:] == (32, 16)


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            ({"image": torch.zeros(1, 4, 12, 8)}, "`image` must hold pixels, not latents"),
            ({"control_image": None}, "`control_image` must be PIL images.*NoneType"),
            ({"control_image": [image_of()] * 3}, "`control_image` must hold one image, one per prompt.*got 3"),
            ({"height": 20, "width": 16}, "`height` must be divisible by 8, got 20"),
            ({"padding_mask_crop": 1, "control_image": image_of(0, 8, 8)}, "one size, got 8 x 8 and 16 x 24 pixels"),
            (
                {"padding_mask_crop": 1, "control_image": np.zeros((24, 16, 3), np.float32)},
                "takes one PIL image as `control_image`, got ndarray",
            ),
            ({"hand_conditioning_scale": 0, "mask_image": None}, "`mask_image` must be given"),
        ],
    )
    def test_is_named_before_anything_runs(self, inpaint, arguments, words):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        common = {"prompt": "a hand", "image": image_of(), "control_image": image_of(1), "mask_image": box_mask()}
        with pytest.raises((ValueError, TypeError), match=words):
            inpaint(**{**common, "hand_callback_on_step_end": fail, **arguments})

    def test_conditions_for_several(self, several):
        for wrong in (image_of(), [image_of()] * 3):
            with pytest.raises(ValueError, match="`control_image` must be a list of one condition for each of the 2"):
                several("a hand", image=image_of(), control_image=wrong, mask_image=box_mask())

        with pytest.raises(ValueError, match="`padding_mask_crop` works with one ControlNet, but this pipeline has 2"):
            several("a hand", image=image_of(), control_image=[image_of()] * 2, padding_mask_crop=1)

    def test_without_one(self, inpaint):
        inpaint.controlnet = None
        with pytest.raises(ValueError, match="`controlnet` is needed"):
            inpaint("a hand", image=image_of(), control_image=image_of(), mask_image=box_mask())


class TestSharing:
    def test_components(self, pipe, inpaint):
        assert set(inpaint.components) == {*pipe.components, "controlnet"}
        assert inpaint.with_default("num_inference_steps", None) == 2
        found = AutoPipelineForInpainting.from_pipe(pipe, controlnet=inpaint.controlnet)
        assert type(found) is HanDiffuserControlNetInpaintPipeline
        assert type(AutoPipelineForInpainting.from_pipe(found, controlnet=None)) is HanDiffuserInpaintPipeline
        assert type(HanDiffuserControlNetPipeline.from_pipe(inpaint)) is HanDiffuserControlNetPipeline
        assert type(HanDiffuserPipeline.from_pipe(inpaint)) is HanDiffuserPipeline

    def test_auto_pipeline_loads_it(self, pipe, controlnets, tmp_path):
        pipe.save_pretrained(tmp_path)
        found = AutoPipelineForInpainting.from_pretrained(tmp_path, controlnet=controlnets[0])
        assert type(found) is HanDiffuserControlNetInpaintPipeline

    def test_save_and_load(self, several, tmp_path, hands):
        several.save_pretrained(tmp_path)
        loaded = quiet(DiffusionPipeline.from_pretrained(tmp_path))
        assert type(loaded) is HanDiffuserControlNetInpaintPipeline and len(loaded.controlnet.nets) == 2
        common = {"image": image_of(), "control_image": [image_of(1), image_of(2)], "mask_image": box_mask()}
        common |= {"prompt": "a hand", "hand_params": hands[0], "output_type": "np"}
        expected = several(generator=generator(), **common).images
        assert np.array_equal(loaded(generator=generator(), **common).images, expected)
