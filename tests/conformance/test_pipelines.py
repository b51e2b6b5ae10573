"""What diffusers asks of every pipeline: the requirements that its own test suite puts to a text-to-image class."""

import copy
import inspect
import logging
import os

import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LoraBaseMixin
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils.source_code_parsing_utils import ReturnNameVisitor

from diffusers_handiffuser import HanDiffuserPipeline

ARGUMENTS = {"prompt": "a hand", "num_inference_steps": 2, "guidance_scale": 6.0, "output_type": "pt"}


def run(pipe, **changes):
    generator = torch.Generator().manual_seed(0)
    return pipe(**{**ARGUMENTS, "generator": generator, **changes})[0]


def modules(pipe):
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


@pytest.fixture
def own_pipe(make_pipe, picture_components, hand_components):
    """A pipeline whose models a test may change."""
    parts = {**picture_components, **hand_components}
    return make_pipe(**{n: copy.deepcopy(p) for n, p in parts.items() if isinstance(p, torch.nn.Module)})


class TestInterface:
    def test_call_signature(self):
        parameters = inspect.signature(HanDiffuserPipeline.__call__).parameters
        required = {"prompt", "height", "width", "guidance_scale", "negative_prompt", "prompt_embeds"}
        required |= {"negative_prompt_embeds", "cross_attention_kwargs", "ip_adapter_image", "ip_adapter_image_embeds"}
        optional = {"num_inference_steps", "num_images_per_prompt", "generator", "latents", "output_type"}
        optional |= {"return_dict", "callback_on_step_end", "callback_on_step_end_tensor_inputs"}
        assert required | optional <= set(parameters)
        assert all(parameters[name].default is not inspect.Parameter.empty for name in optional)

    def test_components_are_those_of_the_constructor(self, pipe):
        names = set(inspect.signature(HanDiffuserPipeline.__init__).parameters)
        names -= {name for name in names if name.startswith("default_")} | {
            "requires_safety_checker",
            "body_sha256",
            "image_domain",
        }
        assert set(pipe.components) == names - {"self"}
        again = HanDiffuserPipeline(**pipe.components, requires_safety_checker=False)
        assert again.components == pipe.components

    def test_returns_of_encode_prompt_can_be_read_from_its_source(self):
        visitor = ReturnNameVisitor()
        visitor.visit(visitor.get_ast_tree(cls=HanDiffuserPipeline))
        assert visitor.return_names == ["prompt_embeds", "negative_prompt_embeds"]

    def test_mixins(self, pipe):
        assert isinstance(pipe, (StableDiffusionPipeline, StableDiffusionMixin, LoraBaseMixin))
        assert set(pipe._lora_loadable_modules) == {"unet", "text_encoder"}
        assert {"vae", "unet"} <= set(pipe.components)


class TestOutput:
    def test_dict_and_tuple(self, pipe):
        assert torch.equal(run(pipe), run(pipe, return_dict=False))

    def test_row_of_a_batch_is_what_it_is_alone(self, pipe):
        """Also beside a caption that is too long."""
        generators = [torch.Generator().manual_seed(i) for i in range(3)]
        batch = run(pipe, prompt=["a hand", "a", 100 * "very long"], generator=generators)
        torch.testing.assert_close(batch[:1], run(pipe), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("images", [1, 2])
    @pytest.mark.parametrize("prompts", [1, 2])
    def test_number_of_images(self, pipe, prompts, images):
        assert len(run(pipe, prompt=["a hand"] * prompts, num_images_per_prompt=images)) == prompts * images

    def test_guidance_can_be_off(self, pipe):
        assert run(pipe, guidance_scale=1.0).shape == run(pipe).shape


class TestSchedulers:
    @pytest.mark.filterwarnings("ignore:Should have ta>=t0")  # torchsde, of rounded times
    def test_one_config_handed_from_each_to_the_next(self, pipe):
        """Also to those whose class does not know half of what the config says by then."""
        pipe.scheduler.register_to_config(skip_prk_steps=True)
        for scheduler in KarrasDiffusionSchedulers:
            pipe.scheduler = getattr(diffusers, scheduler.name).from_config(pipe.scheduler.config)
            steps = 5 if "KDPM2" in scheduler.name else 2
            assert run(pipe, num_inference_steps=steps).shape == (1, 3, 16, 16), scheduler.name


class TestCallback:
    def test_inputs(self, pipe):
        seen = []

        def look(pipe, step, timestep, tensors):
            seen.append(set(tensors))
            return tensors

        run(pipe, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["latents"])
        assert seen == [{"latents"}] * 2
        seen.clear()
        run(pipe, callback_on_step_end=look, callback_on_step_end_tensor_inputs=pipe._callback_tensor_inputs)
        assert seen == [set(pipe._callback_tensor_inputs)] * 2

    def test_latents_can_be_changed(self, pipe):
        def blank(pipe, step, timestep, tensors):
            last = step == pipe.num_timesteps - 1
            return {"latents": torch.zeros_like(tensors["latents"])} if last else tensors

        assert run(pipe, callback_on_step_end=blank, output_type="latent").abs().sum() == 0

    def test_guidance_scale_can_be_changed(self, pipe):
        def increase(pipe, step, timestep, tensors):
            pipe._guidance_scale += 1.0
            return tensors

        run(pipe, callback_on_step_end=increase, callback_on_step_end_tensor_inputs=pipe._callback_tensor_inputs)
        assert pipe.guidance_scale == ARGUMENTS["guidance_scale"] + pipe.num_timesteps == 8.0


class TestFiles:
    @pytest.mark.parametrize("safe", [True, False])
    def test_save_and_load(self, pipe, tmp_path, safe, caplog):
        pipe.save_pretrained(tmp_path, safe_serialization=safe)
        logger = logging.getLogger("diffusers.pipelines.pipeline_utils")
        logger.addHandler(caplog.handler)
        caplog.set_level(logging.INFO, logger.name)
        try:
            loaded = HanDiffuserPipeline.from_pretrained(tmp_path)
        finally:
            logger.removeHandler(caplog.handler)
        assert all(f"Loaded {name}" in caplog.text for name in pipe.components if pipe.components[name] is not None)
        assert set(loaded.components) == set(pipe.components)
        torch.testing.assert_close(run(loaded), run(pipe), rtol=0, atol=1e-5)

    def test_variants(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path, variant="fp16", safe_serialization=False)
        for name in modules(pipe):
            assert any(file.split(".")[1].startswith("fp16") for file in os.listdir(tmp_path / name)), name
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path, variant="fp16")
        for name, module in modules(pipe).items():
            for key, value in modules(loaded)[name].state_dict().items():
                assert torch.equal(value, module.state_dict()[key]), f"{name}.{key}"

    def test_wrong_variant(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="You are trying to load the model files of the `variant=fp16`"):
            HanDiffuserPipeline.from_pretrained(tmp_path, variant="fp16")

    def test_every_optional_component_can_be_none(self, pipe, tmp_path):
        for name in pipe._optional_components:
            setattr(pipe, name, None)
        expected = run(pipe)
        pipe.save_pretrained(tmp_path)
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path)
        assert all(getattr(loaded, name) is None for name in pipe._optional_components)
        torch.testing.assert_close(run(loaded), expected, rtol=0, atol=1e-5)

    def test_a_dtype_for_each_component(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path)
        wanted = {"unet": torch.bfloat16, "default": torch.float16}
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path, dtype=wanted)
        found = {name: module.dtype for name, module in modules(loaded).items()}
        assert found == {name: wanted.get(name, torch.float16) for name in modules(pipe)}

    def test_device_map(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path)
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path, device_map="cpu")
        torch.testing.assert_close(run(loaded), run(pipe), rtol=0, atol=1e-5)


class TestDtype:
    def test_cast(self, own_pipe):
        assert {module.dtype for module in modules(own_pipe).values()} == {torch.float32}
        own_pipe.to(dtype=torch.float16)
        assert {module.dtype for module in modules(own_pipe).values()} == {torch.float16} == {own_pipe.dtype}

    def test_half_precision_draws(self, own_pipe):
        own_pipe.to(dtype=torch.bfloat16)
        assert torch.isfinite(run(own_pipe)).all()


class TestEncodePromptInIsolation:
    def test_text_parts_alone_and_then_the_others(self, make_pipe, pipe):
        """Without hands: diffusers' own form of this leaves the body model out, whose name has no "text" in it."""
        expected = run(pipe, hand_conditioning_scale=0)
        names = set(pipe.components)
        textual = {name for name in names if "text" in name or "tokenizer" in name}
        text_pipe = make_pipe(**dict.fromkeys(names - textual))
        embeds, negative = text_pipe.encode_prompt("a hand", "cpu", 1, True)
        rest = make_pipe(**dict.fromkeys(textual))
        given = run(rest, prompt=None, prompt_embeds=embeds, negative_prompt_embeds=negative)
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-4)

    def test_with_hands(self, make_pipe, pipe, hands):
        expected = run(pipe, hand_params=hands[0])
        names = set(pipe.components)
        textual = {name for name in names if "text" in name or "tokenizer" in name} | {"body_model"}
        text_pipe = make_pipe(**dict.fromkeys(names - textual))
        embeds, negative = text_pipe.encode_prompt("a hand", "cpu", 1, True, hand_params=hands[0])
        rest = make_pipe(**dict.fromkeys(textual))
        given = run(rest, prompt=None, prompt_embeds=embeds, negative_prompt_embeds=negative)
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-4)


class TestFromPipe:
    def test_there_and_back(self, pipe):
        """A Stable Diffusion pipeline and ours share every component that both have.

        diffusers hands a model over only if it has the very class of the annotation; another is passed by name.
        """
        plain = StableDiffusionPipeline.from_pipe(pipe, text_encoder=pipe.text_encoder)
        assert type(plain) is StableDiffusionPipeline
        assert all(plain.components[name] is pipe.components[name] for name in plain.components)
        extra = {name: part for name, part in pipe.components.items() if name not in plain.components}
        back = HanDiffuserPipeline.from_pipe(plain, **extra)
        assert back.components == pipe.components
        assert torch.equal(run(back), run(pipe))
        public = {key: value for key, value in plain.config.items() if not key.startswith("_")}
        again = StableDiffusionPipeline.from_pipe(back, text_encoder=pipe.text_encoder).config
        assert {key: again[key] for key in public} == public
