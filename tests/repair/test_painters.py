"""Painters call tiny real pipelines, of the classes that users have, with what each of them takes."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from control_inputs import Seen, expected_input, note_inputs
from diffusers import (
    AutoPipelineForInpainting,
    ControlNetModel,
    DiffusionPipeline,
    FluxControlNetInpaintPipeline,
    FluxInpaintPipeline,
    MultiControlNetModel,
    QwenImageControlNetInpaintPipeline,
    QwenImageInpaintPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    ZImageControlNetInpaintPipeline,
    ZImageInpaintPipeline,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image, ImageOps
from releases import TOO_OLD_FOR
from tiny_pipelines import (
    CHANNELS,
    WIDTH,
    controlnet,
    controlnet_union,
    flux,
    qwen_image,
    qwen_image_controlnet,
    qwen_tokenizer,
    stable_diffusion,
    stable_diffusion_xl,
    stir,
    z_image,
)
from transformers import CLIPConfig, CLIPImageProcessor

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserInpaintPipeline,
)
from diffusers_handiffuser.repair import HandCrop, PaintingError, painter_for
from diffusers_handiffuser.studio import Studio, sample_scene

SIZE = 256
"""Of crops, pixels; the latents are 8 x 8."""
STEPS = 4


def in_class(pipe: DiffusionPipeline, cls: type, **components) -> DiffusionPipeline:
    """The models of a pipeline, and others, in a pipeline of another class."""
    names, _ = cls._get_signature_keys(cls)
    components = {name: value for name, value in {**pipe.components, **components}.items() if name in names}
    checker = {"requires_safety_checker": False} if "safety_checker" in names else {}
    pipe = cls(**components, **checker)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd(tokenizer, folder, cls, in_channels=CHANNELS, **components) -> DiffusionPipeline:
    return in_class(stable_diffusion(tokenizer, in_channels), cls, **components)


def sdxl(tokenizer, folder, cls, **components) -> DiffusionPipeline:
    return in_class(stable_diffusion_xl(tokenizer), cls, **components)


MAKERS: dict[str, Callable[..., DiffusionPipeline]] = {
    "sd": lambda *to: sd(*to, StableDiffusionInpaintPipeline),
    "sd-9-channels": lambda *to: sd(*to, StableDiffusionInpaintPipeline, 2 * CHANNELS + 1),
    "sd-controlnet": lambda *to: sd(*to, StableDiffusionControlNetInpaintPipeline, controlnet=controlnet(False)),
    "sdxl": lambda *to: sdxl(*to, StableDiffusionXLInpaintPipeline),
    "sdxl-controlnet": lambda *to: sdxl(*to, StableDiffusionXLControlNetInpaintPipeline, controlnet=controlnet(True)),
    "sdxl-union": lambda *to: sdxl(
        *to, StableDiffusionXLControlNetUnionInpaintPipeline, controlnet=controlnet_union()
    ),
    "flux": lambda tokenizer, folder: in_class(flux(tokenizer), FluxInpaintPipeline),
    "flux-controlnet": lambda tokenizer, folder: in_class(flux(tokenizer), FluxControlNetInpaintPipeline),
    "qwen": lambda tokenizer, folder: in_class(qwen_image(qwen_tokenizer(folder / "qwen")), QwenImageInpaintPipeline),
    "z-image": lambda tokenizer, folder: in_class(z_image(qwen_tokenizer(folder / "z")), ZImageInpaintPipeline),
    "z-image-controlnet": lambda tokenizer, folder: in_class(
        z_image(qwen_tokenizer(folder / "z controlnet")), ZImageControlNetInpaintPipeline
    ),
}
OPTIONS = {"sdxl-union": {"control_mode": 1}}
SEES_CONDITION = ("sd-controlnet", "sdxl-controlnet", "sdxl-union", "flux-controlnet", "z-image-controlnet")
REDRAWS_ALL = ("sd-9-channels", "z-image-controlnet")
"""Their networks see what the mask leaves out, and draw it, too."""


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Around every test here."""


@pytest.fixture(scope="module")
def made(tokenizer, tmp_path_factory) -> Callable[[str], DiffusionPipeline]:
    """The pipeline of a name in `MAKERS`."""
    pipes: dict[str, DiffusionPipeline] = {}
    folder = tmp_path_factory.mktemp("tokenizers")

    def make(name: str) -> DiffusionPipeline:
        for start, reason in TOO_OLD_FOR.items():
            if name.startswith(start):
                pytest.skip(reason)
        if name not in pipes:
            torch.manual_seed(0)
            pipes[name] = MAKERS[name](tokenizer, folder)
        return pipes[name]

    return make


@pytest.fixture(scope="module")
def crop() -> HandCrop:
    """A drawn hand, of which the right half is to be painted."""
    pixels, hand_params = Studio(size=SIZE).draw([sample_scene(0, "train", 5, "close_up")])
    assert hand_params.hand_visible.sum() == 1
    image = Image.fromarray((255 * pixels[0]).round().byte().permute(1, 2, 0).numpy())
    mask = Image.new("L", image.size)
    mask.paste(255, (SIZE // 2, 0, SIZE, SIZE))
    return HandCrop(image, mask, hand_params, "a hand", None, 0.5, 0)


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """What ControlNets are given from now on."""
    return note_inputs(monkeypatch)


def painter_of(pipe, name="", **options):
    return painter_for(pipe, **{"size": SIZE, "num_inference_steps": STEPS, **OPTIONS.get(name, {}), **options})


def count_steps(pipe: DiffusionPipeline, run: Callable[[], object]) -> int:
    """How often a run calls the denoising network."""
    calls = []
    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    handle = network.register_forward_pre_hook(lambda *_: calls.append(1))
    run()
    handle.remove()
    return len(calls)


@pytest.mark.parametrize("name", MAKERS)
def test_paints_by_seed(made, crop, name):
    painter = painter_of(made(name), name)
    image = painter(crop)
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    assert np.array_equal(image, painter(crop))
    assert not np.array_equal(image, painter(replace(crop, seed=1)))


@pytest.mark.parametrize("name", MAKERS)
def test_strength_shortens_the_schedule(made, crop, name):
    pipe = made(name)
    painter = painter_of(pipe, name)
    half, whole = (count_steps(pipe, lambda s=s: painter(replace(crop, strength=s))) for s in (0.5, 1.0))
    assert whole == STEPS and half == (STEPS if name == "z-image-controlnet" else STEPS // 2)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in REDRAWS_ALL])
def test_unmasked_content_comes_back(made, crop, name):
    """The latents of the half that the mask leaves out are those of the image, whatever the noise."""

    def last_latents(crop: HandCrop) -> torch.Tensor:
        steps = []

        def note(pipe, step, timestep, tensors):
            steps.append(tensors["latents"])
            return tensors

        painter_of(made(name), name, callback_on_step_end=note)(replace(crop, strength=1.0))
        return steps[-1]

    latents = last_latents(crop)
    kept = torch.isclose(latents, last_latents(replace(crop, seed=1)), atol=1e-4)
    assert kept.float().mean() == pytest.approx(0.5, abs=0.02)
    other = last_latents(replace(crop, image=ImageOps.invert(crop.image)))
    assert torch.isclose(latents, other, atol=1e-4)[kept].float().mean() < 0.05


@pytest.mark.parametrize("name", SEES_CONDITION)
@pytest.mark.parametrize("condition", ["depth_hand", "openpose"])
def test_controlnet_sees_the_hand(made, crop, seen, name, condition):
    pipe = made(name)
    painter_of(pipe, name, condition=condition, condition_scale=0.5)(crop)
    hand = crop.hand_params[0].to_condition(condition, SIZE, parts=("hands",))
    expected = expected_input(pipe, hand)
    assert seen
    for call in seen:
        given = call.condition[:, :CHANNELS] if name == "z-image-controlnet" else call.condition
        wanted = expected[:, :CHANNELS] if name == "z-image-controlnet" else expected
        assert call.scale == 0.5
        if name.startswith("sd"):
            assert torch.equal(given, wanted.expand_as(given))
        else:  # the VAE's deviations are small, but not 0
            torch.testing.assert_close(given, wanted.expand_as(given), rtol=0, atol=1e-5)


def test_several_controlnets(tokenizer, crop, seen):
    torch.manual_seed(0)
    nets = MultiControlNetModel([controlnet(False), controlnet(False)])
    pipe = in_class(stable_diffusion(tokenizer), StableDiffusionControlNetInpaintPipeline, controlnet=nets)
    painter_of(pipe, condition=("openpose", "depth"), condition_scale=(0.5, 0.25))(crop)
    for call, condition, scale in zip(seen, ["openpose", "depth"] * 2, [0.5, 0.25] * 2, strict=True):
        expected = expected_input(pipe, crop.hand_params[0].to_condition(condition, SIZE, parts=("hands",)))
        assert torch.equal(call.condition, expected.expand_as(call.condition)) and call.scale == scale


def test_conditions_show_the_given_body(made, crop, seen):
    body_model = HandBodyModel.procedural()
    body_model.template.mul_(1.05)
    painter_of(made("sd-controlnet"), body_model=body_model)(crop)
    images = [crop.hand_params[0].to_condition("depth_hand", SIZE, body) for body in (body_model, None)]
    expected, other = (expected_input(made("sd-controlnet"), image) for image in images)
    assert torch.equal(seen[0].condition, expected.expand_as(seen[0].condition))
    assert not torch.equal(expected, other)


def test_options_reach_the_call(made, crop):
    pipe, ends = made("sd-controlnet"), []

    def note(pipe, step, timestep, tensors):
        ends.append(step)
        return tensors

    image = painter_of(pipe, callback_on_step_end=note)(crop)
    assert ends == [0, 1]
    assert not np.array_equal(image, painter_of(pipe, guidance_scale=1.0)(crop))
    assert not np.array_equal(image, painter_of(pipe, condition_scale=0.0)(crop))


def test_prompts_take_effect(made, crop):
    painter = painter_of(made("sd"))
    images = [painter(crop), painter(replace(crop, prompt="a fist")), painter(replace(crop, negative_prompt="fog"))]
    assert len({image.tobytes() for image in images}) == 3


def test_a_call_leaves_the_pipeline_as_it_is(made, crop):
    pipe = made("sd-controlnet")

    def state():
        return pipe.components, dict(pipe.config), dict(pipe.scheduler.config), dict(pipe._progress_bar_config)

    before, random = state(), torch.get_rng_state()
    painter_of(pipe)(crop)
    assert state() == before
    assert torch.equal(torch.get_rng_state(), random)


class TestHanDiffuser:
    """Pipelines of HanDiffuser are given the hand itself."""

    SIZE = 16

    @pytest.fixture
    def crop(self, crop):
        small = (self.SIZE, self.SIZE)
        return replace(crop, image=crop.image.resize(small), mask=crop.mask.resize(small))

    def test_text_to_image_pipelines_get_a_counterpart(self, pipe, crop):
        scheduler, config = pipe.scheduler, dict(pipe.config)
        painter = painter_for(pipe)
        assert painter.size == self.SIZE
        assert isinstance(painter.pipe, HanDiffuserInpaintPipeline)
        assert all(painter.pipe.components[name] is part for name, part in pipe.components.items())
        assert pipe.scheduler is scheduler and dict(pipe.config) == config
        inpaint = AutoPipelineForInpainting.from_pipe(pipe)
        assert np.array_equal(painter(crop), painter_for(inpaint)(crop))

    def test_the_counterpart_keeps_dtypes(self, make_pipe, picture_components):
        unet = copy.deepcopy(picture_components["unet"]).to(torch.bfloat16)
        painter_for(make_pipe(unet=unet))
        assert unet.dtype == torch.bfloat16

    def test_the_hand_takes_effect(self, pipe, crop):
        painter = painter_for(pipe)
        other = crop.hand_params.replace(right_hand_pose=crop.hand_params.right_hand_pose + 0.5)
        assert not np.array_equal(painter(crop), painter(replace(crop, hand_params=other)))

    def test_unmasked_pixels(self, pipe, crop):
        left = slice(None), slice(0, self.SIZE // 2)
        kept = painter_for(pipe, keep_unmasked=True)(crop)
        assert np.array_equal(np.asarray(kept)[left], np.asarray(crop.image)[left])
        assert not np.array_equal(np.asarray(painter_for(pipe)(crop))[left], np.asarray(crop.image)[left])

    def test_controlnets_see_the_hand(self, pipe, crop, seen):
        torch.manual_seed(0)
        net = stir(ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8)))
        painter = painter_for(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=net), condition="depth")
        assert isinstance(painter.pipe, HanDiffuserControlNetInpaintPipeline) and painter.size == self.SIZE
        image = painter(crop)
        expected = expected_input(painter.pipe, crop.hand_params[0].to_condition("depth", self.SIZE))
        assert seen and all(torch.equal(call.condition, expected.expand_as(call.condition)) for call in seen)
        other = crop.hand_params.replace(right_hand_pose=crop.hand_params.right_hand_pose + 0.5)
        assert not np.array_equal(image, painter(replace(crop, hand_params=other)))


@pytest.mark.parametrize(
    "name, size", [("sd", 512), ("sdxl", 512), ("flux", 1024), ("qwen", 1024), ("z-image-controlnet", 1024)]
)
def test_native_size(made, name, size):
    assert painter_for(made(name)).size == size


def test_blackened_images_are_not_returned(tokenizer, crop):
    sides = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sides, "image_size": 32, "patch_size": 16, "projection_dim": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=sides, vision_config=vision, projection_dim=8))
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)  # any image is over the threshold
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pipe = in_class(
        stable_diffusion(tokenizer),
        StableDiffusionInpaintPipeline,
        safety_checker=checker.eval(),
        feature_extractor=extractor,
    )
    with pytest.raises(PaintingError, match="^the safety checker of StableDiffusionInpaintPipeline blackened"):
        painter_of(pipe)(crop)


class TestRefused:
    @pytest.mark.parametrize(
        "options, error, message",
        [
            ({"condition": "canny"}, ValueError, "`kind` must be one of openpose, depth, depth_hand"),
            ({"condition": ("depth", "edges")}, ValueError, "got 'edges'"),
            (
                {"size": 100},
                ValueError,
                "`size` must be a multiple of 32 for StableDiffusionControlNetInpaintPipeline",
            ),
            ({"size": 0}, ValueError, "`size` must be a whole number of at least 1"),
            ({"guidance_scal": 3.0}, TypeError, "takes no `guidance_scal`; did you mean `guidance_scale`?"),
            ({"strength": 0.5}, TypeError, "`strength` is not an option"),
        ],
    )
    def test_options(self, made, options, error, message):
        with pytest.raises(error, match=message.replace("?", "\\?")):
            painter_for(made("sd-controlnet"), **options)

    def test_scale_without_controlnet(self, made):
        with pytest.raises(TypeError, match="StableDiffusionInpaintPipeline takes no `controlnet_conditioning_scale`"):
            painter_for(made("sd"), condition_scale=0.5)

    def test_negative_prompt(self, made, crop):
        with pytest.raises(ValueError, match="FluxControlNetInpaintPipeline takes no negative prompt"):
            painter_of(made("flux-controlnet"))(replace(crop, negative_prompt="fog"))

    def test_crops_of_another_size(self, made, crop):
        with pytest.raises(ValueError, match="must have 512 x 512 pixels, got 256 x 256 and 256 x 256"):
            painter_of(made("sd"), size=512)(crop)

    def test_pipelines_that_do_not_inpaint(self, tokenizer):
        message = "StableDiffusionPipeline cannot repair hands: its call takes no `image`.*AutoPipelineForInpainting"
        with pytest.raises(ValueError, match=message):
            painter_for(stable_diffusion(tokenizer))

    def test_controlnets_that_see_no_hand(self, made):
        pipe = in_class(made("qwen"), QwenImageControlNetInpaintPipeline, controlnet=qwen_image_controlnet())
        with pytest.raises(ValueError, match="QwenImageControlNetInpaintPipeline .* its call takes no `image`"):
            painter_for(pipe)

    @pytest.mark.parametrize("pipe, kind", [("sd", "str"), (StableDiffusionInpaintPipeline, "the class Stable")])
    def test_other_things(self, pipe, kind):
        with pytest.raises(TypeError, match=f"must be an inpainting pipeline or a painter, got {kind}"):
            painter_for(pipe)


class Copier:
    """A painter that is no pipeline."""

    size = 64

    def __call__(self, crop: HandCrop, /) -> Image.Image:
        return crop.image


def test_painters_are_painters():
    copier = Copier()
    assert painter_for(copier) is copier
    with pytest.raises(TypeError, match="Copier, which takes no options"):
        painter_for(copier, guidance_scale=3.0)
