"""Both models follow every attention switch of diffusers, and their masks are right under each backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    attention_backend,
)

from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel
from diffusers_handiffuser.models.attention import additive_mask, causal_keep
from diffusers_handiffuser.models.clip_text_transformer import TextHandAttention
from diffusers_handiffuser.models.text_to_hand_params import HandParamsAttention

TESTS = Path(__file__).parents[1]
WITH_MASK = ["native", "_native_math", "flex"]
WITHOUT_MASK = ["_native_flash"]
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(autouse=True)
def default_backend():
    """`set_attention_backend` of any model changes diffusers' default, which nothing resets."""
    before = _AttentionBackendRegistry.get_active_backend()[0]
    yield
    _AttentionBackendRegistry.set_active_backend(before)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextHandEncoder(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        hand_hidden_size=16,
        num_basis_points=4,
    ).eval()


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    return TextToHandParamsModel(hidden_size=32, num_layers=1, num_attention_heads=2, cross_attention_dim=8).eval()


def denoiser_inputs(mask: bool = True) -> dict:
    torch.manual_seed(1)
    inputs = {"sample": torch.randn(2, 327), "timestep": 7, "encoder_hidden_states": torch.randn(2, 5, 8)}
    if mask:
        inputs["encoder_attention_mask"] = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    return inputs


def naive_attention(query, key, value, keep):
    """One query and one head at a time, over the keys it may see; `(B, S, H, D)` and `keep (B, Q, K)`."""
    result = torch.zeros_like(query)
    for b in range(query.shape[0]):
        for q in range(query.shape[1]):
            seen = [k for k in range(key.shape[1]) if keep[b, q, k]]
            for h in range(query.shape[2]):
                scores = torch.stack([query[b, q, h] @ key[b, k, h] for k in seen]) / query.shape[-1] ** 0.5
                weights = scores.softmax(0)
                result[b, q, h] = sum(weight * value[b, k, h] for weight, k in zip(weights, seen, strict=True))
    return result


class TestMasks:
    """The attention of both models against a loop over queries and keys."""

    @pytest.mark.parametrize("kind", ["none", "causal", "padding", "padding and causal"])
    @pytest.mark.parametrize("attention_class", [TextHandAttention, HandParamsAttention])
    @torch.no_grad()
    def test_against_a_naive_loop(self, attention_class, kind):
        torch.manual_seed(0)
        attention = attention_class(hidden_size=16, heads=2)
        states = torch.randn(2, 11, 16)
        padding = torch.ones(2, 11, dtype=torch.bool)
        padding[1, 4:] = False
        keep = torch.ones(2, 11, 11, dtype=torch.bool)
        mask = None
        if "causal" in kind:
            keep = keep & causal_keep(11, states.device)[0]
        if "padding" in kind:
            keep = keep & padding[:, None]
            mask = additive_mask(keep[:, None])
        query, key, value = (x.unflatten(-1, (2, 8)) for x in attention.project_in(states))
        expected = attention.project_out(naive_attention(query, key, value, keep).flatten(2))
        for backend in WITH_MASK + WITHOUT_MASK:
            with attention_backend(backend):
                got = attention(states, mask, is_causal=kind == "causal")
            assert torch.allclose(got, expected, rtol=0, atol=1e-5), backend

    @pytest.mark.parametrize("backend", WITHOUT_MASK)
    @torch.no_grad()
    def test_backend_that_takes_no_mask(self, denoiser, backend):
        expected, unmasked = denoiser(**denoiser_inputs()).sample, denoiser(**denoiser_inputs(mask=False)).sample
        with attention_backend(backend):
            torch.testing.assert_close(denoiser(**denoiser_inputs()).sample, expected)
        denoiser.set_attention_backend(backend)
        torch.testing.assert_close(denoiser(**denoiser_inputs(mask=False)).sample, unmasked)
        with pytest.raises(ValueError, match=f"'{backend}' takes no mask.*set native, flex, xformers"):
            denoiser(**denoiser_inputs())

    @torch.no_grad()
    def test_pipeline_under_a_backend_that_takes_no_mask(self, pipe):
        """Stage 1 masks the padding of captions, and the switch of another model must not stop it."""
        expected = pipe("a hand", generator=torch.Generator().manual_seed(0), output_type="pt")
        pipe.unet.set_attention_backend("_native_flash")
        assert _AttentionBackendRegistry.get_active_backend()[0] == AttentionBackendName._NATIVE_FLASH
        got = pipe("a hand", generator=torch.Generator().manual_seed(0), output_type="pt")
        torch.testing.assert_close(got.images, expected.images, rtol=0, atol=1e-4)


class TestSwitches:
    @pytest.mark.parametrize("name", ["encoder", "denoiser"])
    def test_set_and_reset(self, request, name):
        model = request.getfixturevalue(name)
        model.set_attention_backend("_native_math")
        processors = list(model.attn_processors.values())
        assert processors and all(p._attention_backend == "_native_math" for p in processors)
        model.reset_attention_backend()
        assert all(p._attention_backend is None for p in processors)

    @pytest.mark.parametrize("name", ["encoder", "denoiser"])
    @torch.no_grad()
    def test_the_backend_that_was_set_computes(self, request, name, monkeypatch):
        model = request.getfixturevalue(name)
        inputs = denoiser_inputs() if name == "denoiser" else {"input_ids": torch.arange(7)[None]}
        expected, called = model(**inputs)[0], []

        def counting(query, key, value, attn_mask=None, is_causal=False, **kwargs):
            called.append(is_causal)
            return native(query, key, value, attn_mask=attn_mask, is_causal=is_causal)

        native = _AttentionBackendRegistry._backends[AttentionBackendName.NATIVE]
        monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName._NATIVE_MATH, counting)
        model.set_attention_backend("_native_math")
        assert torch.equal(model(**inputs)[0], expected) and len(called) == 1
        model.reset_attention_backend()
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)
        with attention_backend("_native_math"):
            assert torch.equal(model(**inputs)[0], expected) and len(called) == 2
        assert torch.equal(model(**inputs)[0], expected) and len(called) == 2

    @pytest.mark.parametrize("backend", ["flash", "sage", "xformers"])
    def test_missing_package_is_named(self, encoder, denoiser, backend):
        package = {"flash": "flash-attn", "sage": "sageattention"}.get(backend, backend)
        for model in (encoder, denoiser):
            with pytest.raises(RuntimeError, match=f"install `{package}"):
                model.set_attention_backend(backend)
            assert all(p._attention_backend is None for p in model.attn_processors.values())

    def test_unknown_backend(self, encoder):
        with pytest.raises(ValueError, match="must be one of the following"):
            encoder.set_attention_backend("quick")

    def test_xformers_without_package_or_cuda(self, pipe):
        with pytest.raises((ModuleNotFoundError, ValueError), match="xformers"):
            pipe.enable_xformers_memory_efficient_attention()
        pipe.disable_xformers_memory_efficient_attention()
        assert len(pipe("a hand", output_type="latent").images) == 1

    def test_attention_slicing_reaches_the_unet_and_harms_nothing(self, pipe, hands):
        arguments = {"hand_params": hands[0], "output_type": "pt"}
        expected = pipe("a hand", generator=torch.Generator().manual_seed(0), **arguments).images
        pipe.enable_attention_slicing(1)
        try:
            assert {type(p).__name__ for p in pipe.unet.attn_processors.values()} == {"SlicedAttnProcessor"}
            got = pipe("a hand", generator=torch.Generator().manual_seed(0), **arguments).images
        finally:
            pipe.disable_attention_slicing()
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_text_encoder_of_stage_1_may_be_ours(make_pipe, clip_text_model, tmp_path):
    """transformers' own text model is out of reach of diffusers' switches; ours gives the same hands."""
    encoder = TextHandEncoder.from_clip(clip_text_model, hand_hidden_size=8, num_basis_points=4)
    theirs, pipe = make_pipe(), make_pipe(hand_text_encoder=encoder)
    poses = [p.sample_hand_params("a", hand_generator=torch.Generator().manual_seed(0)) for p in (theirs, pipe)]
    torch.testing.assert_close(poses[0].full_pose, poses[1].full_pose, rtol=0, atol=1e-5)
    assert HanDiffuserPipeline.from_pipe(pipe).hand_text_encoder is encoder
    pipe.save_pretrained(tmp_path)
    loaded = HanDiffuserPipeline.from_pretrained(tmp_path)
    assert isinstance(loaded.hand_text_encoder, TextHandEncoder)
    with attention_backend("_native_math"):
        hands = loaded.sample_hand_params("a", hand_generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hands.full_pose, poses[0].full_pose, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_with_a_stand_in_for_xformers():
    """diffusers looks for xformers when it is imported, so what needs it runs in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS / "xformers_stub"), *filter(None, sys.path)])}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(TESTS / "running/xformers_checks.py"),
    ]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
