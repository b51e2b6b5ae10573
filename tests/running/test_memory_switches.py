"""Offloading, precision and caches: what saves memory or time leaves the result as it is."""

import copy

import pytest
import torch
from accelerate import cpu_offload
from diffusers import (
    FirstBlockCacheConfig,
    MagCacheConfig,
    PipelineQuantizationConfig,
    PyramidAttentionBroadcastConfig,
    QuantoConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.pipelines import pipeline_utils
from diffusers.quantizers import DiffusersAutoQuantizer
from releases import caches_after_a_call, group_offload_without_gpu

from diffusers_handiffuser import HanDiffuserPipeline, TextToHandParamsModel

MODELS = ("hand_text_encoder", "text_to_hand_params", "body_model", "text_encoder", "unet", "vae")


@pytest.fixture
def own_pipe(make_pipe, picture_components, hand_components):
    """A pipeline whose models a test may change."""
    parts = {**picture_components, **hand_components}
    return make_pipe(**{n: copy.deepcopy(p) for n, p in parts.items() if isinstance(p, torch.nn.Module)})


def draw(pipe, **changes):
    arguments = {"prompt": "a hand", "generator": torch.Generator().manual_seed(0), "output_type": "pt"}
    return pipe(**{**arguments, **changes})[0]


class TestModelOffload:
    def test_order(self, own_pipe):
        """Models come onto the device in the order in which they work: stage 1 is over before stage 2 begins."""
        order = own_pipe.model_cpu_offload_seq.split("->")
        modules = {name for name, part in own_pipe.components.items() if isinstance(part, torch.nn.Module)}
        assert modules - set(own_pipe._exclude_from_cpu_offload) <= set(order)
        worked = []
        for name in MODELS:
            model = own_pipe.vae.decoder if name == "vae" else getattr(own_pipe, name)
            model.register_forward_pre_hook(lambda *args, name=name: worked.append(name))
        draw(own_pipe)
        first = list(dict.fromkeys(worked))
        assert first == list(MODELS)
        assert [name for name in first if name in order] == [name for name in order if name in first]
        last = {name: len(worked) - worked[::-1].index(name) for name in first}
        assert last["text_to_hand_params"] < worked.index("text_encoder") + 1

    def test_each_model_puts_the_one_before_away(self, own_pipe, monkeypatch):
        """`enable_model_cpu_offload`, with a device that holds no numbers in place of a GPU, so that nothing runs."""
        names = [name for name in own_pipe.model_cpu_offload_seq.split("->") if getattr(own_pipe, name) is not None]
        monkeypatch.setattr(pipeline_utils, "empty_device_cache", lambda device: None)
        own_pipe.enable_model_cpu_offload(device="meta")
        hooks = own_pipe._all_hooks
        assert [hook.model for hook in hooks] == [getattr(own_pipe, name) for name in names]
        assert [hook.hook.prev_module_hook for hook in hooks] == [None, *hooks[:-1]]
        assert all(next(getattr(own_pipe, name).parameters()).device.type == "cpu" for name in names)
        assert own_pipe.body_model.template.device.type == own_pipe._execution_device.type == "meta"

    def test_sequence_survives_a_second_call(self, own_pipe):
        """Hooks are put back after every call of either stage."""
        calls = []
        own_pipe.maybe_free_model_hooks = lambda: calls.append("freed")
        draw(own_pipe)
        own_pipe.sample_hand_params("a hand")
        assert calls == ["freed", "freed"]


class TestSequentialOffload:
    def test_every_weight_is_reached(self, own_pipe):
        expected = draw(own_pipe)
        for name, model in own_pipe.components.items():
            if isinstance(model, torch.nn.Module) and name not in own_pipe._exclude_from_cpu_offload:
                cpu_offload(model, torch.device("cpu"), offload_buffers=len(model._parameters) > 0)
                assert all(parameter.is_meta for parameter in model.parameters()), name
        assert torch.equal(draw(own_pipe), expected)

    def test_the_body_stays(self, own_pipe):
        """Accelerate asks a model for its first parameter, and the body has none."""
        assert not list(own_pipe.body_model.parameters())
        assert "body_model" in own_pipe._exclude_from_cpu_offload
        assert "body_model" not in own_pipe.model_cpu_offload_seq


@group_offload_without_gpu
class TestGroupOffload:
    @pytest.mark.parametrize(
        "options", [{"offload_type": "block_level", "num_blocks_per_group": 1}, {"offload_type": "leaf_level"}]
    )
    def test_pipeline(self, own_pipe, options):
        expected = draw(own_pipe)
        own_pipe.enable_group_offload(torch.device("cpu"), **options)
        for name in ("text_encoder", "text_to_hand_params", "unet"):
            hooked = [m for m in getattr(own_pipe, name).modules() if hasattr(m, "_diffusers_hook")]
            assert hooked and all(m._diffusers_hook.get_hook("group_offloading") for m in hooked), name
        torch.testing.assert_close(draw(own_pipe), expected, rtol=0, atol=1e-5)


class TestPrecision:
    @pytest.mark.parametrize("storage", [torch.float8_e4m3fn, torch.float16], ids=str)
    def test_layerwise_casting(self, own_pipe, storage):
        expected = draw(own_pipe)
        for model in (own_pipe.text_encoder, own_pipe.text_to_hand_params, own_pipe.unet):
            before = model.get_memory_footprint()
            model.enable_layerwise_casting(storage_dtype=storage, compute_dtype=torch.float32)
            assert model.get_memory_footprint() < before
        picture = draw(own_pipe)
        assert torch.isfinite(picture).all() and (picture - expected).abs().mean() < 0.2

    def test_hands_are_sampled_in_half_precision(self, own_pipe):
        expected = own_pipe.sample_hand_params("a hand", hand_generator=torch.Generator().manual_seed(0))
        own_pipe.to(dtype=torch.bfloat16)
        hands = own_pipe.sample_hand_params("a hand", hand_generator=torch.Generator().manual_seed(0))
        assert hands.full_pose.dtype == torch.float32
        assert (hands.full_pose - expected.full_pose).abs().mean() < 0.02

    def test_channels_last(self, own_pipe):
        expected = draw(own_pipe)
        own_pipe.unet.to(memory_format=torch.channels_last)
        own_pipe.vae.to(memory_format=torch.channels_last)
        weight = own_pipe.unet.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(draw(own_pipe), expected, rtol=0, atol=1e-4)

    def test_inference_mode(self, own_pipe):
        expected = draw(own_pipe)
        with torch.inference_mode():
            assert torch.equal(draw(own_pipe), expected)


class TestQuantization:
    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "unet"])
    def test_config_reaches_the_loader_of_the_component(self, pipe, tmp_path, monkeypatch, name):
        """No back end is needed to see who is asked: the quantizer for the named component, and for no other."""

        class Asked(Exception):
            pass

        def from_config(config, **kwargs):
            raise Asked(config)

        pipe.save_pretrained(tmp_path)
        monkeypatch.setattr(DiffusersAutoQuantizer, "from_config", from_config)
        with pytest.warns(FutureWarning, match="QuantoConfig"):  # it needs no package; the others do
            config = QuantoConfig(weights_dtype="int8")
        quantization = PipelineQuantizationConfig(quant_mapping={name: config})
        with pytest.raises(Asked) as asked:
            HanDiffuserPipeline.from_pretrained(tmp_path, quantization_config=quantization)
        assert asked.value.args == (config,)
        quantization = PipelineQuantizationConfig(quant_mapping={"transformer": config})
        HanDiffuserPipeline.from_pretrained(tmp_path, quantization_config=quantization)


class TestCaches:
    @pytest.mark.parametrize(
        "config",
        [
            FirstBlockCacheConfig(threshold=10.0),
            MagCacheConfig(num_inference_steps=4, mag_ratios=[1.0] * 4),
            PyramidAttentionBroadcastConfig(
                spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
            ),
            TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1, max_order=1),
        ],
        ids=lambda config: type(config).__name__,
    )
    @torch.no_grad()
    def test_denoiser(self, config):
        """The first step is exact, later ones are not computed in full, and switching off gives the model back."""
        torch.manual_seed(0)
        model = TextToHandParamsModel(hidden_size=32, num_layers=4, num_attention_heads=2, cross_attention_dim=8)
        model.eval()
        sample, text = torch.randn(2, 327), torch.randn(2, 7, 8)
        steps = [(sample * (1 - 0.2 * i), 900 - 100 * i, text) for i in range(4)]
        exact = [model(*step).sample for step in steps]
        assert not model.is_cache_enabled
        model.enable_cache(config)
        assert model.is_cache_enabled
        with pytest.raises(ValueError, match="already been enabled"):
            model.enable_cache(config)
        for _ in range(2):
            with model.cache_context("hands"):
                cached = [model(*step).sample for step in steps]
            torch.testing.assert_close(cached[0], exact[0])
            assert torch.isfinite(cached[-1]).all()
            assert any((a - b).abs().max() > 1e-5 for a, b in zip(cached[1:], exact[1:], strict=True))
            model._reset_stateful_cache()
        model.disable_cache()
        assert not model.is_cache_enabled
        torch.testing.assert_close(model(*steps[-1]).sample, exact[-1])


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(FirstBlockCacheConfig(threshold=10.0), marks=caches_after_a_call),
        MagCacheConfig(num_inference_steps=6, mag_ratios=[1.0] * 6),
    ],
    ids=lambda config: type(config).__name__,
)
def test_pipeline_with_a_cache_in_stage_1(make_pipe, config):
    """The loop of stage 1 opens the context that caches ask for, and the next call starts afresh."""
    torch.manual_seed(0)
    model = TextToHandParamsModel(hidden_size=32, num_layers=3, num_attention_heads=2, cross_attention_dim=16)
    pipe = make_pipe(text_to_hand_params=model.eval(), default_num_hand_inference_steps=6)

    def sample():
        return pipe.sample_hand_params("a hand", hand_generator=torch.Generator().manual_seed(0)).full_pose

    exact = sample()
    model.enable_cache(config)
    cached = sample()
    assert torch.equal(sample(), cached) and not torch.equal(cached, exact)
    model.disable_cache()
    torch.testing.assert_close(sample(), exact)


def test_hooks_of_others_see_the_models(own_pipe):
    """diffusers' hook registry, on which caches and offloading stand."""

    class Count(ModelHook):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def pre_forward(self, module, *args, **kwargs):
            self.calls += 1
            return args, kwargs

    hooks = {name: Count() for name in ("text_encoder", "text_to_hand_params", "body_model")}
    for name, hook in hooks.items():
        HookRegistry.check_if_exists_or_initialize(getattr(own_pipe, name)).register_hook(hook, "count")
    draw(own_pipe)
    assert hooks["text_to_hand_params"].calls == 2 and hooks["body_model"].calls == 1
    assert hooks["text_encoder"].calls >= 1
