"""What diffusers asks of every model, of both of ours: the requirements that its own test suite puts to a class."""

import copy
import json
import logging

import pytest
import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import EMAModel
from diffusers.utils import constants
from peft import LoraConfig
from releases import group_offload_without_gpu, warns_of_float32_modules
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import HandBodyModel, TextHandEncoder, TextToHandParamsModel

CASES = {
    TextHandEncoder: {
        "config": {
            "vocab_size": 40,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_position_bins": 20,
            "num_basis_points": 6,
            "hand_hidden_size": 16,
        },
        "output": (165, 16),
        "lora_targets": ["q_proj", "k_proj", "v_proj", "out_proj"],
        "block": "TextHandEncoderLayer",
    },
    TextToHandParamsModel: {
        "config": {"hidden_size": 32, "num_layers": 2, "num_attention_heads": 2, "cross_attention_dim": 8},
        "output": (327,),
        "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        "block": "HandParamsBlock",
    },
}
DTYPES = [torch.float16, torch.bfloat16]


def make(model_class):
    torch.manual_seed(0)
    return model_class(**CASES[model_class]["config"]).eval()


def inputs(model_class, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    if model_class is TextToHandParamsModel:
        return {
            "sample": torch.randn(2, 327, generator=generator).to(dtype),
            "timestep": torch.tensor([3, 700]),
            "encoder_hidden_states": torch.randn(2, 5, 8, generator=generator).to(dtype),
            "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]),
        }
    return {
        "input_ids": torch.randint(0, 40, (2, 77), generator=generator),
        "hand_rotations": torch.eye(3).expand(2, 2, 16, 3, 3).to(dtype),
        "hand_bps": torch.rand(2, 2, 6, generator=generator).to(dtype),
        "hand_joints_2d": torch.rand(2, 2, 21, 2, generator=generator).to(dtype),
        "hand_visible": torch.tensor([[True, True], [False, True]]),
    }


@pytest.fixture(params=list(CASES), ids=lambda model_class: model_class.__name__)
def model_class(request):
    return request.param


@torch.no_grad()
def run(model, **changes):
    return model(**{**inputs(type(model)), **changes}, return_dict=False)[0]


class TestForward:
    @torch.no_grad()
    def test_tuple_dict_shape_and_determinism(self, model_class):
        model = make(model_class)
        as_dict, as_tuple = model(**inputs(model_class)), model(**inputs(model_class), return_dict=False)
        assert isinstance(as_tuple, tuple) and torch.equal(as_dict[0], as_tuple[0])
        assert as_tuple[0].shape == (2, *CASES[model_class]["output"])
        assert torch.equal(run(model), as_tuple[0])

    def test_attributes(self, model_class, recwarn):
        model = make(model_class)
        model.dummy = 5
        assert model.dummy == 5 and not recwarn.list
        model.register_to_config(test_attribute=5)
        with pytest.warns(FutureWarning):
            assert model.test_attribute == 5
        with pytest.raises(AttributeError, match=f"'{model_class.__name__}' object has no attribute 'nothing'"):
            model.nothing  # noqa: B018

    @torch.no_grad()
    def test_exported_program(self, model_class):
        """As `torch.export` makes it for ahead-of-time compilation."""
        model = make(model_class)
        exported = torch.export.export(model, args=(), kwargs=inputs(model_class)).module()
        assert torch.equal(exported(**inputs(model_class))[0], run(model))


class TestFiles:
    @pytest.mark.parametrize("safe", [True, False])
    def test_save_and_load(self, model_class, tmp_path, safe):
        model = make(model_class)
        model.save_pretrained(tmp_path, safe_serialization=safe)
        assert torch.equal(run(model_class.from_pretrained(tmp_path)), run(model))

    def test_variant(self, model_class, tmp_path):
        model = make(model_class)
        model.save_pretrained(tmp_path, variant="fp16")
        assert torch.equal(run(model_class.from_pretrained(tmp_path, variant="fp16")), run(model))
        with pytest.raises(OSError, match="Error no file named diffusion_pytorch_model.bin found in directory"):
            model_class.from_pretrained(tmp_path)

    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_shards(self, model_class, tmp_path, variant):
        model = make(model_class)
        size = sum(tensor.nbytes for tensor in model.state_dict().values())
        model.save_pretrained(tmp_path, max_shard_size=f"{int(0.75 * size / 1024)}KB", variant=variant)
        suffix = f".{variant}" if variant else ""
        index = json.loads((tmp_path / f"diffusion_pytorch_model.safetensors.index{suffix}.json").read_text())
        shards = set(index["weight_map"].values())
        assert len(shards) == len(list(tmp_path.glob("*.safetensors"))) > 1
        assert torch.equal(run(model_class.from_pretrained(tmp_path, variant=variant)), run(model))

    def test_shards_read_at_the_same_time(self, model_class, tmp_path, monkeypatch):
        model = make(model_class)
        model.save_pretrained(tmp_path, max_shard_size="20KB")
        monkeypatch.setattr(constants, "HF_ENABLE_PARALLEL_LOADING", True)
        monkeypatch.setattr(constants, "DEFAULT_HF_PARALLEL_LOADING_WORKERS", 2)
        assert torch.equal(run(model_class.from_pretrained(tmp_path)), run(model))

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @torch.no_grad()
    def test_dtype(self, model_class, tmp_path, dtype):
        model = make(model_class).to(dtype)
        model.save_pretrained(tmp_path)
        loaded = model_class.from_pretrained(tmp_path, dtype=dtype)
        assert loaded.dtype == dtype
        assert {p.dtype for p in loaded.parameters()} == {dtype}
        assert all(getattr(loaded, name).dtype == torch.float32 for name in model_class._keep_in_fp32_modules)
        given = inputs(model_class, dtype)
        assert torch.equal(model(**given)[0], loaded(**given)[0]) and torch.isfinite(loaded(**given)[0]).all()

    @warns_of_float32_modules
    def test_casting_warns_of_what_stays_float32(self, model_class, caplog):
        logger = logging.getLogger("diffusers.models.modeling_utils")
        logger.addHandler(caplog.handler)
        try:
            make(model_class).to(torch.float16)
        finally:
            logger.removeHandler(caplog.handler)
        kept = model_class._keep_in_fp32_modules
        wanted = f"There are modules in {model_class.__name__} that should be kept in float32: {kept}"
        assert wanted in caplog.text

    def test_device_map(self, model_class, tmp_path):
        model = make(model_class)
        model.save_pretrained(tmp_path)
        loaded = model_class.from_pretrained(tmp_path, device_map="cpu")
        assert torch.equal(run(loaded), run(model))


class TestTraining:
    def test_a_step_with_ema(self, model_class):
        model = make(model_class).train()
        ema = EMAModel(model.parameters(), decay=0.5)
        before = [value.clone() for value in ema.shadow_params]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(**inputs(model_class))[0].square().mean().backward()
        optimizer.step()
        ema.step(model.parameters())
        changed = [not torch.equal(a, b) for a, b in zip(before, ema.shadow_params, strict=True)]
        assert sum(changed) > len(changed) / 2

    def test_gradient_checkpointing(self, model_class):
        model = make(model_class).train()
        assert not model.is_gradient_checkpointing
        other = copy.deepcopy(model)
        other.enable_gradient_checkpointing()
        assert other.is_gradient_checkpointing
        losses = [m(**inputs(model_class))[0].square().mean() for m in (model, other)]
        assert torch.equal(*losses)
        for loss in losses:
            loss.backward()
        gradients = dict(other.named_parameters())
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=0, atol=5e-5)
        other.disable_gradient_checkpointing()
        assert not other.is_gradient_checkpointing

    @pytest.mark.parametrize("storage", [torch.float16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
    def test_layerwise_casting(self, model_class, storage):
        expected = run(make(model_class))
        model = make(model_class)
        before = model.get_memory_footprint()
        model.enable_layerwise_casting(storage_dtype=storage, compute_dtype=torch.float32)
        assert model.get_memory_footprint() < before and model.dtype == torch.float32
        assert (run(model) - expected).abs().mean() < 0.2
        model.train()
        model(**inputs(model_class))[0].square().mean().backward()


class TestAttention:
    def test_processors_are_read_and_replaced(self, model_class):
        model = make(model_class)
        processors = model.attn_processors
        assert len(processors) == 2
        model.set_attn_processor({name: AttnProcessor() for name in processors})
        assert {type(processor) for processor in model.attn_processors.values()} == {AttnProcessor}
        model.set_attn_processor(next(iter(processors.values())))
        assert set(model.attn_processors) == set(processors)
        with pytest.raises(ValueError, match="number of processors"):
            model.set_attn_processor({next(iter(processors)): AttnProcessor()})

    def test_fused_projections(self, model_class):
        model = make(model_class)
        expected = run(model)
        model.fuse_qkv_projections()
        torch.testing.assert_close(run(model), expected, rtol=0, atol=1e-5)
        model.unfuse_qkv_projections()
        assert torch.equal(run(model), expected)
        assert not any("to_qkv" in name for name, _ in model.named_modules())


class TestLora:
    def config(self, model_class):
        return LoraConfig(r=2, target_modules=CASES[model_class]["lora_targets"], init_lora_weights=False)

    def test_save_and_load(self, model_class, tmp_path):
        model = make(model_class)
        expected = run(model)
        model.add_adapter(self.config(model_class), "one")
        with_lora = run(model)
        assert not torch.allclose(with_lora, expected, atol=1e-3)
        model.save_lora_adapter(tmp_path, adapter_name="one")
        model.unload_lora()
        assert torch.equal(run(model), expected)
        model.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
        torch.testing.assert_close(run(model), with_lora)
        parsed = model.peft_config["default_0"].to_dict()
        assert (parsed["r"], parsed["target_modules"]) == (2, set(CASES[model_class]["lora_targets"]))
        with pytest.raises(ValueError, match="already"):
            model.add_adapter(self.config(model_class), "default_0")
        with pytest.raises(ValueError, match="not found"):
            model.save_lora_adapter(tmp_path, adapter_name="unknown")

    def test_stays_in_a_saved_model(self, model_class, tmp_path):
        model = make(model_class)
        model.add_adapter(self.config(model_class), "one")
        model.add_adapter(LoraConfig(r=3, target_modules=CASES[model_class]["lora_targets"][:1]), "two")
        model.set_adapters(["one", "two"], [0.5, 2.0])
        expected = run(model)
        model.save_pretrained(tmp_path, max_shard_size="20KB")
        for options in ({}, {"device_map": "cpu"}):
            loaded = model_class.from_pretrained(tmp_path, **options)
            assert loaded.active_adapters() == ["one", "two"]
            torch.testing.assert_close(run(loaded), expected)
        loaded.unload_lora()
        model.unload_lora()
        assert torch.equal(run(loaded), run(model))

    def test_hotswap(self, model_class, tmp_path):
        """One adapter in the place of another, of another rank, without new layers."""
        expected, files = [], []
        for rank in (6, 3):
            model = make(model_class)
            targets = CASES[model_class]["lora_targets"]
            model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, init_lora_weights=False))
            model.save_lora_adapter(tmp_path / str(rank))
            expected.append(run(model))
            files.append(tmp_path / str(rank) / "pytorch_lora_weights.safetensors")
        model = make(model_class)
        model.enable_lora_hotswap(target_rank=6)
        model.load_lora_adapter(str(files[0]), adapter_name="one", prefix=None)
        torch.testing.assert_close(run(model), expected[0])
        layers = [id(module) for module in model.modules()]
        model.load_lora_adapter(str(files[1]), adapter_name="one", hotswap=True, prefix=None)
        torch.testing.assert_close(run(model), expected[1])
        assert [id(module) for module in model.modules()] == layers
        with pytest.raises(ValueError, match="Trying to hotswap LoRA adapter 'two'"):
            model.load_lora_adapter(str(files[1]), adapter_name="two", hotswap=True, prefix=None)

    def test_unknown_metadata_is_an_error(self, model_class, tmp_path):
        model = make(model_class)
        model.add_adapter(self.config(model_class), "one")
        model.save_lora_adapter(tmp_path, adapter_name="one")
        file = tmp_path / "pytorch_lora_weights.safetensors"
        metadata = json.dumps({**model.peft_config["one"].to_dict(), "foo": 1}, default=list)
        save_file(load_file(file), file, {"format": "pt", LORA_ADAPTER_METADATA_KEY: metadata})
        model.unload_lora()
        with pytest.raises(TypeError, match="`LoraConfig` class could not be instantiated"):
            model.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)

    def test_fuse(self, model_class):
        model = make(model_class)
        model.add_adapter(self.config(model_class), "one")
        with_lora = run(model)
        model.fuse_lora(adapter_names=["one"])
        torch.testing.assert_close(run(model), with_lora, rtol=0, atol=1e-4)
        model.unfuse_lora()
        torch.testing.assert_close(run(model), with_lora, rtol=0, atol=1e-4)


class TestOffload:
    def test_blocks_are_named_that_exist(self, model_class):
        classes = {type(module).__name__ for module in make(model_class).modules()}
        assert CASES[model_class]["block"] in model_class._repeated_blocks
        assert set(model_class._repeated_blocks) <= classes and set(model_class._no_split_modules) <= classes

    @group_offload_without_gpu
    @pytest.mark.parametrize(
        "options", [{"offload_type": "block_level", "num_blocks_per_group": 1}, {"offload_type": "leaf_level"}]
    )
    def test_group_offload(self, model_class, tmp_path, options):
        expected = run(make(model_class))
        for disk in ({}, {"offload_to_disk_path": str(tmp_path)}):
            model = make(model_class)
            model.enable_group_offload(torch.device("cpu"), **options, **disk)
            hooked = [module for module in model.modules() if hasattr(module, "_diffusers_hook")]
            assert hooked and all(m._diffusers_hook.get_hook("group_offloading") is not None for m in hooked)
            assert torch.equal(run(model), expected)

    def test_made_on_meta(self, model_class):
        with torch.device("meta"):
            model = model_class(**CASES[model_class]["config"])
        assert all(parameter.is_meta for parameter in model.parameters())


class TestBody:
    """The body is a model of a pipeline, too, although all of it is float32."""

    @pytest.fixture
    def body(self, hand_components):
        return hand_components["body_model"]

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_says_the_dtype_of_its_pipeline(self, body, tmp_path, dtype):
        moved = copy.deepcopy(body).to(dtype)
        assert moved.dtype == dtype and moved.template.dtype == torch.float32
        assert moved.to("cpu").dtype == dtype and moved.float().dtype == torch.float32
        body.save_pretrained(tmp_path)
        assert HandBodyModel.from_pretrained(tmp_path, dtype=dtype).dtype == dtype
        assert HandBodyModel.from_pretrained(tmp_path).dtype == body.dtype == torch.float32

    def test_variant(self, body, tmp_path):
        body.save_pretrained(tmp_path, variant="fp16")
        assert (tmp_path / "diffusion_pytorch_model.fp16.safetensors").exists()
        assert torch.equal(HandBodyModel.from_pretrained(tmp_path, variant="fp16").template, body.template)
