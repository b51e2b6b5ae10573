"""What diffusers asks of every pipeline, of those that start from a picture or follow a ControlNet."""

import inspect
from dataclasses import dataclass

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AsymmetricAutoencoderKL,
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from diffusers.schedulers import KarrasDiffusionSchedulers

from diffusers_handiffuser import (
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)

SIZE = 16
CLASSES = {
    HanDiffuserImg2ImgPipeline: StableDiffusionImg2ImgPipeline,
    HanDiffuserInpaintPipeline: StableDiffusionInpaintPipeline,
    HanDiffuserControlNetPipeline: StableDiffusionControlNetPipeline,
    HanDiffuserControlNetImg2ImgPipeline: StableDiffusionControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline: StableDiffusionControlNetInpaintPipeline,
}
STARTING = (HanDiffuserImg2ImgPipeline, HanDiffuserControlNetImg2ImgPipeline)
INPAINTING = (HanDiffuserInpaintPipeline, HanDiffuserControlNetInpaintPipeline)
BATCHED = ("prompt", "image", "mask_image", "control_image", "negative_prompt")


@dataclass
class Case:
    """A pipeline, and what is added to a call of it."""

    pipe: HanDiffuserPipeline
    inputs: dict

    def run(self, pipe=None, **changes):
        arguments = {"prompt": "a hand", "num_inference_steps": 4, "guidance_scale": 6.0, "output_type": "pt"}
        generator = torch.Generator().manual_seed(0)
        return (pipe or self.pipe)(**{**arguments, **self.inputs, "generator": generator, **changes})[0]


def picture() -> torch.Tensor:
    """In [0, 1], and exactly what 8 bits hold."""
    return torch.randint(0, 256, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)) / 255


@pytest.fixture(scope="session")
def controlnet(picture_components):
    torch.manual_seed(4)
    controlnet = ControlNetModel.from_unet(
        picture_components["unet"], conditioning_channels=3, conditioning_embedding_out_channels=(8, 8)
    )
    for block in controlnet.controlnet_down_blocks:
        torch.nn.init.normal_(block.weight, std=0.1)
    return controlnet.eval()


@pytest.fixture(params=list(CLASSES), ids=lambda cls: cls.__name__)
def case(request, make_pipe, controlnet) -> Case:
    cls, inputs = request.param, {"image": picture()}
    extra = {"controlnet": controlnet} if "ControlNet" in cls.__name__ else {}
    if cls in STARTING:
        inputs["strength"] = 0.75
    if cls in INPAINTING:
        mask = torch.zeros(1, 1, SIZE, SIZE)
        mask[..., 4:12, 4:12] = 1
        inputs["mask_image"] = mask
    if extra and cls is not HanDiffuserControlNetPipeline:
        inputs["control_image"] = picture().flip(-1)
    if cls is HanDiffuserControlNetPipeline:
        inputs |= {"height": SIZE, "width": SIZE}
    pipe = cls.from_pipe(make_pipe(), **extra)
    pipe.set_progress_bar_config(disable=True)
    return Case(pipe, inputs)


def close(a, b, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=tolerance)


class TestCalls:
    def test_signature(self, case):
        parameters = inspect.signature(type(case.pipe).__call__).parameters
        required = {"prompt", "image", "guidance_scale", "negative_prompt", "prompt_embeds", "negative_prompt_embeds"}
        optional = {"num_inference_steps", "num_images_per_prompt", "generator", "output_type", "return_dict"}
        assert required | optional <= set(parameters)
        assert all(parameters[name].default is not inspect.Parameter.empty for name in optional)

    def test_dict_and_tuple(self, case):
        assert torch.equal(case.run(), case.run(return_dict=False))

    def test_row_of_a_batch_is_what_it_is_alone(self, case):
        """Pictures and masks as lists of what one call takes; one caption is too long."""
        inputs = {name: [value] * 3 for name, value in case.inputs.items() if name in BATCHED}
        generators = [torch.Generator().manual_seed(i) for i in range(3)]
        batch = case.run(prompt=["a hand", "a", 100 * "very long"], generator=generators, **inputs)
        assert len(batch) == 3
        close(batch[:1], case.run())

    @pytest.mark.parametrize("images", [1, 2])
    @pytest.mark.parametrize("prompts", [1, 2])
    def test_number_of_images(self, case, prompts, images):
        inputs = {name: [value] * prompts for name, value in case.inputs.items() if name in BATCHED}
        results = case.run(prompt=["a hand"] * prompts, num_images_per_prompt=images, **inputs)
        assert len(results) == prompts * images

    def test_guidance_can_be_off(self, case):
        assert case.run(guidance_scale=1.0).shape == case.run().shape

    def test_callbacks(self, case):
        names = case.pipe._callback_tensor_inputs
        seen = []

        def look(pipe, step, timestep, tensors):
            seen.append(set(tensors))
            last = step == pipe.num_timesteps - 1
            return {"latents": torch.zeros_like(tensors["latents"])} if last else tensors

        options = {"callback_on_step_end": look, "output_type": "latent"}
        case.run(callback_on_step_end_tensor_inputs=["latents"], **options)
        assert seen and all(tensors == {"latents"} for tensors in seen)
        seen.clear()
        assert case.run(callback_on_step_end_tensor_inputs=names, **options).abs().sum() == 0
        assert seen and all(tensors == set(names) for tensors in seen)

    def test_guidance_scale_can_be_changed(self, case):
        def increase(pipe, step, timestep, tensors):
            pipe._guidance_scale += 1.0
            return tensors

        case.run(guidance_scale=2.0, callback_on_step_end=increase)
        assert case.pipe.guidance_scale == 2.0 + case.pipe.num_timesteps

    @pytest.mark.filterwarnings("ignore:Should have ta>=t0")  # torchsde, of rounded times
    def test_every_scheduler(self, case):
        """One config handed from each to the next."""
        case.pipe.scheduler.register_to_config(skip_prk_steps=True)
        for scheduler in KarrasDiffusionSchedulers:
            case.pipe.scheduler = getattr(diffusers, scheduler.name).from_config(case.pipe.scheduler.config)
            steps = 5 if "KDPM2" in scheduler.name else 4
            changes = {} if type(case.pipe) is HanDiffuserControlNetPipeline else {"strength": 0.5}
            picture = case.run(num_inference_steps=steps, **changes)
            assert picture.shape == (1, 3, SIZE, SIZE), scheduler.name

    def test_encode_prompt_in_isolation(self, case):
        """Without hands: diffusers' own form of this leaves the body model out, whose name has no "text" in it."""
        components = case.pipe.components
        textual = {name for name in components if "text" in name or "tokenizer" in name}

        def with_some(names):
            chosen = {name: part if name in names else None for name, part in components.items()}
            pipe = type(case.pipe)(**chosen, requires_safety_checker=False)
            pipe.set_progress_bar_config(disable=True)
            return pipe

        if "controlnet" in components:
            textual = textual | {"controlnet"}  # diffusers' pipeline does not work without one
        embeds, negative = with_some(textual).encode_prompt("a hand", "cpu", 1, True)
        rest = with_some(set(components) - textual | ({"controlnet"} & set(components)))
        given = {"prompt": None, "prompt_embeds": embeds, "negative_prompt_embeds": negative}
        close(case.run(rest, **given), case.run(hand_conditioning_scale=0))


class TestFiles:
    def test_save_and_load(self, case, tmp_path):
        case.pipe.save_pretrained(tmp_path, safe_serialization=False)
        loaded = type(case.pipe).from_pretrained(tmp_path)
        assert set(loaded.components) == set(case.pipe.components)
        close(case.run(loaded), case.run(), 1e-5)

    def test_every_optional_component_can_be_none(self, case, tmp_path):
        for name in case.pipe._optional_components:
            setattr(case.pipe, name, None)
        expected = case.run()
        case.pipe.save_pretrained(tmp_path)
        loaded = type(case.pipe).from_pretrained(tmp_path)
        assert all(getattr(loaded, name) is None for name in case.pipe._optional_components)
        close(case.run(loaded), expected, 1e-5)

    def test_dtypes_and_variants(self, case, tmp_path):
        case.pipe.save_pretrained(tmp_path, variant="fp16", safe_serialization=False)
        wanted = {"unet": torch.bfloat16, "default": torch.float16}
        loaded = type(case.pipe).from_pretrained(tmp_path, variant="fp16", dtype=wanted)
        modules = {name: part for name, part in loaded.components.items() if isinstance(part, torch.nn.Module)}
        found = {name: module.dtype for name, module in modules.items()}
        assert found == {name: wanted.get(name, torch.float16) for name in modules}

    def test_device_map(self, case, tmp_path):
        case.pipe.save_pretrained(tmp_path)
        loaded = type(case.pipe).from_pretrained(tmp_path, device_map="cpu")
        close(case.run(loaded), case.run(), 1e-5)


class TestFromPipe:
    def test_of_stable_diffusions(self, case):
        """The pipeline of the same task with the same parts gives ours, and is itself what it was."""
        original_class = CLASSES[type(case.pipe)]
        expected, _ = original_class._get_signature_keys(original_class)
        parts = {name: case.pipe.components.get(name) for name in expected}
        original = original_class(**parts, requires_safety_checker=False)
        original.set_progress_bar_config(disable=True)
        before = case.run(original)
        further = {name: part for name, part in case.pipe.components.items() if name not in parts}
        ours = type(case.pipe).from_pipe(original, **further, default_num_hand_inference_steps=2)
        ours.set_progress_bar_config(disable=True)
        close(case.run(ours), case.run(), 1e-5)
        assert torch.equal(case.run(original), before)
        back = original_class.from_pipe(ours, text_encoder=parts["text_encoder"])
        public = [key for key in original.config if not key.startswith("_")]
        assert {key: back.config[key] for key in public} == {key: original.config[key] for key in public}


class TestPictures:
    def test_forms_agree(self, case):
        """A tensor, an array and a PIL picture of the same pixels; results as tensor, array and PIL pictures."""
        tensor = case.run(output_type="pt")
        as_array = picture()[0].permute(1, 2, 0).numpy()
        as_pil = PIL.Image.fromarray((as_array * 255).round().astype("uint8"))
        close(case.run(image=as_array), tensor)
        close(case.run(image=as_pil), tensor, 1e-2)
        array = case.run(output_type="np")
        close(array, tensor.permute(0, 2, 3, 1))
        pil = np.asarray(case.run(output_type="pil")[0]).astype(int)
        assert np.abs(pil - (array[0] * 255).round()).max() < 2

    @torch.no_grad()
    def test_latents_in_place_of_the_picture(self, case):
        """As the VAE makes them, from the generator of the call."""
        if type(case.pipe) in (HanDiffuserControlNetPipeline, HanDiffuserControlNetInpaintPipeline):
            pytest.skip("takes pictures")
        pipe, vae = case.pipe, case.pipe.vae
        generator = torch.Generator().manual_seed(0)
        changes = {}
        encode = pipe.image_processor.preprocess(picture())
        latents = vae.encode(encode).latent_dist.sample(generator) * vae.config.scaling_factor
        if isinstance(pipe, HanDiffuserInpaintPipeline):
            changes = {"keep_unmasked": False, "strength": 0.9}
            mask = pipe.mask_processor.preprocess(case.inputs["mask_image"])
            torch.randn(1, 4, 8, 8, generator=generator)  # the noise, drawn before the masked picture is encoded
            masked = vae.encode(encode * (mask < 0.5)).latent_dist.sample(generator) * vae.config.scaling_factor
            generator = torch.Generator().manual_seed(0)
            torch.randn(1, 4, 8, 8, generator=generator)
            given = {"masked_image_latents": masked}
        else:
            given = {}
        expected = case.run(**changes)
        hand_generator = {"hand_generator": torch.Generator().manual_seed(0), "generator": generator}
        close(case.run(**changes, **given, image=latents, **hand_generator), expected)

    @pytest.mark.parametrize("vae_class", [AutoencoderKL, AsymmetricAutoencoderKL, AutoencoderTiny])
    def test_other_vaes(self, case, vae_class):
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        configs = {
            AutoencoderKL: {**blocks, "block_out_channels": (8, 8), "norm_num_groups": 2},
            AsymmetricAutoencoderKL: {
                **blocks,
                "down_block_out_channels": (8, 8),
                "up_block_out_channels": (8, 8),
                "norm_num_groups": 2,
            },
            AutoencoderTiny: {
                "encoder_block_out_channels": (8, 8),
                "decoder_block_out_channels": (8, 8),
                "num_encoder_blocks": (1, 1),
                "num_decoder_blocks": (1, 1),
            },
        }
        vae = vae_class(**configs[vae_class])
        pipe = type(case.pipe)(**{**case.pipe.components, "vae": vae.eval()}, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        assert case.run(pipe).shape == (1, 3, SIZE, SIZE)
