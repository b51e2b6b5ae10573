"""Stable Diffusion's features, each on a tiny pipeline with hands; `docs/features.md` lists where each is tested."""

import copy
import logging
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback
from diffusers.loaders import IPAdapterMixin
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from diffusers_handiffuser import HanDiffuserBlocks, HanDiffuserPipeline
from diffusers_handiffuser.pipelines.hand_encoding import tokenize_captions

TARGETS = {"unet": ["to_q", "to_k", "to_v", "to_out.0"], "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"]}


@pytest.fixture
def draw(hands):
    """Draws with given hands: the same prompt, hands and seed unless a test says otherwise."""

    def call(pipe, prompt="a hand", **changes):
        arguments = {"hand_params": hands[0], "generator": torch.Generator().manual_seed(0), "output_type": "pt"}
        if prompt is not None:
            arguments["prompt"] = prompt
        return pipe(**{**arguments, **changes})[0]

    return call


@pytest.fixture
def own_pipe(make_pipe, picture_components, hand_components, tokenizer):
    """A pipeline whose U-Net, VAE, text encoder and tokenizer a test may change."""
    parts = {"unet": picture_components["unet"], "vae": picture_components["vae"], "tokenizer": tokenizer}
    return make_pipe(**copy.deepcopy({**parts, "text_encoder": hand_components["text_encoder"]}))


def differ(a, b):
    return (a - b).abs().max().item() > 1e-4


class TestPrompts:
    def test_negative_prompt(self, pipe, draw):
        plain, negative = draw(pipe), draw(pipe, negative_prompt="blurry")
        assert differ(plain, negative)
        assert torch.equal(draw(pipe, negative_prompt=""), plain)
        assert torch.equal(draw(pipe, negative_prompt="blurry", guidance_scale=1), draw(pipe, guidance_scale=1))

    def test_prompt_weighting(self, pipe, draw, hands):
        """As compel and its like do it: states of words are scaled, and the result is given as embeddings."""
        embeds, negative = pipe.encode_prompt("a hand", "cpu", 1, True, hand_params=hands[0])
        plain = draw(pipe)
        given = {"prompt": None, "hand_params": None, "negative_prompt_embeds": negative}
        assert torch.equal(draw(pipe, **given, prompt_embeds=embeds), plain)
        weights = torch.ones(embeds.shape[1])
        weights[2 + 1 : 2 + 6] = 1.4  # theta and M come first, then the caption
        weighted = draw(pipe, **given, prompt_embeds=embeds * weights[None, :, None])
        assert torch.isfinite(weighted).all() and differ(weighted, plain)

    def test_prompt_weighting_of_text_alone(self, pipe, draw):
        embeds, negative = pipe.encode_prompt("a hand", "cpu", 1, True)
        weighted = {"prompt_embeds": embeds * 1.2, "negative_prompt_embeds": negative}
        assert differ(draw(pipe, prompt=None, hand_params=None, **weighted), draw(pipe, hand_conditioning_scale=0))

    @torch.no_grad()
    def test_text_encoder_answers_as_weighting_libraries_ask(self, pipe):
        """They call it with ids and mask by position, and finish a hidden state themselves."""
        ids = tokenize_captions(["a hand"], pipe.tokenizer, "cpu")
        encoder = pipe.text_encoder
        output = encoder(ids, torch.ones_like(ids), output_hidden_states=True, return_dict=True)
        finished = encoder.text_model.final_layer_norm(output.hidden_states[-1])
        torch.testing.assert_close(finished, output.last_hidden_state)
        torch.testing.assert_close(output[0], encoder(ids)[0], rtol=0, atol=1e-5)
        assert encoder.config.max_position_embeddings == 77 and encoder.device.type == "cpu"

    @pytest.mark.parametrize("length", [78, 10**12, int(1e30)])
    def test_tokenizers_that_say_another_length(self, pipe, draw, length, monkeypatch):
        """They would pad to it, in memory that ends the process."""
        monkeypatch.setattr(pipe.tokenizer, "model_max_length", length)
        sentence = f"`tokenizer` has `model_max_length` {length}, but `text_encoder` takes 77 tokens"
        for scale in (0, 1):
            with pytest.raises(ValueError, match=sentence):
                draw(pipe, hand_conditioning_scale=scale)
        with pytest.raises(ValueError, match=sentence):
            pipe.encode_prompt("a hand", "cpu", 1, False)
        with pytest.raises(ValueError, match=sentence):
            pipe.encode_prompt(None, "cpu", 1, True, "none", prompt_embeds=torch.zeros(1, 165, 1))

    @pytest.mark.parametrize("hand_conditioning_scale", [0, 1])
    def test_long_prompt(self, pipe, draw, caplog, hand_conditioning_scale):
        """What does not fit is cut, and the same sentence says so with hands and without."""
        loggers = [
            logging.getLogger(name)
            for name in (
                "diffusers_handiffuser.pipelines.hand_encoding",
                "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
            )
        ]
        for logger in loggers:
            logger.addHandler(caplog.handler)
        try:
            long = draw(pipe, "x " * 75 + "no more room", hand_conditioning_scale=hand_conditioning_scale)
        finally:
            for logger in loggers:
                logger.removeHandler(caplog.handler)
        assert "The following part of your input was truncated because CLIP can only handle" in caplog.text
        assert "nomoreroom" in caplog.text.replace(" ", "")
        short = draw(pipe, "x " * 75, hand_conditioning_scale=hand_conditioning_scale)
        torch.testing.assert_close(long, short, rtol=0, atol=1e-5)

    def test_clip_skip(self, pipe, draw):
        plain = draw(pipe)
        assert torch.equal(draw(pipe, clip_skip=0), plain)
        assert differ(draw(pipe, clip_skip=1), plain)
        with pytest.raises(ValueError, match="`clip_skip` must be a whole number from 0 to 3"):
            draw(pipe, clip_skip=9)


class TestSampling:
    def test_guidance_rescale(self, pipe, draw):
        plain, rescaled = draw(pipe), draw(pipe, guidance_rescale=0.7)
        assert differ(plain, rescaled)
        assert torch.equal(draw(pipe, guidance_rescale=0.0), plain)

    def test_eta(self, pipe, draw):
        assert differ(draw(pipe, eta=1.0), draw(pipe))
        assert torch.equal(draw(pipe, eta=1.0), draw(pipe, eta=1.0)), "its noise comes from the generator"

    def test_latents(self, pipe, draw):
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(1, 4, 8, 8, generator=generator)
        assert torch.equal(draw(pipe, latents=latents), draw(pipe))
        assert differ(draw(pipe, latents=-latents), draw(pipe))

    def test_output_types_agree(self, pipe, draw):
        latent = draw(pipe, output_type="latent")
        assert latent.shape == (1, 4, 8, 8)
        with torch.no_grad():
            decoded = pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample
        tensor = draw(pipe, output_type="pt")
        torch.testing.assert_close(tensor, (decoded / 2 + 0.5).clamp(0, 1))
        array = draw(pipe, output_type="np")
        np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
        picture = draw(pipe, output_type="pil")[0]
        assert isinstance(picture, PIL.Image.Image)
        np.testing.assert_array_equal(np.asarray(picture), (array[0] * 255).round().astype("uint8"))

    @pytest.mark.parametrize("output_type", ["latent", "pt", "pil"])
    def test_numbers_that_are_not_finite_are_an_error(self, pipe, draw, output_type):
        def poison(pipe, step, timestep, tensors):
            return {"latents": tensors["latents"] * float("nan")}

        with pytest.raises(ValueError, match="image holds numbers that are not finite"):
            draw(pipe, callback_on_step_end=poison, output_type=output_type)

    def test_guidance_is_cut_off_by_diffusers_callback(self, pipe, draw):
        """`SDCFGCutoffCallback` drops the unconditional half of our longer embeddings, too."""
        batches = []
        handle = pipe.unet.register_forward_pre_hook(lambda unet, args: batches.append(len(args[0])))
        try:
            draw(pipe, num_inference_steps=5, callback_on_step_end=SDCFGCutoffCallback(cutoff_step_ratio=0.4))
        finally:
            handle.remove()
        assert batches == [2, 2, 2, 1, 1] and pipe.guidance_scale == 0

    def test_callback_sees_what_it_asks_for(self, pipe, draw):
        shapes = {}

        def look(pipe, step, timestep, tensors):
            shapes.update({name: tuple(value.shape) for name, value in tensors.items()})
            return tensors

        draw(pipe, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])
        assert shapes == {"latents": (1, 4, 8, 8), "prompt_embeds": (2, 165, 16)}
        with pytest.raises(ValueError, match="'hands' is not known; known are"):
            draw(pipe, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["hands"])

    def test_callback_of_stage_1_is_another(self, pipe):
        seen = []

        def hands_step(pipe, step, timestep, tensors):
            seen.append(("hands", step, set(tensors)))

        def picture_step(pipe, step, timestep, tensors):
            seen.append(("picture", step, set(tensors)))
            return tensors

        pipe("a hand", hand_callback_on_step_end=hands_step, callback_on_step_end=picture_step)
        assert seen == [
            ("hands", 0, {"sample"}),
            ("hands", 1, {"sample"}),
            ("picture", 0, {"latents"}),
            ("picture", 1, {"latents"}),
        ]

    def test_interrupt(self, pipe, draw):
        steps = []

        def stop(pipe, step, timestep, tensors):
            steps.append(step)
            pipe._interrupt = step == 1
            return tensors

        picture = draw(pipe, num_inference_steps=5, callback_on_step_end=stop)
        assert steps == [0, 1] and torch.isfinite(picture).all()

    def test_progress_bar(self, pipe, draw, capfd):
        pipe.set_progress_bar_config(disable=True)
        draw(pipe)
        assert "it/s" not in capfd.readouterr().err
        pipe.set_progress_bar_config(disable=False, desc="drawing")
        draw(pipe)
        assert "drawing" in capfd.readouterr().err


class TestLora:
    def state(self, pipe, names, seed=0):
        torch.manual_seed(seed)
        state = {}
        for name in names:
            donor = copy.deepcopy(getattr(pipe, name))
            donor.add_adapter(LoraConfig(r=2, target_modules=TARGETS[name], init_lora_weights=False), "donor")
            weights = get_peft_model_state_dict(donor, adapter_name="donor")
            state.update({f"{name}.{key}": value for key, value in weights.items()})
        return state

    @pytest.mark.parametrize("names", [["unet"], ["text_encoder"], ["unet", "text_encoder"]])
    def test_load_scale_and_unload(self, own_pipe, draw, names):
        plain = draw(own_pipe)
        own_pipe.load_lora_weights(self.state(own_pipe, names), adapter_name="one")
        assert own_pipe.get_list_adapters() == {name: ["one"] for name in names}
        full = draw(own_pipe)
        assert differ(full, plain)
        none = draw(own_pipe, cross_attention_kwargs={"scale": 0.0})
        torch.testing.assert_close(none, plain, rtol=0, atol=1e-5)
        half = draw(own_pipe, cross_attention_kwargs={"scale": 0.5})
        assert differ(half, full) and differ(half, plain)
        assert torch.equal(draw(own_pipe), full), "the scale of one call does not stay"
        own_pipe.unload_lora_weights()
        assert torch.equal(draw(own_pipe), plain)

    def test_several_adapters(self, own_pipe, draw):
        names = ["unet", "text_encoder"]
        plain = draw(own_pipe)
        for seed, adapter in enumerate(("one", "two")):
            own_pipe.load_lora_weights(self.state(own_pipe, names, seed), adapter_name=adapter)
        assert own_pipe.get_active_adapters() == ["two"]
        pictures = {}
        for adapters, weights in ((["one"], [1.0]), (["two"], [1.0]), (["one", "two"], [1.0, 1.0])):
            own_pipe.set_adapters(adapters, weights)
            pictures[tuple(adapters)] = draw(own_pipe)
        own_pipe.set_adapters(["one", "two"], [0.5, 0.2])
        pictures["weighted"] = draw(own_pipe)
        values = list(pictures.values())
        assert all(differ(a, b) for i, a in enumerate(values) for b in values[:i])
        own_pipe.disable_lora()
        torch.testing.assert_close(draw(own_pipe), plain)
        own_pipe.enable_lora()
        own_pipe.delete_adapters("two")
        own_pipe.set_adapters("one")
        torch.testing.assert_close(draw(own_pipe), pictures[("one",)])
        with pytest.raises(ValueError, match="not in the list of present adapters"):
            own_pipe.set_adapters("three")

    def test_fuse(self, own_pipe, draw):
        plain = draw(own_pipe)
        own_pipe.load_lora_weights(self.state(own_pipe, ["unet", "text_encoder"]), adapter_name="one")
        loaded = draw(own_pipe)
        own_pipe.fuse_lora(components=["unet", "text_encoder"])
        assert own_pipe.num_fused_loras == 1
        torch.testing.assert_close(draw(own_pipe), loaded, rtol=0, atol=1e-4)
        own_pipe.unfuse_lora(components=["unet", "text_encoder"])
        own_pipe.unload_lora_weights()
        torch.testing.assert_close(draw(own_pipe), plain, rtol=0, atol=1e-4)

    def test_kohya_file(self, own_pipe, draw, tmp_path):
        """The names that most published files have, for U-Net and text tower."""
        plain, state = draw(own_pipe), {}
        prefix = "lora_te_text_model_encoder_layers"
        layers = [f"{prefix}_{i}_self_attn_{name}" for i in range(3) for name in TARGETS["text_encoder"]]
        for layer in [*layers, "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"]:
            state[f"{layer}.lora_down.weight"] = torch.randn(2, 16)
            state[f"{layer}.lora_up.weight"] = torch.randn(16, 2)
            state[f"{layer}.alpha"] = torch.tensor(2.0)
        save_file(state, tmp_path / "style.safetensors")
        own_pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
        assert set(own_pipe.get_list_adapters()) == {"unet", "text_encoder"}
        assert differ(draw(own_pipe), plain)


class TestTextualInversion:
    def test_token_of_several_vectors(self, own_pipe, draw):
        before = len(own_pipe.tokenizer)
        own_pipe.load_textual_inversion(torch.randn(3, 16), token="<style>")
        assert own_pipe.text_encoder.get_input_embeddings().num_embeddings == before + 3
        texts = own_pipe.maybe_convert_prompt(["<style>"], own_pipe.tokenizer)
        ids = tokenize_captions(texts, own_pipe.tokenizer, "cpu")[0]
        assert ids[1:4].tolist() == [before, before + 1, before + 2], "the token stands for all of its vectors"
        assert differ(draw(own_pipe, "<style>"), draw(own_pipe, "style"))
        assert len(own_pipe.hand_tokenizer) == before, "stage 1 has a tokenizer of its own"
        own_pipe.unload_textual_inversion()
        assert own_pipe.text_encoder.get_input_embeddings().num_embeddings == before


class TestIPAdapter:
    @pytest.fixture
    def ip_pipe(self, own_pipe):
        vision = CLIPVisionConfig(
            hidden_size=16, projection_dim=12, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
        )
        torch.manual_seed(0)
        own_pipe.register_modules(
            image_encoder=CLIPVisionModelWithProjection(vision).eval(),
            feature_extractor=CLIPImageProcessor(crop_size=16, size=16),
        )
        state, key = {}, 1
        for name in own_pipe.unet.attn_processors:
            if name.endswith("attn2.processor"):
                block = own_pipe.unet.get_submodule(name.removesuffix(".processor"))
                for part in ("to_k_ip", "to_v_ip"):
                    state[f"{key}.{part}.weight"] = torch.randn(block.inner_dim, 16)
                key += 2
        projection = {
            "proj.weight": torch.randn(4 * 16, 12),
            "proj.bias": torch.zeros(4 * 16),
            "norm.weight": torch.ones(16),
            "norm.bias": torch.zeros(16),
        }
        own_pipe.unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": state}])
        return own_pipe

    def test_image_and_its_embeddings(self, ip_pipe, draw):
        assert isinstance(ip_pipe, IPAdapterMixin)
        image = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype="uint8"))
        ip_pipe.set_ip_adapter_scale(0.0)
        off = draw(ip_pipe, ip_adapter_image=image)
        ip_pipe.set_ip_adapter_scale(1.0)
        on = draw(ip_pipe, ip_adapter_image=image)
        assert differ(on, off)
        embeds = ip_pipe.prepare_ip_adapter_image_embeds(image, None, "cpu", 1, True)
        assert torch.equal(draw(ip_pipe, ip_adapter_image_embeds=embeds), on)

    @pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
    def test_with_and_without_guidance_and_several_images(self, ip_pipe, draw, hands, guidance_scale):
        embeds = [torch.randn(2 if guidance_scale > 1 else 1, 1, 12, generator=torch.Generator().manual_seed(0))]
        arguments = {"prompt": ["a", "b"], "num_images_per_prompt": 2, "hand_params": hands}
        pictures = draw(ip_pipe, **arguments, guidance_scale=guidance_scale, ip_adapter_image_embeds=embeds)
        assert pictures.shape == (4, 3, 16, 16) and torch.isfinite(pictures).all()

    def test_unload(self, make_pipe, ip_pipe, draw):
        expected = draw(make_pipe())
        ip_pipe.unload_ip_adapter()
        torch.testing.assert_close(draw(ip_pipe), expected, rtol=0, atol=1e-5)

    def test_saving_while_it_is_loaded_is_refused(self, ip_pipe, draw, tmp_path):
        """diffusers writes a U-Net that nothing can read."""
        with pytest.raises(ValueError, match=r"`unet` holds an IP-Adapter.*`unload_ip_adapter\(\)`"):
            ip_pipe.save_pretrained(tmp_path)
        blocks = HanDiffuserBlocks().init_pipeline()
        blocks.update_components(unet=ip_pipe.unet)
        with pytest.raises(ValueError, match="`unet` holds an IP-Adapter"):
            blocks.save_pretrained(tmp_path)
        assert not any(tmp_path.iterdir()), "nothing was written"
        ip_pipe.unload_ip_adapter()
        ip_pipe.save_pretrained(tmp_path)
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path)
        torch.testing.assert_close(draw(loaded), draw(ip_pipe), rtol=0, atol=1e-5)


class TestSwitches:
    def test_freeu(self, own_pipe, draw):
        plain = draw(own_pipe)
        own_pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
        assert differ(draw(own_pipe), plain)
        own_pipe.disable_freeu()
        assert torch.equal(draw(own_pipe), plain)

    @pytest.mark.parametrize("switch", ["slicing", "tiling"])
    def test_vae(self, own_pipe, draw, hands, switch):
        arguments = {"prompt": ["a hand", "two"], "hand_params": hands}
        plain = draw(own_pipe, **arguments)
        getattr(own_pipe.vae, f"enable_{switch}")()
        torch.testing.assert_close(draw(own_pipe, **arguments), plain, rtol=0, atol=1e-4)

    def test_vae_tiles_are_drawn_apart(self, own_pipe, draw):
        """A picture larger than a tile."""
        own_pipe.vae.enable_tiling()
        own_pipe.vae.tile_latent_min_size, own_pipe.vae.tile_sample_min_size = 8, 16
        picture = draw(own_pipe, height=32, width=32)
        assert picture.shape == (1, 3, 32, 32) and torch.isfinite(picture).all()
        own_pipe.vae.disable_tiling()
        assert differ(draw(own_pipe, height=32, width=32), picture)

    def test_fused_projections(self, own_pipe, draw):
        plain = draw(own_pipe)
        own_pipe.fuse_qkv_projections()
        torch.testing.assert_close(draw(own_pipe), plain, rtol=0, atol=1e-4)
        own_pipe.unfuse_qkv_projections()
        torch.testing.assert_close(draw(own_pipe), plain, rtol=0, atol=1e-4)


class TestSafetyChecker:
    @pytest.mark.parametrize("unsafe", [True, False])
    def test_blacks_out_and_says_so(self, make_pipe, draw, unsafe):
        torch.manual_seed(0)
        vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}
        vision |= {"patch_size": 8, "projection_dim": 8, "intermediate_size": 16}
        text = {"vocab_size": 10, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        checker = StableDiffusionSafetyChecker(config).eval()
        checker.concept_embeds_weights.fill_(-2.0 if unsafe else 2.0)
        pipe = make_pipe(
            safety_checker=checker,
            feature_extractor=CLIPImageProcessor(crop_size=16, size=16),
            requires_safety_checker=True,
        )
        generator = torch.Generator().manual_seed(0)
        out = pipe("a hand", generator=generator, output_type="np")
        assert out.nsfw_content_detected == [unsafe]
        assert (out.images.max() == 0) == unsafe
        assert out.hand_params.batch_shape == (1,)

    def test_pipeline_without_one_is_told_off(self, make_pipe, caplog):
        logger = logging.getLogger("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")
        logger.addHandler(caplog.handler)
        try:
            make_pipe(requires_safety_checker=True)
        finally:
            logger.removeHandler(caplog.handler)
        assert f"disabled the safety checker for {HanDiffuserPipeline}" in caplog.text


def test_the_table_of_features_names_tests_that_exist():
    tests = Path(__file__).parents[1]
    table = (tests.parent / "docs" / "features.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/\w+\.py)((?:::\w+)*)`", table)
    assert len(named) > 40
    for file, parts in named:
        source = (tests / file).read_text(encoding="utf-8")
        for part in filter(None, parts.split("::")):
            assert re.search(rf"^ *(class|def) {part}\b", source, re.MULTILINE), f"{file} has no {part}"
