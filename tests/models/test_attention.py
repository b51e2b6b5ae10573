"""Attention through diffusers' backends, with and without masks."""

import copy

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend
from tiny_text_hand_encoder import VISIBLE, caption, encoder, hands, padding

from diffusers_handiffuser.models import attention as attention_module


def naive_forward(model, input_ids, attention_mask, given):
    """The text transformer over [caption, right hand, left hand], one query at a time, missing hands never seen."""
    model = copy.deepcopy(model)
    embeddings, table = model.text_model.embeddings, model.joint_embeddings
    result = []
    for row, ids in enumerate(input_ids):
        states = [
            embeddings.token_embedding.weight[i] + embeddings.position_embedding.weight[p] for p, i in enumerate(ids)
        ]
        seen = [True] * len(ids) if attention_mask is None else attention_mask[row].bool().tolist()
        for hand, side in enumerate((1, 0)):
            tokens = [table.marker_embedding.weight[hand]]
            for joint in given["hand_joints_2d"][row, side]:
                for coordinate in joint.tolist():
                    number = int(max(0, min(model.config.num_position_bins - 1, (coordinate + 1) / 2 * 50 // 1)))
                    tokens.append(table.bin_embedding.weight[number])
            for offset, token in enumerate(tokens):
                states.append(token + table.position_embedding.weight[43 * hand + offset])
            seen += [bool(given["hand_visible"][row, side])] * 43
        states = torch.stack(states)
        for layer in model.text_model.encoder.layers:
            normed, attention = layer.layer_norm1(states), layer.self_attn
            query, key, value = (
                p(normed).unflatten(-1, (4, 8)) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            outputs = []
            for place in range(len(states)):
                keys = [k for k in range(place + 1) if seen[k] or k == place]
                scores = torch.einsum("hd,khd->hk", query[place], key[keys]) / 8**0.5
                outputs.append(torch.einsum("hk,khd->hd", scores.softmax(-1), value[keys]).flatten())
            states = states + attention.out_proj(torch.stack(outputs))
            states = states + layer.mlp(layer.layer_norm2(states))
        result.append(model.text_model.final_layer_norm(states))
    return torch.stack(result)


@pytest.mark.parametrize("backend", ["native", "_native_math", "flex"])
@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.no_grad()
def test_masks_agree_with_a_naive_loop_on_every_backend(backend):
    model = encoder(num_hidden_layers=2)
    ids, mask, given = caption(length=12), padding(length=12), hands()
    mask[0, 5:] = 0
    for attention_mask in (None, mask):
        expected = naive_forward(model, ids, attention_mask, given)
        with attention_backend(backend):
            got = model(ids, attention_mask, **given)[0][:, 2:]
            plain = model(ids, attention_mask)[0]
        place = torch.arange(12 + 86)
        for row in range(4):
            attended = torch.ones(12) if attention_mask is None else attention_mask[row]
            left, right = VISIBLE[row]
            compared = (place < 12) & torch.cat([attended.bool(), torch.zeros(86, dtype=torch.bool)])
            compared |= (place >= 12) & (place < 55) & right
            compared |= (place >= 55) & left
            torch.testing.assert_close(got[row, compared], expected[row, compared], rtol=0, atol=2e-5)
            torch.testing.assert_close(plain[row, compared[:12]], expected[row, :12][compared[:12]], rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_masks_arrive_in_the_one_form_all_backends_take(dtype, monkeypatch):
    seen = []

    def dispatch(query, key, value, attn_mask=None, is_causal=False, **kwargs):
        seen.append((query, attn_mask, is_causal))
        return value

    monkeypatch.setattr(attention_module, "dispatch_attention_fn", dispatch)
    model = encoder()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        model(caption(), padding(), **hands())
        model(caption(), **hands())
    for query, mask, is_causal in seen[:3]:
        assert not is_causal and mask.shape == (4, 1, 163, 163) and mask.dtype == query.dtype == dtype
        assert mask.stride(-1) == 1 and mask.stride(-2) % 8 == 0 and torch.isfinite(mask).all()
    assert all(is_causal and mask is None for _, mask, is_causal in seen[3:])


def test_xformers_is_switched_on_and_off(monkeypatch):
    model = encoder()
    processors = model.attn_processors.values()
    assert len(processors) == 3
    with pytest.raises((ModuleNotFoundError, ValueError), match="xformers"):
        model.enable_xformers_memory_efficient_attention()
    for processor in processors:
        processor._attention_backend = AttentionBackendName.XFORMERS
    model.disable_xformers_memory_efficient_attention()
    assert all(processor._attention_backend is None for processor in processors)
    for processor in processors:
        processor._attention_backend = AttentionBackendName._NATIVE_MATH
    model.disable_xformers_memory_efficient_attention()
    assert all(processor._attention_backend == AttentionBackendName._NATIVE_MATH for processor in processors)
