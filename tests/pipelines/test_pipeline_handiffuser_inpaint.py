"""Inpainting: kept pixels are kept, the hands' outline is the mask, and without hands it is Stable Diffusion's."""

import inspect
import logging

import numpy as np
import PIL.Image
import pytest
import small_calls
import torch
from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel
from small_calls import generator, quiet

from diffusers_handiffuser import HanDiffuserInpaintPipeline, HanDiffuserPipeline, HandParams
from diffusers_handiffuser.hands.camera import square_to_pixels
from diffusers_handiffuser.rendering.surfaces import draw_mask

HEIGHT, WIDTH = 24, 16


def random_image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> PIL.Image.Image:
    return small_calls.random_image(seed, height, width)


def as_array(image: PIL.Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.float32) / 255


def box_mask(height: int = HEIGHT, width: int = WIDTH) -> PIL.Image.Image:
    mask = PIL.Image.new("L", (width, height))
    mask.paste(255, (4, 6, 12, 20))
    return mask


@pytest.fixture(scope="session")
def nine_channel_unet(picture_components):
    torch.manual_seed(3)
    return UNet2DConditionModel.from_config({**picture_components["unet"].config, "in_channels": 9}).eval()


@pytest.fixture(params=[4, 9])
def inpaint(request, pipe, nine_channel_unet):
    unet = nine_channel_unet if request.param == 9 else pipe.unet
    return quiet(HanDiffuserInpaintPipeline.from_pipe(pipe, unet=unet))


@pytest.fixture
def inpaint_4(pipe):
    return quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))


@pytest.fixture
def close_up(pipe, hands):
    """Two rows whose cameras show the right hand alone, in the middle of the image and about half as large."""
    hands = hands.replace(hand_visible=torch.tensor([[False, True]] * 2))
    middle = pipe.body_model(hands).joints_3d[:, 1].mean(1)
    return hands.replace(camera=torch.stack([torch.full((2,), 4.0), -middle[:, 0], -middle[:, 1]], -1))


def stable_diffusion(pipe, clip_text_model):
    names = ("vae", "unet", "tokenizer", "scheduler", "feature_extractor", "safety_checker")
    components = {name: getattr(pipe, name) for name in names}
    return quiet(
        StableDiffusionInpaintPipeline(**components, text_encoder=clip_text_model, requires_safety_checker=False)
    )


def test_signature_starts_as_stable_diffusions():
    ours = list(inspect.signature(HanDiffuserInpaintPipeline.__call__).parameters)
    theirs = list(inspect.signature(StableDiffusionInpaintPipeline.__call__).parameters)
    assert ours[: len(theirs) - 1] == theirs[:-1]
    text_to_image = list(inspect.signature(HanDiffuserPipeline.__call__).parameters)
    hand_arguments = text_to_image[text_to_image.index("hand_params") : text_to_image.index("framing")]
    assert ours[len(theirs) - 1 : -1] == [
        *hand_arguments,
        "hand_mask_margin",
        "keep_unmasked",
        "framing",
        "hand_detector",
    ]


class TestNoHands:
    @pytest.mark.parametrize("arguments", [{}, {"strength": 0.5}, {"guidance_scale": 1.0, "num_images_per_prompt": 2}])
    def test_is_stable_diffusion(self, inpaint, clip_text_model, arguments):
        """All of it with `keep_unmasked=False`, and what the mask covers in any case."""
        theirs = stable_diffusion(inpaint, clip_text_model)
        common = {"prompt": "a hand", "image": random_image(), "mask_image": box_mask(), "num_inference_steps": 4}
        common |= {"output_type": "np", "guidance_scale": 5.0, **arguments}
        expected = theirs(height=HEIGHT, width=WIDTH, generator=generator(), **common).images
        whole = inpaint(generator=generator(), hand_conditioning_scale=0, keep_unmasked=False, **common)
        assert np.array_equal(whole.images, expected) and whole.hand_params is None
        ours = inpaint(generator=generator(), hand_conditioning_scale=0, **common).images
        painted = np.asarray(box_mask()) > 0
        assert np.array_equal(ours[:, painted], expected[:, painted])


class TestKeptPixels:
    def test_pil(self, inpaint, hands):
        image, mask = random_image(), box_mask()
        out = inpaint("a hand", image=image, mask_image=mask, hand_params=hands[0], generator=generator())
        before, after, painted = np.asarray(image), np.asarray(out.images[0]), np.asarray(mask) > 0
        assert np.array_equal(after[~painted], before[~painted])
        assert not np.array_equal(after[painted], before[painted])

    @pytest.mark.parametrize("size", [(16, 16), (18, 26), (34, 16), (17, 16), (15, 27)])
    def test_numpy_at_any_size(self, inpaint_4, hands, size):
        """The VAE's factor is 2, and other sides are padded."""
        image = generator_noise(*size)
        mask = np.zeros(size, np.float32)
        mask[3:9, 5:] = 1
        out = inpaint_4("a hand", image=image, mask_image=mask, hand_params=hands[0], output_type="np")
        assert out.images.shape == (1, *size, 3) and out.images.dtype == np.float32
        assert np.array_equal(out.images[0][mask == 0], image[mask == 0])

    def test_odd_images_of_two_sizes(self, inpaint_4, close_up):
        """The second is stretched to the first, and its outline and joints with it, before both are padded."""
        images, joints = [random_image(0, 23, 17), random_image(1, 33, 35)], []
        handle = inpaint_4.text_encoder.register_forward_pre_hook(
            lambda module, args, kwargs: joints.append(kwargs.get("hand_joints_2d")), with_kwargs=True
        )
        try:
            out = inpaint_4(["a", "b"], image=images, hand_params=close_up, hand_mask_margin=0.01).images
        finally:
            handle.remove()
        outline = inpaint_4.hand_mask(close_up[1], 33, 35, margin=0.01)
        resized, mask = (image.resize((17, 23), PIL.Image.Resampling.LANCZOS) for image in (images[1], outline))
        kept = np.asarray(mask) < 127.5
        assert out[1].size == (17, 23) and kept.any() and not kept.all()
        assert np.array_equal(np.asarray(out[1])[kept], np.asarray(resized)[kept])
        pixels = square_to_pixels(inpaint_4.body_model(close_up[1:]).joints_2d, 33, 35)
        pixels = pixels * torch.tensor([17 / 35, 23 / 33])
        (given,) = (value for value in joints if value is not None)
        assert (square_to_pixels(given[1:], 24, 18) - pixels).abs().max() < 1e-4

    def test_padded_latents(self, inpaint_4, hands):
        """Latents of a result are those of the padded image."""
        common = {"image": random_image(0, 23, 17), "mask_image": box_mask(23, 17), "hand_params": hands[0]}
        assert inpaint_4("a hand", output_type="latent", **common).images.shape == (1, 4, 12, 9)

    def test_tensor(self, inpaint_4, hands):
        image = torch.rand(3, HEIGHT, WIDTH, generator=generator())
        mask = torch.zeros(HEIGHT, WIDTH)
        mask[5:10] = 1
        out = inpaint_4("a hand", image=image, mask_image=mask, hand_params=hands[0], output_type="pt")
        assert torch.equal(out.images[0][:, mask == 0], image[:, mask == 0])
        assert not torch.equal(out.images[0][:, mask == 1], image[:, mask == 1])

    def test_forms_of_image_and_result_mix(self, inpaint_4, hands):
        painted = np.asarray(box_mask()) > 0
        common = {"prompt": "a hand", "mask_image": box_mask(), "hand_params": hands[0]}
        array = inpaint_4(image=random_image(), output_type="np", **common).images[0]
        assert np.array_equal(array[~painted], as_array(random_image())[~painted])
        image = inpaint_4(image=as_array(random_image()), **common).images[0]
        assert np.array_equal(np.asarray(image)[~painted], np.asarray(random_image())[~painted])

    def test_soft_mask_is_cut_at_one_half(self, inpaint_4, hands):
        ramp = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
        out = inpaint_4(
            "a hand", image=as_array(random_image()), mask_image=ramp, hand_params=hands[0], output_type="np"
        ).images[0]
        same = (out == as_array(random_image())).all(-1)
        assert same[ramp < 0.5].all() and not same[ramp >= 0.5].any()

    def test_resized(self, inpaint_4, hands):
        """An image of another size is kept as it was resized."""
        out = inpaint_4(
            "a hand", image=random_image(), mask_image=box_mask(), height=48, width=32, hand_params=hands[0]
        ).images[0]
        assert out.size == (32, 48)
        resized = random_image().resize((32, 48), PIL.Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(out)[:8], np.asarray(resized)[:8])

    def test_images_of_two_sizes(self, inpaint_4, hands):
        """All results have the size of the first, as in diffusers."""
        images = [random_image(0), random_image(1, 32, 32)]
        out = inpaint_4(["a", "b"], image=images, mask_image=box_mask(), hand_params=hands).images
        resized = images[1].resize((WIDTH, HEIGHT), PIL.Image.Resampling.LANCZOS)
        for before, after in zip([images[0], resized], out, strict=True):
            kept = np.asarray(box_mask()) == 0
            assert np.array_equal(np.asarray(after)[kept], np.asarray(before)[kept])

    def test_crop(self, inpaint_4, hands):
        image = random_image(height=40, width=44)
        mask = PIL.Image.new("L", image.size)
        mask.paste(255, (20, 10, 30, 22))
        out = inpaint_4("a hand", image=image, mask_image=mask, padding_mask_crop=2, hand_params=hands[0]).images[0]
        assert out.size == image.size
        painted = np.asarray(mask) > 0
        assert np.array_equal(np.asarray(out)[~painted], np.asarray(image)[~painted])
        assert not np.array_equal(np.asarray(out)[painted], np.asarray(image)[painted])

    def test_crop_around_one_mask_for_several_results(self, inpaint_4, hands):
        """Of an image with transparency, too, whose four channels are no latents."""
        arguments = {"image": random_image().convert("RGBA"), "mask_image": box_mask(), "padding_mask_crop": 2}
        out = inpaint_4(["a", "b"], hand_params=hands, **arguments).images
        painted = np.asarray(box_mask()) > 0
        assert len(out) == 2 and not np.array_equal(np.asarray(out[0]), np.asarray(out[1]))
        assert all(np.array_equal(np.asarray(image)[~painted], np.asarray(random_image())[~painted]) for image in out)

    def test_phone_photos_and_their_masks_are_turned_upright(self, inpaint_4, hands):
        exif = PIL.Image.Exif()
        exif[274] = 6  # Orientation: the right side of the stored image is down
        photo, mask = (image.transpose(PIL.Image.Transpose.ROTATE_90) for image in (random_image(), box_mask()))
        photo.info["exif"] = mask.info["exif"] = exif.tobytes()
        common = {"hand_params": hands[0], "output_type": "np"}
        upright, turned, listed = (
            inpaint_4("a hand", image=image, mask_image=hole, generator=generator(), **common).images
            for image, hole in ((random_image(), box_mask()), (photo, mask), ([photo], [mask]))
        )
        assert np.array_equal(upright, turned) and np.array_equal(upright, listed)

    def test_crop_around_the_hands(self, inpaint_4, close_up):
        out = inpaint_4(
            "a hand", image=random_image(), hand_params=close_up[0], hand_mask_margin=0.01, padding_mask_crop=1
        ).images[0]
        mask = np.asarray(inpaint_4.hand_mask(close_up[0], HEIGHT, WIDTH, margin=0.01)) > 0
        same = (np.asarray(out) == np.asarray(random_image())).all(-1)
        assert out.size == (WIDTH, HEIGHT) and same[~mask].all() and not same[mask].all()

    def test_latents_have_no_pixels_to_keep(self, inpaint_4, hands):
        latents = torch.randn(1, 4, HEIGHT // 2, WIDTH // 2, generator=generator())
        out = inpaint_4(
            "a hand", image=latents, masked_image_latents=latents, mask_image=box_mask(), hand_params=hands[0]
        )
        assert out.images[0].size == (WIDTH, HEIGHT)
        result = inpaint_4(
            "a hand", image=random_image(), mask_image=box_mask(), output_type="latent", hand_params=hands[0]
        )
        assert result.images.shape == (1, 4, HEIGHT // 2, WIDTH // 2)

    def test_blackened_result_stays_black(self, inpaint_4, hands, monkeypatch):
        def blacken(image, device, dtype):
            return torch.zeros_like(image), [True]

        monkeypatch.setattr(inpaint_4, "run_safety_checker", blacken)
        out = inpaint_4("a hand", image=random_image(), mask_image=box_mask(), hand_params=hands[0])
        assert out.nsfw_content_detected == [True] and not np.asarray(out.images[0]).any()


def generator_noise(height: int, width: int) -> np.ndarray:
    return torch.rand(height, width, 3, generator=generator()).numpy()


class TestMaskOfHands:
    def test_outline_of_given_hands(self, inpaint, close_up):
        out = inpaint(
            "a hand", image=random_image(), hand_params=close_up[0], hand_mask_margin=0.01, output_type="np"
        ).images[0]
        mask = np.asarray(draw_mask(close_up[0], inpaint.body_model, HEIGHT, WIDTH, 0.01)[0]) > 0
        assert 20 < mask.sum() < mask.size - 20
        before = as_array(random_image())
        assert np.array_equal(out[~mask], before[~mask]) and (out[mask] != before[mask]).any(-1).all()

    def test_margin_widens_it(self, inpaint_4, close_up):
        """Metres at the hands' scale: 0.05 at 4 per metre and a square of 16 pixels are 1.6 pixels, so 2."""
        bare = np.asarray(inpaint_4.hand_mask(close_up[0], 16, 16, margin=0)) > 0
        wide = np.asarray(inpaint_4.hand_mask(close_up[0], 16, 16, margin=0.05)) > 0
        expected = np.zeros_like(bare)
        for y, x in np.argwhere(bare):
            expected[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
        assert np.array_equal(wide, expected)

    def test_sampled_hands(self, inpaint_4):
        """They are sampled first, so the mask is made of them."""
        out = inpaint_4("a hand", image=random_image(), generator=generator(), output_type="np")
        mask = np.asarray(inpaint_4.hand_mask(out.hand_params, HEIGHT, WIDTH)) > 0
        assert np.array_equal(out.images[0][~mask], as_array(random_image())[~mask])

    def test_outline_without_conditioning(self, inpaint_4, close_up):
        out = inpaint_4(
            "a hand", image=random_image(), hand_params=close_up[0], hand_conditioning_scale=0, output_type="np"
        )
        mask = np.asarray(inpaint_4.hand_mask(close_up[0], HEIGHT, WIDTH)) > 0
        same = (out.images[0] == as_array(random_image())).all(-1)
        assert out.hand_params is None and same[~mask].all() and not same[mask].all()

    @pytest.mark.parametrize("mask", [None, PIL.Image.new("L", (WIDTH, HEIGHT))], ids=["no visible hand", "black"])
    def test_an_empty_mask_leaves_the_image_alone_and_says_so(self, inpaint_4, caplog, mask):
        logger = logging.getLogger("diffusers_handiffuser.pipelines.inpainting")
        logger.addHandler(caplog.handler)
        try:
            out = inpaint_4("a wall", image=random_image(), mask_image=mask, hand_params=HandParams.zeros(1))
        finally:
            logger.removeHandler(caplog.handler)
        assert np.array_equal(np.asarray(out.images[0]), np.asarray(random_image()))
        assert "Nothing will be repainted: `mask_image`" in caplog.text

    def test_no_sampled_hand_to_crop_around(self, inpaint_4):
        """Known as soon as the hands are, before the image is begun."""

        def hide(pipe, step, timestep, tensors):
            tensors["sample"][:, -2:] = -100.0
            return tensors

        def fail(*args):
            raise AssertionError("the image was begun")

        with pytest.raises(ValueError, match="`padding_mask_crop` needs something to crop around"):
            inpaint_4(
                "a wall",
                image=random_image(),
                padding_mask_crop=1,
                hand_callback_on_step_end=hide,
                callback_on_step_end=fail,
            )

    def test_each_result_has_its_image_and_mask(self, inpaint_4, close_up):
        pictures = [random_image(0), random_image(1)]
        out = inpaint_4(
            ["a", "b"],
            image=pictures,
            hand_params=close_up,
            num_images_per_prompt=2,
            generator=[generator(i) for i in range(4)],
            output_type="np",
            num_inference_steps=2,
        )
        for i in range(4):
            alone = inpaint_4(
                "ab"[i // 2],
                image=pictures[i // 2],
                hand_params=close_up[i // 2],
                generator=generator(i),
                output_type="np",
                num_inference_steps=2,
            ).images
            np.testing.assert_allclose(out.images[i], alone[0], atol=1e-4)

    def test_masks_for_each_prompt(self, inpaint_4, hands):
        masks = [box_mask(), PIL.Image.new("L", (WIDTH, HEIGHT))]
        out = inpaint_4(
            ["a", "b"],
            image=random_image(),
            mask_image=masks,
            hand_params=hands,
            num_images_per_prompt=2,
            output_type="np",
        )
        unchanged = [np.array_equal(image, as_array(random_image())) for image in out.images]
        assert unchanged == [False, False, True, True]


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            ({"image": None}, "`image`.*NoneType"),
            ({"height": 16}, "`height` and `width`"),
            ({"height": 15, "width": 16}, "`height` must be divisible by 2"),
            ({"hand_mask_margin": -1}, "`hand_mask_margin`"),
            ({"strength": 0.1, "num_inference_steps": 5}, "`strength`"),
            ({"hand_conditioning_scale": 0}, "`mask_image` must be given"),
            ({"prompt": None, "prompt_embeds": torch.zeros(1, 77, 16)}, "`mask_image` must be given"),
            ({"mask_image": [box_mask()] * 3}, "`mask_image` must hold.*got 3"),
            ({"mask": box_mask()}, "no argument `mask`; did you mean `mask_image`"),
            ({"image": torch.zeros(1, 4, 12, 8)}, "`masked_image_latents` must be given"),
            ({"padding_mask_crop": -1}, "`padding_mask_crop` must be a whole number"),
            ({"padding_mask_crop": 1.5}, "`padding_mask_crop` must be a whole number"),
            ({"padding_mask_crop": 1, "prompt": ["a", "b"]}, "`mask_image` must be given for 2 results"),
            ({"padding_mask_crop": 1, "num_images_per_prompt": 3}, "`mask_image` must be given for 3 results"),
            ({"padding_mask_crop": 1, "output_type": "np"}, "`padding_mask_crop`.*`output_type` must be 'pil'"),
            ({"padding_mask_crop": 1, "output_type": "latent"}, "`padding_mask_crop`.*`output_type` must be 'pil'"),
            ({"padding_mask_crop": 1, "image": as_array(random_image())}, "`padding_mask_crop`.*`image`, got ndarray"),
            ({"padding_mask_crop": 1, "image": [random_image()]}, "`padding_mask_crop`.*`image`, got list"),
            ({"padding_mask_crop": 1, "mask_image": np.ones((24, 16))}, "`padding_mask_crop`.*`mask_image`, got nd"),
            ({"padding_mask_crop": 1, "mask_image": PIL.Image.new("L", (WIDTH, HEIGHT))}, "`mask_image`.*marks noth"),
            ({"padding_mask_crop": 1, "hand_params": HandParams.zeros(1)}, "the visible hands.*marks nothing"),
        ],
    )
    def test_is_named_before_anything_runs(self, inpaint_4, arguments, words):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        with pytest.raises((ValueError, TypeError), match=words):
            inpaint_4(**{"prompt": "a hand", "image": random_image(), "hand_callback_on_step_end": fail, **arguments})

    def test_no_stage_1_and_no_hands(self, text_only_pipe, pipe):
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(text_only_pipe))
        with pytest.raises(ValueError, match="`body_model` is needed"):
            inpaint("a hand", image=random_image())
        inpaint.body_model = pipe.body_model
        with pytest.raises(ValueError, match="`mask_image` must be given"):
            inpaint("a hand", image=random_image())
