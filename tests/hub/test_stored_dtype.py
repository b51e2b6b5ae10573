"""Weights of several dtypes in one folder: which are read, and in which dtype."""

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from releases import DTYPE
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.pipelines.pipeline_loading import save_half

KEPT = "_keep_in_fp32_modules"
LOADERS = [HanDiffuserPipeline, DiffusionPipeline]


@pytest.fixture(scope="module")
def image_encoder():
    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=8,
    )
    return CLIPVisionModelWithProjection(config).eval()


@pytest.fixture
def full(make_pipe, image_encoder):
    return make_pipe(image_encoder=image_encoder)


@pytest.fixture
def cast(full, tmp_path):
    """The pipeline in another dtype, and models of its own."""
    full.save_pretrained(tmp_path / "full")
    return lambda dtype: HanDiffuserPipeline.from_pretrained(tmp_path / "full", dtype=dtype)


def models(pipe) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def assert_same(loaded, pipe, dtype: torch.dtype = torch.float32) -> None:
    """Every model is float32, and has the weights of the other as `dtype` holds them."""
    assert models(loaded).keys() == models(pipe).keys()
    for name, model in models(pipe).items():
        found = models(loaded)[name].state_dict()
        for key, value in model.state_dict().items():
            assert found[key].dtype == value.dtype, (name, key)
            keeps = not value.is_floating_point() or name == "body_model" or key in (getattr(model, KEPT, None) or ())
            assert torch.equal(found[key], value if keeps else value.to(dtype).float()), (name, key)


@pytest.mark.parametrize("loader", LOADERS)
class TestBesideTheDefault:
    def test_the_default_first(self, full, cast, tmp_path, publish, loader):
        full.save_pretrained(tmp_path / "both")
        cast(torch.float16).save_pretrained(tmp_path / "both", variant="half")
        name = publish(tmp_path / "both")
        assert_same(loader.from_pretrained(name), full)
        assert_same(loader.from_pretrained(name, variant="half"), full, torch.float16)
        half = loader.from_pretrained(name, variant="half", **{DTYPE: torch.float16})
        for part in ("hand_text_encoder", "image_encoder", "unet", "text_encoder"):
            assert getattr(half, part).dtype == torch.float16, part

    def test_the_variant_first(self, full, cast, tmp_path, loader):
        cast(torch.float16).save_pretrained(tmp_path / "both", variant="half")
        full.save_pretrained(tmp_path / "both")
        assert_same(loader.from_pretrained(tmp_path / "both"), full)
        assert_same(loader.from_pretrained(tmp_path / "both", variant="half"), full, torch.float16)

    def test_a_default_that_was_saved_as_half(self, full, cast, tmp_path, loader):
        save_half(full, tmp_path / "both")
        cast(torch.bfloat16).save_pretrained(tmp_path / "both", variant="half")
        assert_same(loader.from_pretrained(tmp_path / "both"), full, torch.float16)


def test_a_variant_alone_is_float32_without_dtype(cast, full, tmp_path):
    cast(torch.float16).save_pretrained(tmp_path / "alone", variant="half")
    assert_same(HanDiffuserPipeline.from_pretrained(tmp_path / "alone", variant="half"), full, torch.float16)


class TestSavedByOthers:
    """One config for all variants says what was saved last."""

    @pytest.fixture
    def mixed(self, full, cast, tmp_path):
        full.save_pretrained(tmp_path / "mixed")
        half = cast(torch.float16)
        for name in ("hand_text_encoder", "image_encoder"):
            getattr(half, name).save_pretrained(tmp_path / "mixed" / name, variant="half")
        return tmp_path / "mixed"

    def test_ours(self, mixed, full, publish):
        name = publish(mixed)
        assert_same(HanDiffuserPipeline.from_pretrained(name), full)
        assert HanDiffuserPipeline.from_pretrained(name, dtype=torch.float16).hand_text_encoder.dtype == torch.float16

    def test_a_component_that_was_passed_in_stays(self, mixed, cast):
        mine = cast(torch.float16).hand_text_encoder
        assert HanDiffuserPipeline.from_pretrained(mixed, hand_text_encoder=mine).hand_text_encoder is mine

    def test_half_weights_alone(self, cast, tmp_path):
        """A config that tells the truth about its weights is followed as far as transformers follows it."""
        cast(torch.float16).save_pretrained(tmp_path / "half")
        ours, bare = (loader.from_pretrained(tmp_path / "half").hand_text_encoder for loader in LOADERS)
        assert ours.dtype == bare.dtype

    def test_stable_diffusion(self, full, clip_text_model, picture_components, tmp_path):
        parts = {**picture_components, "text_encoder": clip_text_model, "scheduler": full.scheduler}
        sd = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
        sd.save_pretrained(tmp_path / "sd")
        half = StableDiffusionPipeline.from_pretrained(tmp_path / "sd", **{DTYPE: torch.float16})
        half.save_pretrained(tmp_path / "sd", variant="half")
        pipe = HanDiffuserPipeline.from_stable_diffusion(tmp_path / "sd")
        assert pipe.text_encoder.dtype == torch.float32
        caption = clip_text_model(torch.tensor([[1, 2, 3]])).last_hidden_state
        assert torch.allclose(pipe.text_encoder(torch.tensor([[1, 2, 3]])).last_hidden_state, caption, atol=1e-6)
