"""CLIP's text transformer: captions are encoded as by CLIP, and its checkpoints fit."""

import pytest
import torch
from releases import clip_transformer
from tiny_text_hand_encoder import CAPTION, HANDS, caption, clip_model, encoder, hands, padding
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from diffusers_handiffuser.models import TextHandEncoder


@pytest.mark.parametrize("hidden_act", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("model_class", [CLIPTextModel, CLIPTextModelWithProjection])
@torch.no_grad()
def test_captions_are_encoded_as_by_clip(model_class, hidden_act):
    clip = clip_model(model_class, hidden_act)
    model = TextHandEncoder.from_clip(clip, **HANDS)
    for mask in (None, padding()):
        expected = clip(caption(), attention_mask=mask, output_hidden_states=True)
        alone = model(caption(), mask, output_hidden_states=True)
        with_hands = model(caption(), mask, output_hidden_states=True, **hands())
        torch.testing.assert_close(alone.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-5)
        torch.testing.assert_close(with_hands[0][:, CAPTION], expected.last_hidden_state, rtol=0, atol=1e-5)
        assert with_hands[0].shape == (4, 165, 32)
        assert len(alone.hidden_states) == len(expected.hidden_states) == 4
        for ours, joint, theirs in zip(
            alone.hidden_states, with_hands.hidden_states, expected.hidden_states, strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
            torch.testing.assert_close(joint[:, :77], theirs, rtol=0, atol=1e-5)
            assert joint.shape == (4, 163, 32)


@torch.no_grad()
def test_plain_captions_are_bit_equal_to_clip():
    clip = clip_model()
    model = TextHandEncoder.from_clip(clip, **HANDS)
    assert torch.equal(model(caption())[0], clip(caption())[0])
    assert torch.equal(model(caption(length=9))[0], clip(caption(length=9))[0])


@torch.no_grad()
def test_from_clip_reads_both_layouts_and_keeps_dtype_and_mode():
    class PrefixedCLIP(nn.Module):
        """How transformers before 5.6 lays a CLIPTextModel out."""

        def __init__(self, clip):
            super().__init__()
            self.text_model, self.config = clip, clip.config

    clip = clip_transformer(clip_model())
    plain, prefixed = TextHandEncoder.from_clip(clip), TextHandEncoder.from_clip(PrefixedCLIP(clip).eval())
    assert torch.equal(plain(caption())[0], prefixed(caption())[0])
    assert plain.config.vocab_size == 100 and plain.config.eos_token_id == 99
    assert torch.equal(plain.mesh_mlp.norm.weight, clip.final_layer_norm.weight)
    assert plain.training is False and TextHandEncoder.from_clip(clip.train()).training is True
    half = TextHandEncoder.from_clip(clip_model().half())
    assert half.dtype == torch.float16 and half.basis_points.dtype == torch.float32


def test_from_clip_refuses_other_models():
    with pytest.raises(TypeError, match="`clip_text_model` must be a CLIP text model, got Linear"):
        TextHandEncoder.from_clip(nn.Linear(2, 2))
    clip = clip_model()
    clip.config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="does not have the weights of a CLIP text model"):
        TextHandEncoder.from_clip(clip)


@torch.no_grad()
def test_stable_diffusion_text_encoder_files_fit():
    weights = {"text_model." + name: value for name, value in clip_transformer(clip_model()).state_dict().items()}
    assert not encoder().load_state_dict(weights, strict=False).unexpected_keys
