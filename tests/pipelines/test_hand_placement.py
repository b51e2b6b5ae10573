"""Joints are encoded where the hands lie in the image that the U-Net draws, however it was cropped or resized."""

import logging

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel
from small_calls import generator, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HandParams,
)
from diffusers_handiffuser.hands.camera import square_to_pixels


def image_of(width: int, height: int) -> PIL.Image.Image:
    return random_image(height=height, width=width)


@pytest.fixture
def encoded(pipe):
    """The joints `(B, 2, 21, 2)` that the text encoder of `pipe` is given, call by call."""
    seen = []

    def keep(module, args, kwargs):
        if kwargs.get("hand_joints_2d") is not None:
            seen.append(kwargs["hand_joints_2d"].clone())

    handle = pipe.text_encoder.register_forward_pre_hook(keep, with_kwargs=True)
    yield seen
    handle.remove()


def in_pixels(pipe, hands: HandParams, width: int, height: int) -> torch.Tensor:
    return square_to_pixels(pipe.body_model(hands).joints_2d, height, width)


def hand_at(pipe, hands: HandParams, x: float, y: float, scale: float, width: int, height: int) -> HandParams:
    """Rows whose cameras show the right hand alone, with its middle at a pixel of the image."""
    hands = hands.replace(hand_visible=torch.tensor([False, True]).expand(len(hands), 2))
    middle = pipe.body_model(hands).joints_3d[:, 1].mean(1)
    shift = (torch.tensor([x, y]) - torch.tensor([width, height]) / 2) / (min(width, height) / 2) / scale
    return hands.replace(camera=torch.cat([torch.full((len(hands), 1), scale), shift - middle[:, :2]], -1))


class TestInpainting:
    @pytest.mark.parametrize(("size", "canvas"), [((80, 48), (16, 16)), ((48, 80), (32, 16)), ((64, 64), (16, 24))])
    def test_crop_around_the_hands(self, pipe, encoded, hands, size, canvas):
        """A spot of light in the image is where the joints are encoded in the crop that the VAE sees."""
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        close_up = hand_at(pipe, hands[1:], 0.3 * size[0], 0.6 * size[1], 1.2, *size)
        x, y = (np.arange(side) + 0.5 for side in size)
        middle = in_pixels(pipe, close_up, *size)[0, 1].mean(0)
        spot = 255 * np.exp(-((x[None] - float(middle[0])) ** 2 + (y[:, None] - float(middle[1])) ** 2) / 8)
        image, crops = PIL.Image.fromarray(spot.astype(np.uint8)).convert("RGB"), []
        preprocess = inpaint.image_processor.preprocess

        def keep(*args, **kwargs):
            crops.append(preprocess(*args, **kwargs))
            return crops[-1]

        inpaint.image_processor.preprocess = keep
        inpaint(
            "a hand",
            image=image,
            hand_params=close_up,
            padding_mask_crop=3,
            hand_mask_margin=0.0,
            width=canvas[0],
            height=canvas[1],
        )
        light = (crops[0][0, 0] + 1).double()
        assert tuple(light.shape) == canvas[::-1]
        columns, rows = (torch.arange(side) + 0.5 for side in canvas)
        seen = torch.stack([(light.sum(0) * columns).sum(), (light.sum(1) * rows).sum()]) / light.sum()
        found = square_to_pixels(encoded[0][0, 1], canvas[1], canvas[0]).mean(0)
        assert (found - seen).abs().max() < 0.35
        assert (encoded[0][0, 1].abs() <= 1.2).all()

    def test_crop_around_a_mask(self, pipe, encoded, hands):
        """Computed by hand: 16 x 16 pixels at (20, 10), each of which becomes one."""
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        mask = PIL.Image.new("L", (64, 40))
        mask.paste(255, (22, 12, 34, 24))
        rows = hand_at(pipe, hands, 30, 18, 1.0, 64, 40)
        out = inpaint(["a", "b"], image=image_of(64, 40), mask_image=mask, hand_params=rows, padding_mask_crop=2)
        expected = (in_pixels(pipe, rows, 64, 40) - torch.tensor([20.0, 10.0])) / 8 - 1
        assert (encoded[0] - expected).abs().max() < 1e-5
        assert torch.equal(out.hand_params.camera, rows.camera)

    def test_sampled_hands_are_of_the_image_too(self, pipe, encoded):
        """So the crop is around the hands, and the same call with them gives the same image."""
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        common = {"image": image_of(40, 24), "padding_mask_crop": 1, "hand_mask_margin": 0.0}
        out = inpaint("a hand", generator=generator(), **common)
        again = inpaint("a hand", generator=generator(), hand_params=out.hand_params, **common)
        assert torch.equal(encoded[0], encoded[-1])
        assert np.array_equal(np.asarray(out.images[0]), np.asarray(again.images[0]))

    @pytest.mark.parametrize("size", [(32, 16), (16, 32)])
    def test_another_aspect(self, pipe, encoded, hands, size):
        """The image is stretched, as in diffusers, and its joints with it."""
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        mask = PIL.Image.new("L", size, 255)
        rows = hand_at(pipe, hands, 0.8 * size[0], 0.7 * size[1], 1.0, *size)
        inpaint("a", image=image_of(*size), mask_image=mask, hand_params=rows[:1], height=16, width=16)
        expected = in_pixels(pipe, rows[:1], *size) * (16 / torch.tensor(size)) / 8 - 1
        assert (encoded[0] - expected).abs().max() < 1e-5

    def test_outline_of_images_of_several_sizes(self, pipe, encoded, hands):
        """Each mask is drawn on its own image, and stretched with it."""
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        images = [image_of(16, 16), image_of(32, 16)]
        rows = HandParams.cat(
            [
                hand_at(pipe, hands[:1], 8, 8, 4.0, 16, 16),
                hand_at(pipe, hands[1:], 24, 8, 4.0, 32, 16),
            ]
        )
        out = inpaint(["a", "b"], image=images, hand_params=rows, hand_mask_margin=0.0, output_type="np").images
        kept = np.asarray(images[1].resize((16, 16), PIL.Image.Resampling.LANCZOS)) / 255
        changed = (np.abs(out[1] - kept) > 1e-4).any(-1)
        outline = inpaint.hand_mask(rows[1], 16, 32, margin=0.0).resize((16, 16), PIL.Image.Resampling.LANCZOS)
        assert changed.any() and np.array_equal(changed, np.asarray(outline) >= 127.5)
        expected = in_pixels(pipe, rows[1:], 32, 16) * torch.tensor([0.5, 1.0]) / 8 - 1
        assert (encoded[0][1:] - expected).abs().max() < 1e-5


class TestImageToImage:
    def test_images_of_several_sizes(self, pipe, encoded, hands):
        """All results have the size of the first image, to which diffusers stretches the others."""
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))
        rows = hand_at(pipe, hands, 24, 8, 1.0, 32, 16)
        img2img(["a", "b"], image=[image_of(16, 16), image_of(32, 16)], hand_params=rows, strength=0.5)
        own = pipe.body_model(rows).joints_2d
        assert torch.equal(encoded[0][0], own[0])
        assert (encoded[0][1] - own[1] * torch.tensor([0.5, 1.0])).abs().max() < 1e-6


class TestConditions:
    @pytest.fixture
    def with_controlnet(self, pipe):
        torch.manual_seed(0)
        controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
        return quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnet.eval()))

    @pytest.mark.parametrize("form", ["pil", "np", "pt"])
    def test_controlnet(self, pipe, encoded, hands, with_controlnet, form):
        """A condition of another aspect is stretched, and the hands that it shows with it."""
        rows = hand_at(pipe, hands[1:], 24, 8, 1.0, 32, 16)
        condition = rows.to_condition("mask", (32, 16))[0].convert("RGB")
        array = np.asarray(condition).astype(np.float32) / 255
        image = {"pil": condition, "np": array, "pt": torch.from_numpy(array).permute(2, 0, 1)}[form]
        with_controlnet("a hand", image=image, hand_params=rows, height=16, width=16)
        expected = pipe.body_model(rows).joints_2d * torch.tensor([0.5, 1.0])
        assert (encoded[0] - expected).abs().max() < 1e-6

    def test_controlnet_at_the_size_of_the_condition(self, pipe, encoded, hands, with_controlnet):
        with_controlnet("a hand", image=image_of(32, 16), hand_params=hands[:1])
        assert torch.equal(encoded[0], pipe.body_model(hands[:1]).joints_2d)

    def test_several_controlnets(self, pipe, encoded, hands, with_controlnet):
        """The hands are those of the first condition."""
        twice = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=[with_controlnet.controlnet] * 2))
        twice("a hand", image=[image_of(32, 16), image_of(16, 16)], hand_params=hands[:1], height=16, width=16)
        expected = pipe.body_model(hands[:1]).joints_2d * torch.tensor([0.5, 1.0])
        assert (encoded[0] - expected).abs().max() < 1e-6

    def test_adapter(self, pipe, encoded, hands, picture_components):
        torch.manual_seed(0)
        blocks = {
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        }
        unet = UNet2DConditionModel.from_config({**picture_components["unet"].config, **blocks}).eval()
        adapter = T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2, adapter_type="full_adapter")
        with_adapter = quiet(HanDiffuserAdapterPipeline.from_pipe(pipe, adapter=adapter.eval(), unet=unet))
        with_adapter("a hand", image=image_of(32, 16), hand_params=hands[:1], height=16, width=16)
        expected = pipe.body_model(hands[:1]).joints_2d * torch.tensor([0.5, 1.0])
        assert (encoded[0] - expected).abs().max() < 1e-6


class TestHandsOutside:
    @pytest.fixture
    def warnings(self, caplog):
        logger = logging.getLogger("diffusers_handiffuser.pipelines.hand_encoding")
        logger.addHandler(caplog.handler)
        yield caplog
        logger.removeHandler(caplog.handler)

    def test_are_named_by_row_and_hand_and_encoded_at_the_edge(self, pipe, encoded, hands, warnings):
        far = hands.replace(
            camera=torch.tensor([[1.0, 0, 0], [1.0, 9.0, 0]]), hand_visible=torch.tensor([[True, True], [False, True]])
        )
        out = pipe(["a", "b"], hand_params=far)
        assert "row 1 (right)" in warnings.text and "row 0" not in warnings.text
        assert out.hand_params.hand_visible.tolist() == far.hand_visible.tolist()
        assert (encoded[0][1, 1, :, 0] > 1).all()

    def test_at_the_sides_of_a_wide_canvas(self, pipe, hands, warnings):
        """In the image, but not in its square."""
        rows = hand_at(pipe, hands[1:], 60, 8, 2.0, 64, 16)
        pipe("a hand", hand_params=rows, height=16, width=64)
        assert "row 0 (right)" in warnings.text

    def test_outside_the_crop(self, pipe, hands, warnings):
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        mask = PIL.Image.new("L", (64, 64))
        mask.paste(255, (0, 0, 12, 12))
        rows = hand_at(pipe, hands[1:], 48, 48, 0.5, 64, 64)
        inpaint("a hand", image=image_of(64, 64), mask_image=mask, hand_params=rows, padding_mask_crop=2)
        assert "row 0 (right)" in warnings.text
        warnings.clear()
        inpaint("a hand", image=image_of(64, 64), mask_image=mask, hand_params=rows)
        assert "(right)" not in warnings.text

    def test_none_of_hands_inside_or_not_drawn(self, pipe, hands, warnings):
        near = hand_at(pipe, hands, 8, 8, 1.0, 16, 16)
        pipe(["a", "b"], hand_params=near)
        hidden = near.replace(camera=torch.tensor([[1.0, 9, 0]] * 2), hand_visible=torch.zeros(2, 2, dtype=torch.bool))
        pipe(["a", "b"], hand_params=hidden)
        pipe("a", hand_params=near.replace(camera=torch.tensor([[1.0, 9, 0]] * 2))[:1], hand_conditioning_scale=0)
        assert "outside" not in warnings.text
