"""What diffusers asks of LoRA in a pipeline: the requirements of its own test suite, for U-Net and text tower."""

import copy
import logging

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from releases import group_offload_without_gpu

from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder

TARGETS = {"text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"], "unet": ["to_q", "to_k", "to_v", "to_out.0"]}
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


def run(pipe, **changes):
    arguments = {"prompt": "a hand", "num_inference_steps": 2, "guidance_scale": 6.0, "output_type": "pt"}
    return pipe(**{**arguments, "generator": torch.Generator().manual_seed(0), **changes})[0]


def scaled(pipe, scale: float):
    return run(pipe, cross_attention_kwargs={"scale": scale})


def differ(a, b) -> bool:
    return not torch.allclose(a, b, **TOLERANCE)


def same(a, b) -> None:
    torch.testing.assert_close(a, b, **TOLERANCE)


def config(name: str, alpha: int = 4, **changes) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=alpha, target_modules=TARGETS[name], init_lora_weights=False, **changes)


def add(pipe, adapter: str = "default", names=TARGETS, **changes) -> None:
    for name in names:
        getattr(pipe, name).add_adapter(config(name, **changes), adapter)


def save(pipe, folder, safe: bool = True) -> None:
    """As training scripts do it."""
    given = {f"{name}_lora_layers": get_peft_model_state_dict(getattr(pipe, name)) for name in TARGETS}
    if safe:  # pickles have no place for metadata
        for name in TARGETS:
            given[f"{name}_lora_adapter_metadata"] = getattr(pipe, name).peft_config["default"].to_dict()
    HanDiffuserPipeline.save_lora_weights(folder, **given, safe_serialization=safe)


@pytest.fixture
def pipe(make_pipe, picture_components, hand_components):
    """A pipeline whose models a test may change."""
    torch.manual_seed(0)
    parts = {"unet": picture_components["unet"], "text_encoder": hand_components["text_encoder"]}
    return make_pipe(**copy.deepcopy(parts))


@pytest.fixture
def plain(pipe):
    return run(pipe)


class TestFiles:
    @pytest.mark.parametrize("safe", [True, False])
    @pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
    def test_saved_and_loaded(self, pipe, plain, tmp_path, safe, low_cpu_mem_usage):
        add(pipe)
        with_lora = run(pipe)
        assert differ(with_lora, plain)
        save(pipe, tmp_path, safe)
        assert (tmp_path / f"pytorch_lora_weights.{'safetensors' if safe else 'bin'}").is_file()
        pipe.unload_lora_weights()
        same(run(pipe), plain)
        pipe.load_lora_weights(tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
        same(run(pipe), with_lora)

    @pytest.mark.parametrize("alpha", [4, 8, 16])
    def test_metadata(self, pipe, tmp_path, alpha):
        add(pipe, alpha=alpha)
        expected = {name: getattr(pipe, name).peft_config["default"].to_dict() for name in TARGETS}
        with_lora = run(pipe)
        save(pipe, tmp_path)
        pipe.unload_lora_weights()
        metadata = pipe.lora_state_dict(tmp_path, return_lora_metadata=True)[-1]
        for name in TARGETS:
            parsed = {k.removeprefix(f"{name}."): v for k, v in metadata.items() if k.startswith(f"{name}.")}
            assert parsed["lora_alpha"] == alpha
            assert set(parsed.pop("target_modules")) == set(expected[name].pop("target_modules"))
            assert parsed == expected[name]
        pipe.load_lora_weights(tmp_path)
        same(run(pipe), with_lora)

    def test_loaded_deleted_and_loaded_again(self, pipe, plain, tmp_path):
        add(pipe)
        with_lora = run(pipe)
        save(pipe, tmp_path)
        pipe.delete_adapters(pipe.get_active_adapters()[0])
        same(run(pipe), plain)
        pipe.load_lora_weights(tmp_path)
        same(run(pipe), with_lora)

    def test_layers_of_different_ranks_and_layers_that_are_missing(self, pipe, plain):
        ranks = dict(zip(TARGETS["text_encoder"], (1, 2, 3), strict=False))
        pipe.text_encoder.add_adapter(config("text_encoder", rank_pattern=ranks))
        with_lora = run(pipe)
        assert differ(with_lora, plain)
        state = get_peft_model_state_dict(pipe.text_encoder)
        partial = {f"text_encoder.{key}": value for key, value in state.items() if "layers.1" not in key}
        assert 0 < len(partial) < len(state)
        pipe.unload_lora_weights()
        pipe.load_lora_weights(partial)
        assert differ(run(pipe), with_lora) and differ(run(pipe), plain)

    def test_file_without_lora(self, pipe, plain, caplog):
        """An error here, where diffusers' tests ask for a warning."""
        nothing = {"lora_foo": torch.tensor(2.0), "lora_bar": torch.tensor(3.0)}
        with pytest.raises(ValueError, match="no key begins with 'unet.' or 'text_encoder.'"):
            pipe.load_lora_weights(nothing)
        logger = logging.getLogger("diffusers_handiffuser.pipelines.lora_loading")
        logger.addHandler(caplog.handler)
        try:
            HanDiffuserPipeline.load_lora_into_text_encoder(
                nothing, network_alphas=None, text_encoder=pipe.text_encoder, prefix="text_encoder"
            )
        finally:
            logger.removeHandler(caplog.handler)
        assert torch.equal(run(pipe), plain)
        assert "No LoRA keys associated to TextHandEncoder" in caplog.text

    def test_added_after_unloading(self, pipe):
        add(pipe)
        pipe.unload_lora_weights()
        add(pipe)
        assert pipe.get_list_adapters() == {name: ["default"] for name in ("unet", "text_encoder")}
        assert torch.isfinite(run(pipe)).all()


@group_offload_without_gpu
@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_with_group_offloading(pipe, plain, tmp_path, name):
    """Layers that come and go while their model is offloaded."""
    add(pipe)
    with_lora = run(pipe)
    save(pipe, tmp_path)
    pipe.unload_lora_weights()
    model = getattr(pipe, name)
    model.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")
    for _ in range(2):
        pipe.load_lora_weights(tmp_path)
        same(run(pipe), with_lora)
        pipe.unload_lora_weights()
        same(run(pipe), plain)
    assert any(
        m._diffusers_hook.get_hook("group_offloading") for m in model.modules() if hasattr(m, "_diffusers_hook")
    )


class TestScale:
    def test_half_and_none(self, pipe, plain):
        add(pipe)
        full = run(pipe)
        half = scaled(pipe, 0.5)
        assert differ(half, full) and differ(half, plain)
        same(scaled(pipe, 0.0), plain)
        assert pipe.text_encoder.text_model.encoder.layers[0].self_attn.q_proj.scaling["default"] == 1.0

    @pytest.mark.parametrize("hand_conditioning_scale", [0.0, 1.0])
    def test_of_a_call_says_nothing_of_what_is_loaded_later(self, pipe, tmp_path, hand_conditioning_scale):
        def draw(**changes):
            return run(pipe, hand_conditioning_scale=hand_conditioning_scale, **changes)

        add(pipe)
        full = draw()
        save(pipe, tmp_path)
        draw(cross_attention_kwargs={"scale": 0.5})
        pipe.unload_lora_weights()
        pipe.load_lora_weights(tmp_path)
        same(draw(), full)

    def test_of_the_call_and_of_the_adapter_agree(self, pipe, tmp_path):
        add(pipe)
        half = scaled(pipe, 0.5)
        save(pipe, tmp_path)
        pipe.set_adapters("default", 0.5)
        same(run(pipe), half)
        pipe.unload_lora_weights()
        pipe.load_lora_weights(tmp_path)
        same(scaled(pipe, 0.5), half)

    @pytest.mark.parametrize("scale", [1.0, 0.8])
    def test_of_the_call_and_of_fusing_agree(self, pipe, plain, scale):
        add(pipe, "one")
        expected = scaled(pipe, scale)
        assert differ(expected, plain)
        pipe.fuse_lora(components=list(TARGETS), adapter_names=["one"], lora_scale=scale)
        assert pipe.num_fused_loras == 1
        same(run(pipe), expected)

    def test_by_block(self, pipe, plain):
        add(pipe, "one")
        add(pipe, "two")
        pictures = []
        for weights in ({"text_encoder": 2, "unet": {"down": 5}}, {"unet": {"up": 5}}):
            pipe.set_adapters("one", weights)
            pictures.append(run(pipe))
        pipe.set_adapters(["one", "two"], [{"unet": {"down": 5}}, {"unet": {"up": 5}}])
        pictures.append(run(pipe))
        assert all(differ(a, b) for i, a in enumerate([plain, *pictures]) for b in pictures[i:])
        pipe.disable_lora()
        same(run(pipe), plain)


class TestSeveral:
    @pytest.fixture
    def both(self, pipe, plain):
        """A pipeline with two adapters, and its pictures with one, the other, and both."""
        add(pipe, "one")
        add(pipe, "two")
        pictures = {}
        for adapters in ("one", "two", ("one", "two")):
            pipe.set_adapters(adapters if isinstance(adapters, str) else list(adapters))
            pictures[adapters] = run(pipe)
        values = [plain, *pictures.values()]
        assert all(differ(a, b) for i, a in enumerate(values) for b in values[:i])
        return pipe, pictures

    def test_names(self, both):
        pipe, _ = both
        assert pipe.get_active_adapters() == ["one", "two"]
        assert pipe.get_list_adapters() == {"unet": ["one", "two"], "text_encoder": ["one", "two"]}
        pipe.unet.add_adapter(config("unet"), "three")
        assert pipe.get_list_adapters() == {"unet": ["one", "two", "three"], "text_encoder": ["one", "two"]}

    def test_unknown_names(self, both, caplog):
        pipe, _ = both
        with pytest.raises(ValueError, match="not in the list of present adapters"):
            pipe.set_adapters("three")
        logger = logging.getLogger("diffusers.loaders.lora_base")
        logger.addHandler(caplog.handler)
        try:
            pipe.set_adapters("one", adapter_weights={"foo": 0.0})
        finally:
            logger.removeHandler(caplog.handler)
        assert "components in `adapter_weights` are not part of the pipeline: ['foo']" in caplog.text

    def test_weighted_and_disabled(self, both, plain):
        pipe, pictures = both
        pipe.set_adapters(["one", "two"], [0.5, 0.6])
        assert differ(run(pipe), pictures["one", "two"])
        pipe.disable_lora()
        same(run(pipe), plain)

    def test_deleted(self, both, plain):
        pipe, pictures = both
        pipe.delete_adapters("one")
        same(run(pipe), pictures["two"])
        pipe.delete_adapters("two")
        same(run(pipe), plain)
        add(pipe, "one")
        add(pipe, "two")
        pipe.set_adapters(["one", "two"])
        pipe.delete_adapters(["one", "two"])
        same(run(pipe), plain)

    def test_fused(self, both):
        pipe, pictures = both
        for adapters, expected in ((["one"], pictures["one"]), (["two", "one"], pictures["one", "two"])):
            pipe.set_adapters(adapters)
            pipe.fuse_lora(components=list(TARGETS), adapter_names=adapters)
            assert pipe.num_fused_loras == len(adapters)
            same(run(pipe), expected)
            pipe.unfuse_lora(components=list(TARGETS))
            assert pipe.num_fused_loras == 0
            same(run(pipe), expected)


class TestSavedPipeline:
    def test_keeps_the_adapters_of_the_text_tower(self, pipe, plain, tmp_path):
        add(pipe, names=["text_encoder"])
        with_lora = run(pipe)
        assert differ(with_lora, plain)
        pipe.save_pretrained(tmp_path)
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path)
        assert loaded.get_list_adapters() == {"text_encoder": ["default"]}
        assert torch.equal(run(loaded), with_lora)
        loaded.unload_lora_weights()
        assert torch.equal(run(loaded), plain)

    def test_their_scales_and_which_are_active(self, pipe, plain, tmp_path):
        for adapter in ("one", "two", "three"):
            add(pipe, adapter, names=["text_encoder"])
        pipe.set_adapters(["one", "three"], [0.5, 2.0])
        expected = run(pipe)
        pipe.save_pretrained(tmp_path / "a", variant="fp16")
        loaded = HanDiffuserPipeline.from_pretrained(tmp_path / "a", variant="fp16")
        assert loaded.get_active_adapters() == ["one", "three"]
        torch.testing.assert_close(run(loaded), expected)
        loaded.save_pretrained(tmp_path / "b", variant="fp16")
        for path in (tmp_path / "a" / "text_encoder").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / "text_encoder" / path.name).read_bytes()
        pipe.disable_lora()
        pipe.text_encoder.save_pretrained(tmp_path / "c")
        loaded.text_encoder = TextHandEncoder.from_pretrained(tmp_path / "c")
        same(run(loaded), plain)

    def test_without_adapters_the_config_says_nothing_of_them(self, pipe, tmp_path):
        add(pipe, names=["text_encoder"])
        pipe.unload_lora_weights()
        pipe.text_encoder.save_pretrained(tmp_path)
        assert "lora" not in (tmp_path / "config.json").read_text()

    def test_adapters_that_would_be_lost_are_refused(self, pipe, tmp_path):
        """diffusers writes a U-Net with adapters that no one can read; fused ones would count twice."""
        add(pipe, "style")
        with pytest.raises(ValueError, match="`unet` holds the LoRA adapters style.*`save_lora_weights`"):
            pipe.save_pretrained(tmp_path)
        pipe.unet.unload_lora()
        pipe.fuse_lora(components=["text_encoder"])
        with pytest.raises(ValueError, match="`TextHandEncoder` holds LoRA adapters that are fused"):
            pipe.save_pretrained(tmp_path)
        fused = run(pipe)
        pipe.unload_lora_weights()
        pipe.save_pretrained(tmp_path)
        same(run(HanDiffuserPipeline.from_pretrained(tmp_path)), fused)
