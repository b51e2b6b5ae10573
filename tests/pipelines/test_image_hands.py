"""`hand_params="fit"`: the hands that the image itself shows, and the warning that names it."""

import logging
import re

import numpy as np
import PIL.Image
import pytest
import torch
from small_calls import generator, make_controlnet, quiet, random_image

from diffusers_handiffuser import (
    DetectedHand,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HandParams,
    fit_hands,
)
from diffusers_handiffuser.hands.camera import square_to_pixels

HEIGHT, WIDTH = 48, 64


class KnownHands:
    """A detector that sees the right hands of known people in every image, and keeps the images."""

    def __init__(self, body_model, people: HandParams):
        self.body_model, self.people, self.images = body_model, people, []

    def __call__(self, image):
        self.images.append(image.copy())
        geometry = self.body_model(self.people)
        pixels = square_to_pixels(geometry.joints_2d, *image.shape[:2])[:, 1].numpy()
        return [
            DetectedHand("right", points, 0.9, metres.numpy())
            for points, metres in zip(pixels, geometry.joints_3d[:, 1], strict=True)
        ]


def hand_at(pipe, hands: HandParams, x: float, y: float, scale: float = 1.5) -> HandParams:
    """A row whose camera shows the right hand alone, with its middle at a pixel of the image."""
    hands = hands.replace(hand_visible=torch.tensor([[False, True]]))
    middle = pipe.body_model(hands).joints_3d[:, 1].mean(1)
    shift = (torch.tensor([x, y]) - torch.tensor([WIDTH, HEIGHT]) / 2) / (HEIGHT / 2) / scale
    return hands.replace(camera=torch.cat([torch.tensor([[scale]]), shift - middle[:, :2]], -1))


def box_mask(*box: int) -> PIL.Image.Image:
    mask = PIL.Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, box)
    return mask


@pytest.fixture
def left_of_image(pipe, hands):
    return hand_at(pipe, hands[1:], 16, 24)


@pytest.fixture
def people(pipe, hands, left_of_image):
    """Two right hands, and so two people."""
    return HandParams.cat([left_of_image, hand_at(pipe, hands[:1], 48, 24)])


@pytest.fixture(params=["inpainting", "with a ControlNet"])
def inpaint(request, pipe):
    """Called without `control_image`, which it has already."""
    if request.param == "inpainting":
        return quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))
    controlnet = make_controlnet(pipe.unet, 5)
    inpaint = quiet(HanDiffuserControlNetInpaintPipeline.from_pipe(pipe, controlnet=controlnet))
    return lambda *args, **kwargs: inpaint(*args, control_image=random_image(1, HEIGHT, WIDTH), **kwargs)


@pytest.fixture
def inpaint_alone(pipe):
    return quiet(HanDiffuserInpaintPipeline.from_pipe(pipe))


IMAGE = random_image(0, HEIGHT, WIDTH)


class TestFit:
    def test_is_the_call_with_fitted_hands(self, pipe, inpaint, left_of_image):
        """Found in the pixels of the image, and fitted with the body of the pipeline."""
        detector = KnownHands(pipe.body_model, left_of_image)
        out = inpaint("a hand", image=IMAGE, hand_params="fit", hand_detector=detector, generator=generator())
        assert np.array_equal(detector.images[0], np.asarray(IMAGE))
        fitted = fit_hands(IMAGE, detector=detector, body_model=pipe.body_model).hand_params
        assert torch.equal(out.hand_params.camera, fitted.camera)
        joints = pipe.body_model(out.hand_params).joints_2d[:, 1], pipe.body_model(left_of_image).joints_2d[:, 1]
        assert (joints[0] - joints[1]).abs().max() < 0.05
        given = inpaint("a hand", image=IMAGE, hand_params=fitted, generator=generator())
        assert np.array_equal(np.asarray(out.images[0]), np.asarray(given.images[0]))

    def test_forms_of_the_image(self, pipe, inpaint_alone, left_of_image):
        array = np.asarray(IMAGE).astype(np.float32) / 255
        tensor = torch.from_numpy(array).permute(2, 0, 1)
        photo = IMAGE.transpose(PIL.Image.Transpose.ROTATE_90)
        exif = PIL.Image.Exif()
        exif[274] = 6  # Orientation: the right side of the stored image is down
        photo.info["exif"] = exif.tobytes()
        for image in (array, tensor, tensor * 2 - 1, photo):
            detector = KnownHands(pipe.body_model, left_of_image)
            inpaint_alone("a hand", image=image, hand_params="fit", hand_detector=detector)
            assert np.array_equal(detector.images[0], np.asarray(IMAGE)), type(image)

    def test_name_of_a_detector(self, inpaint_alone, left_of_image, pipe, monkeypatch, tmp_path):
        (tmp_path / "my_detector.py").write_text("def none(image):\n    return []\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ValueError, match="in image 0 none were found"):
            inpaint_alone("a hand", image=IMAGE, hand_params="fit", hand_detector="my_detector:none")
        with pytest.raises(TypeError, match="`hand_detector` must be a callable"):
            inpaint_alone("a hand", image=IMAGE, hand_params="fit", hand_detector=3)

    def test_one_row_per_result(self, pipe, inpaint_alone, left_of_image):
        detector = KnownHands(pipe.body_model, left_of_image)
        fit = {"hand_params": "fit", "hand_detector": detector}
        one = inpaint_alone(["a", "b"], image=IMAGE, num_images_per_prompt=2, **fit)
        assert len(one.hand_params) == 4 and len(detector.images) == 1
        many = inpaint_alone(["a", "b"], image=[IMAGE] * 2, num_images_per_prompt=2, **fit)
        assert len(many.hand_params) == 4 and len(detector.images) == 3

    def test_with_a_crop(self, pipe, inpaint_alone, left_of_image):
        detector = KnownHands(pipe.body_model, left_of_image)
        fit = {"hand_params": "fit", "hand_detector": detector, "hand_mask_margin": 0.0}
        out = inpaint_alone("a hand", image=IMAGE, padding_mask_crop=2, **fit)
        changed = (np.asarray(out.images[0]) != np.asarray(IMAGE)).any(-1)
        mask = np.asarray(inpaint_alone.hand_mask(out.hand_params, HEIGHT, WIDTH, margin=0.0)) > 0
        assert changed.any() and not changed[~mask].any()


class TestSeveralPeople:
    def test_the_mask_says_whose(self, pipe, inpaint, people):
        """Of each result its own."""
        fit = {"hand_params": "fit", "hand_detector": KnownHands(pipe.body_model, people)}
        masks = [box_mask(32, 0, 64, 48), box_mask(0, 0, 32, 48)]
        out = inpaint(["a", "b"], image=IMAGE, mask_image=masks, **fit)
        middles = square_to_pixels(pipe.body_model(out.hand_params).joints_2d[:, 1], HEIGHT, WIDTH).mean(1)
        assert (middles - torch.tensor([[48.0, 24], [16, 24]])).abs().max() < 2

    @pytest.mark.parametrize(
        "mask, words",
        [
            (None, "in image 1 those of 2 people were found; mark one of them by `mask_image`"),
            (box_mask(0, 0, 64, 48), "in image 1 of 2 people with hands, `mask_image` marks 2"),
            (box_mask(0, 0, 2, 2), "in image 1 of 2 people with hands, `mask_image` marks 0"),
        ],
    )
    def test_others_are_refused_by_image(self, pipe, inpaint_alone, people, mask, words):
        first, second = KnownHands(pipe.body_model, people[:1]), KnownHands(pipe.body_model, people)
        images = [IMAGE, random_image(1, HEIGHT, WIDTH)]

        def detector(image):
            return (first if np.array_equal(image, np.asarray(IMAGE)) else second)(image)

        with pytest.raises(ValueError, match=f"`hand_params='fit'` takes the hands of one person per image.*{words}"):
            inpaint_alone(["a", "b"], image=images, mask_image=mask, hand_params="fit", hand_detector=detector)


class TestRefusals:
    def test_latents(self, inpaint_alone):
        latents = torch.zeros(1, 4, 8, 8)
        with pytest.raises(
            ValueError, match="`hand_params='fit'` finds hands among pixels, but `image` holds latents"
        ):
            inpaint_alone("a", image=latents, masked_image_latents=latents, hand_params="fit")

    def test_embeddings(self, inpaint_alone):
        embeds = torch.zeros(1, 77, 16)
        with pytest.raises(ValueError, match="`hand_params` cannot be given with `prompt_embeds`"):
            inpaint_alone(image=IMAGE, prompt_embeds=embeds, hand_params="fit", hand_detector=list)

    def test_detector_without_fit(self, inpaint_alone, hands):
        for given in (None, hands[0]):
            with pytest.raises(ValueError, match="`hand_detector` finds hands for `hand_params='fit'`"):
                inpaint_alone("a", image=IMAGE, hand_params=given, hand_detector=list)

    def test_other_words_and_framing(self, inpaint_alone):
        with pytest.raises(TypeError, match="`hand_params` must be HandParams or 'fit', got 'fitted'"):
            inpaint_alone("a", image=IMAGE, hand_params="fitted")
        with pytest.raises(ValueError, match="`framing` is for sampled hands"):
            inpaint_alone("a", image=IMAGE, hand_params="fit", framing="close_up")

    def test_other_pipelines(self, pipe):
        img2img = quiet(HanDiffuserImg2ImgPipeline.from_pipe(pipe))
        for call in (lambda: pipe("a", hand_params="fit"), lambda: img2img("a", image=IMAGE, hand_params="fit")):
            with pytest.raises(TypeError, match="`hand_params` must be HandParams, got 'fit'; `fit_hands"):
                call()


class TestSampledHandsBesideTheMask:
    @pytest.fixture
    def warnings(self, caplog):
        logger = logging.getLogger("diffusers_handiffuser.pipelines.inpainting")
        logger.addHandler(caplog.handler)
        yield caplog
        logger.removeHandler(caplog.handler)

    def test_one_warning_names_results_and_fit(self, inpaint_alone, warnings):
        """Stage 1 samples on, as it always has."""
        sampled = inpaint_alone.sample_hand_params(["a", "b"], generator=generator())
        outlines = inpaint_alone.hand_mask(sampled, HEIGHT, WIDTH, margin=0.0)
        under = [np.asarray(outline) > 0 for outline in outlines]
        assert all(outline.any() for outline in under)
        beside = PIL.Image.fromarray((~under[1] & ~under[0]).astype(np.uint8) * 255)
        on_hand = PIL.Image.fromarray(under[0].astype(np.uint8) * 255)
        common = {"image": IMAGE, "generator": generator()}
        out = inpaint_alone(["a", "b"], mask_image=[on_hand, beside], **common)
        assert torch.equal(out.hand_params.camera, sampled.camera)
        (said,) = {r.getMessage() for r in warnings.records if "fit" in r.getMessage()}
        assert re.search(r'outside `mask_image` in result 1: `hand_params="fit"`', said)

    def test_not_of_other_hands(self, inpaint_alone, hands, warnings):
        everywhere = box_mask(0, 0, WIDTH, HEIGHT)
        inpaint_alone("a", image=IMAGE, mask_image=everywhere, generator=generator())
        far = hands[:1].replace(camera=torch.tensor([[1.0, 9, 0]]))
        inpaint_alone("a", image=IMAGE, mask_image=box_mask(0, 0, 4, 4), hand_params=far)
        inpaint_alone("a", image=IMAGE, mask_image=box_mask(0, 0, 4, 4), hand_conditioning_scale=0)
        inpaint_alone("a", image=IMAGE, mask_image=PIL.Image.new("L", (WIDTH, HEIGHT)), generator=generator())
        assert "fit" not in warnings.text
