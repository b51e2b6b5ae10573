"""`framing`: sampled hands in the camera that frames them for the image they are of, and nothing else of them."""

import pytest
import torch
from diffusers import ControlNetModel
from small_calls import generator, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HandParams,
)
from diffusers_handiffuser.hands import frame_hands


@pytest.fixture
def sampled(pipe) -> HandParams:
    """What `pipe("a hand", generator=generator())` samples without a framing; a hand is visible."""
    hands = pipe.sample_hand_params("a hand", generator=generator())
    assert hands.hand_visible.any()
    return hands


def framed(pipe, hands: HandParams, framing: str, height: int, width: int) -> torch.Tensor:
    return frame_hands(hands, framing, height, width, pipe.body_model).camera


class TestSampled:
    @pytest.mark.parametrize("framing", ["close_up", "waist_up", "full_body"])
    def test_only_their_camera_moves(self, pipe, sampled, framing):
        hands = pipe.sample_hand_params("a hand", generator=generator(), framing=framing, height=24, width=16)
        assert torch.equal(hands.camera, framed(pipe, sampled, framing, 24, 16))
        assert not torch.equal(hands.camera, sampled.camera)
        for name in set(HandParams.FIELDS) - {"camera"}:
            assert torch.equal(getattr(hands, name), getattr(sampled, name)), name

    def test_without_a_framing_the_size_says_nothing(self, pipe, sampled):
        hands = pipe.sample_hand_params("a hand", generator=generator(), height=24, width=16)
        assert torch.equal(hands.camera, sampled.camera)

    def test_by_default_for_the_size_that_the_unet_draws(self, pipe, make_pipe, sampled):
        hands = pipe.sample_hand_params("a hand", generator=generator(), framing="full_body")
        assert torch.equal(hands.camera, framed(pipe, sampled, "full_body", 16, 16))
        alone = make_pipe(**dict.fromkeys(("vae", "unet", "text_encoder", "tokenizer", "scheduler")))
        assert torch.equal(
            alone.sample_hand_params("a hand", generator=generator(), framing="full_body").camera, hands.camera
        )

    def test_rows_are_those_of_a_call(self, pipe):
        prompts, options = ["a hand", "two hands"], {"num_images_per_prompt": 2, "framing": "waist_up"}
        size = {"height": 24, "width": 16}
        hands = pipe.sample_hand_params(prompts, generator=generator(), **options, **size)
        out = pipe(prompts, generator=generator(), output_type="latent", **options, **size)
        assert torch.equal(out.hand_params.camera, hands.camera)
        again = pipe(
            prompts, generator=generator(), output_type="latent", num_images_per_prompt=2, hand_params=hands, **size
        )
        assert torch.equal(again.images, out.images)


class TestOfOneSizeOrMany:
    """Hands are of the image that is given, where one is."""

    def test_image_to_image(self, pipe, sampled):
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))
        out = img2img("a hand", image=random_image(height=16, width=32), framing="close_up", generator=generator())
        assert torch.equal(out.hand_params.camera, framed(pipe, sampled, "close_up", 16, 32))

    def test_images_of_several_sizes(self, pipe):
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))
        images = [random_image(height=16, width=32), random_image(height=32, width=16)]
        seeds = [generator(0), generator(1)]
        out = img2img(["a hand", "a hand"], image=images, framing="full_body", generator=seeds)
        hands = pipe.sample_hand_params(["a hand", "a hand"], generator=[generator(0), generator(1)])
        expected = [framed(pipe, hands[:1], "full_body", 16, 32), framed(pipe, hands[1:], "full_body", 32, 16)]
        assert torch.equal(out.hand_params.camera, torch.cat(expected))

    def test_repaired_outlines_are_those_of_framed_hands(self, pipe, sampled):
        inpaint = quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
        image, size = random_image(height=48, width=64), {"height": 16, "width": 16}
        out = inpaint("a hand", image=image, framing="close_up", generator=generator(), output_type="np", **size)
        hands = sampled.replace(camera=framed(pipe, sampled, "close_up", 48, 64))
        assert torch.equal(out.hand_params.camera, hands.camera)
        given = inpaint("a hand", image=image, hand_params=hands, generator=generator(), output_type="np", **size)
        assert (given.images == out.images).all()

    def test_condition(self, pipe, sampled):
        controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
        with_net = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnet))
        image = random_image(height=16, width=32)
        out = with_net("a hand", image=image, framing="close_up", height=16, width=16, generator=generator())
        assert torch.equal(out.hand_params.camera, framed(pipe, sampled, "close_up", 16, 32))


class TestRefusals:
    def test_unknown(self, pipe):
        for call in (pipe, pipe.sample_hand_params):
            with pytest.raises(
                ValueError, match="`framing` must be one of close_up, waist_up, full_body or None, got 'near'"
            ):
                call("a hand", framing="near")

    def test_given_hands_keep_their_camera(self, pipe, hands):
        with pytest.raises(ValueError, match="`framing` is for sampled hands.*`frame_hands"):
            pipe("a hand", hand_params=hands[:1], framing="close_up")

    def test_size(self, pipe):
        with pytest.raises(ValueError, match="`height` and `width` must come together"):
            pipe.sample_hand_params("a hand", framing="close_up", height=16)
        with pytest.raises(ValueError, match="`width` must be"):
            pipe.sample_hand_params("a hand", framing="close_up", height=16, width=0)

    def test_without_a_body(self, make_pipe):
        pipe = make_pipe(body_model=None)
        assert len(pipe.sample_hand_params("a hand")) == 1
        with pytest.raises(ValueError, match="`body_model` is needed for `framing`"):
            pipe.sample_hand_params("a hand", framing="close_up")
