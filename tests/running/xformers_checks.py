"""What xformers does in our pipeline, with the CPU stand-in; started by `test_attention_backends.py`."""

import pytest
import torch
import xformers
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry, attention_backend

from diffusers_handiffuser import TextHandEncoder

MODELS = ("text_encoder", "text_to_hand_params", "unet", "vae")


@pytest.fixture(autouse=True)
def default_backend():
    yield
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


@pytest.fixture
def calls():
    assert "xformers_stub" in xformers.__file__, "run with tests/xformers_stub on PYTHONPATH"
    xformers.ops.CALLS.clear()
    return xformers.ops.CALLS


@pytest.fixture
def pretend_cuda(monkeypatch):
    """diffusers tries xformers on "cuda" before it switches; here that is the CPU."""
    randn = torch.randn
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: randn(*args, **{**kwargs, "device": "cpu"}))
    yield
    monkeypatch.undo()


def count_by_model(pipe, calls):
    """Wraps the models of `pipe`: returns a dict that counts xformers' calls inside each."""
    counts = dict.fromkeys((*MODELS, "hand_text_encoder"), 0)
    handles = []

    def watch(name, model):
        start = []
        handles.append(model.register_forward_pre_hook(lambda *args: start.append(len(calls))))
        handles.append(
            model.register_forward_hook(
                lambda *args: counts.__setitem__(name, counts[name] + len(calls) - start.pop())
            )
        )

    for name in counts:
        watch(name, pipe.vae.decoder if name == "vae" else getattr(pipe, name))
    return counts, handles


def draw(pipe):
    return pipe("a hand", generator=torch.Generator().manual_seed(0), num_inference_steps=2, output_type="pt")


@pytest.mark.parametrize("switch", ["pipeline", "context"])
def test_every_model_uses_it_and_gives_the_same(pipe, clip_text_model, calls, pretend_cuda, switch):
    encoder = TextHandEncoder.from_clip(clip_text_model, hand_hidden_size=8, num_basis_points=4)
    pipe.register_modules(hand_text_encoder=encoder)
    expected = draw(pipe)
    assert not calls
    counts, handles = count_by_model(pipe, calls)
    if switch == "pipeline":
        pipe.enable_xformers_memory_efficient_attention()
        calls.clear()
        got = draw(pipe)
    else:
        with attention_backend("xformers"):
            got = draw(pipe)
    pipe.disable_xformers_memory_efficient_attention()
    # Diffusers' context does not reach the U-Net and the VAE, whose processors do not ask the dispatcher.
    reached = counts if switch == "pipeline" else ("text_encoder", "hand_text_encoder", "text_to_hand_params")
    assert {name for name, count in counts.items() if count} == set(reached)
    torch.testing.assert_close(got.images, expected.images, rtol=0, atol=1e-4)
    pose, expected_pose = got.hand_params.full_pose, expected.hand_params.full_pose
    torch.testing.assert_close(pose, expected_pose, rtol=0, atol=1e-4)
    calls.clear()
    assert torch.equal(draw(pipe).images, expected.images) and not calls, "off again"
    for handle in handles:
        handle.remove()


def test_masks_come_in_the_form_that_xformers_takes(pipe, calls):
    """The stand-in refuses what xformers refuses: other dtypes, other shapes, rows that are not aligned."""
    pipe.text_to_hand_params.set_attention_backend("xformers")
    try:
        pipe.sample_hand_params(["a hand", "one more"])
    finally:
        pipe.text_to_hand_params.reset_attention_backend()
    masks = [call["attn_bias"] for call in calls]
    assert masks and all(torch.is_tensor(mask) for mask in masks)


@torch.no_grad()
def test_causal_attention_and_a_padding_mask(pipe, calls):
    encoder = pipe.text_encoder
    ids = torch.arange(40)[None].expand(2, -1)
    padding = (torch.arange(40) < torch.tensor([[40], [9]])).long()
    expected = [encoder(ids).last_hidden_state, encoder(ids, padding).last_hidden_state]
    encoder.set_attention_backend("xformers")
    got = [encoder(ids).last_hidden_state, encoder(ids, padding).last_hidden_state]
    encoder.disable_xformers_memory_efficient_attention()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    kinds = [type(call["attn_bias"]).__name__ for call in calls]
    layers = len(encoder.attn_processors)
    assert kinds == ["LowerTriangularMask"] * layers + ["Tensor"] * layers
    encoder(ids)
    assert len(calls) == 2 * layers, "off, although the switch of a model also changed diffusers' default"


def test_without_cuda_it_is_refused(pipe):
    with pytest.raises(ValueError, match="xformers' memory efficient attention is only available for GPU"):
        pipe.enable_xformers_memory_efficient_attention()
