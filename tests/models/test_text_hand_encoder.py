"""The joint encoder: CLIP's equal on captions, its own semantics for hands, and at home in diffusers."""

import copy
import functools

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend
from peft import LoraConfig, get_peft_model_state_dict
from releases import clip_transformer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusers_handiffuser.hands.geometry import HandGeometry
from diffusers_handiffuser.models import TextHandEncoder
from diffusers_handiffuser.models import attention as attention_module

HANDS = {"num_position_bins": 50, "num_basis_points": 6, "hand_hidden_size": 16}
VISIBLE = torch.tensor([[True, False], [True, True], [False, True], [False, False]])
RIGHT, LEFT = slice(79, 122), slice(122, 165)
CAPTION = slice(2, 79)


def clip_model(model_class=CLIPTextModel, hidden_act="quick_gelu"):
    torch.manual_seed(0)
    config = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        projection_dim=16,
        num_attention_heads=4,
        num_hidden_layers=3,
        vocab_size=100,
        bos_token_id=98,
        eos_token_id=99,
        hidden_act=hidden_act,
    )
    clip = model_class(config).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return clip


def encoder(**changes):
    torch.manual_seed(0)
    config = {
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        **HANDS,
    }
    return TextHandEncoder(**{**config, **changes}).eval()


def caption(batch=4, length=77):
    return torch.randint(0, 99, (batch, length), generator=torch.Generator().manual_seed(1))


def padding(batch=4, length=77):
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, 50:] = 0
    mask[2, 9:] = 0
    return mask


def hands(batch=4, visible=VISIBLE, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        "hand_rotations": torch.randn(batch, 2, 16, 3, 3, generator=generator),
        "hand_bps": torch.rand(batch, 2, HANDS["num_basis_points"], generator=generator),
        "hand_joints_2d": torch.randn(batch, 2, 21, 2, generator=generator),
        "hand_visible": visible[:batch],
    }


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
def test_missing_hands_are_null_and_visible_ones_are_not():
    model = encoder()
    states, nulls = model(caption(), **hands())[0], model.null_hand_states()
    assert nulls.shape == (88, 32) and model.num_hand_states == 88
    theta_null, mesh_null, right_null, left_null = nulls[0], nulls[1], nulls[2:45], nulls[45:]
    for row, (left, right) in enumerate(VISIBLE.tolist()):
        assert torch.equal(states[row, LEFT], left_null) is not left
        assert torch.equal(states[row, RIGHT], right_null) is not right
        assert torch.equal(states[row, 0], theta_null) is not (left or right)
        assert torch.equal(states[row, 1], mesh_null) is not (left or right)


@torch.no_grad()
def test_nothing_is_read_of_a_missing_hand():
    model = encoder()
    given, garbage = hands(), hands()
    for name in ("hand_rotations", "hand_bps", "hand_joints_2d"):
        garbage[name][~VISIBLE] = torch.nan
    for mask in (None, padding()):
        expected, got = (model(caption(), mask, output_hidden_states=True, **h) for h in (given, garbage))
        assert torch.equal(got[0], expected[0])
        assert all(torch.isfinite(state).all() for state in got.hidden_states)


@torch.no_grad()
def test_left_hand_sees_the_right_one_only_if_it_is_there():
    model = encoder()
    moved = hands()
    moved["hand_joints_2d"][:, 1] = -moved["hand_joints_2d"][:, 1]
    changed = (model(caption(), **hands())[0] - model(caption(), **moved)[0]).abs().amax(-1) > 1e-4
    assert changed[1, LEFT].all() and not changed[0].any()


@torch.no_grad()
def test_a_missing_hand_is_told_by_its_flag_too():
    model = encoder()
    given = hands(3, VISIBLE[:3])
    given["hand_rotations"][:] = torch.eye(3)
    given["hand_bps"][:] = 0.5
    model.rotation_mlp.missing_hand[:] = torch.eye(3)[:, :2].T.flatten().repeat(16)
    model.mesh_mlp.missing_hand[:] = 0.5
    theta_mesh = model(caption(3), **given)[0][:, :2]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (theta_mesh[one] - theta_mesh[other]).abs().amax(-1).min() > 1e-3


@torch.no_grad()
def test_rows_do_not_depend_on_their_batch():
    model = encoder()
    together = model(caption(), padding(), **hands())[0]
    for row in range(4):
        alone = {name: value[row : row + 1] for name, value in hands().items()}
        alone = model(caption()[row : row + 1], padding()[row : row + 1], **alone)[0]
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)


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


@torch.no_grad()
def test_clip_skip_is_clips():
    clip = clip_model()
    model = TextHandEncoder.from_clip(clip, **HANDS)
    expected = clip(caption(), output_hidden_states=True).hidden_states
    alone = model(caption(), output_hidden_states=True)
    with_hands = model(caption(), output_hidden_states=True, **hands())
    for skip in range(4):
        wanted = clip_transformer(clip).final_layer_norm(expected[-(skip + 1)])
        torch.testing.assert_close(model.skip_last_layers(alone, skip), wanted, rtol=0, atol=1e-5)
        skipped = model.skip_last_layers(with_hands, skip, VISIBLE)
        torch.testing.assert_close(skipped[:, CAPTION], wanted, rtol=0, atol=1e-5)
        assert torch.equal(skipped[:, :2], with_hands[0][:, :2])
        assert torch.equal(skipped[0, RIGHT], model.null_hand_states()[2:45])
    assert torch.equal(model.skip_last_layers(with_hands, 0, VISIBLE), with_hands[0])
    assert torch.equal(model.skip_last_layers(alone, 0), alone[0])


@torch.no_grad()
def test_clip_skip_errors():
    model = encoder()
    out = model(caption(), output_hidden_states=True, **hands())
    with pytest.raises(ValueError, match="`clip_skip` must be a whole number from 0 to 3, got 4"):
        model.skip_last_layers(out, 4, VISIBLE)
    with pytest.raises(ValueError, match="`hand_visible` must be given"):
        model.skip_last_layers(out, 1)
    with pytest.raises(ValueError, match="`hand_visible` must be None"):
        model.skip_last_layers(model(caption(), output_hidden_states=True), 1, VISIBLE)
    with pytest.raises(ValueError, match="output_hidden_states=True"):
        model.skip_last_layers(model(caption()), 1)


def test_position_bins():
    table = encoder(num_position_bins=1000).joint_embeddings
    points = torch.tensor([-9.0, -1.0, -0.9981, 0.0, 0.9979, 1.0, 9.0, -torch.inf, torch.inf])
    assert table.position_bins(points).tolist() == [0, 0, 0, 500, 998, 999, 999, 0, 999]
    assert table.position_bins(points.double()).max() == 999
    weight = nn.functional.normalize(table.bin_embedding.weight.detach(), dim=-1)
    similarity = weight @ weight.T
    assert similarity.diagonal(1).min() > 0.95
    assert similarity.diagonal(1).mean() > similarity.diagonal(10).mean() > similarity.diagonal(200).mean()


@torch.no_grad()
def test_joint_tokens_stand_in_the_documented_order():
    table = encoder(num_position_bins=1000).joint_embeddings
    joints = torch.linspace(-1, 1, 2 * 21 * 2).reshape(1, 2, 21, 2)
    tokens = table(joints)[0] - table.position_embedding.weight
    bins = table.position_bins(joints)
    for hand in range(2):
        torch.testing.assert_close(tokens[43 * hand], table.marker_embedding.weight[hand])
        for joint in range(21):
            for axis in range(2):
                expected = table.bin_embedding.weight[bins[0, hand, joint, axis]]
                torch.testing.assert_close(tokens[43 * hand + 1 + 2 * joint + axis], expected)


@torch.no_grad()
def test_bins_are_found_in_full_precision_whatever_the_models_dtype():
    model = encoder(num_position_bins=1000).half()
    given = hands(1, torch.ones(1, 2, dtype=torch.bool))
    given["hand_joints_2d"].fill_(0.9993)
    other = {**given, "hand_joints_2d": torch.full_like(given["hand_joints_2d"], 0.9973)}
    assert (model(caption(1), **given)[0] - model(caption(1), **other)[0]).abs().max() > 0


@torch.no_grad()
def test_prepare_hands():
    model = encoder()
    torch.manual_seed(3)
    geometry = HandGeometry(
        rotations=torch.randn(3, 2, 16, 3, 3),
        joints_3d=torch.randn(3, 2, 21, 3),
        joints_2d=torch.randn(3, 2, 21, 2),
        left_vertices=torch.randn(3, 11, 3),
        right_vertices=torch.randn(3, 7, 3),
    )
    visible = torch.ones(3, 2, dtype=torch.bool)
    prepared = model.prepare_hands(geometry, visible)
    assert torch.equal(prepared["hand_rotations"], geometry.rotations)
    assert torch.equal(prepared["hand_joints_2d"], geometry.joints_2d)
    assert prepared["hand_bps"].shape == (3, 2, 6)
    for side, vertices in enumerate((geometry.left_vertices, geometry.right_vertices)):
        for row in range(3):
            for point in range(6):
                offsets = vertices[row] - geometry.joints_3d[row, side, 0] - model.basis_points[point]
                expected = offsets.norm(dim=-1).min() / 0.2
                torch.testing.assert_close(prepared["hand_bps"][row, side, point], expected)
    assert model(caption(3), **prepared)[0].shape == (3, 165, 32)


def test_gradients_reach_every_weight_and_checkpointing_changes_none():
    grads = []
    for checkpointing in (False, True):
        model = encoder().train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        given = hands()
        given["hand_bps"][~VISIBLE] = torch.nan
        # Not `sum()`, which the final LayerNorm makes constant.
        (model(caption(), **given)[0] ** 3).mean().backward()
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads[0].values())
    unused = {name for name, grad in grads[0].items() if not grad.any()}
    assert not {name for name in unused if not name.endswith("k_proj.bias")}
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-4, atol=1e-7)


def test_token_embeddings_are_replaced_and_resized():
    model = encoder()
    before, states = model.get_input_embeddings().weight.clone(), model(caption())[0]
    grown = model.resize_token_embeddings(103)
    assert grown is model.get_input_embeddings() and model.config.vocab_size == 103
    assert torch.equal(grown.weight[:100], before)
    torch.testing.assert_close(grown.weight[102], before.mean(0))
    assert torch.equal(model(caption())[0], states)
    assert model.resize_token_embeddings() is grown
    assert model.resize_token_embeddings(103, pad_to_multiple_of=8).num_embeddings == 104
    assert model.resize_token_embeddings(100).num_embeddings == 100
    assert torch.equal(model(caption())[0], states)
    model.set_input_embeddings(nn.Embedding(7, 32))
    assert model.config.vocab_size == 7


@torch.no_grad()
def test_save_and_load_is_exact(tmp_path):
    model = encoder()
    model.resize_token_embeddings(101)
    model.save_pretrained(tmp_path / "a")
    loaded, info = TextHandEncoder.from_pretrained(tmp_path / "a", output_loading_info=True)
    assert not any(info.values())
    assert {k for k in loaded.config if not k.startswith("_")} >= set(HANDS)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.equal(loaded(caption(), **hands())[0], model(caption(), **hands())[0])
    loaded.save_pretrained(tmp_path / "b")
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@torch.no_grad()
def test_precision_of_saved_and_loaded_models(tmp_path):
    model = encoder()
    model.save_pretrained(tmp_path / "full")
    half = TextHandEncoder.from_pretrained(tmp_path / "full", dtype=torch.float16)
    assert half.dtype == torch.float16 and torch.equal(half.basis_points, model.basis_points)
    half.save_pretrained(tmp_path / "half", max_shard_size="40KB")
    again = TextHandEncoder.from_pretrained(tmp_path / "half")
    assert again.dtype == torch.float32 and torch.equal(again.basis_points, model.basis_points)
    moved = copy.deepcopy(model).half().float().bfloat16()
    assert moved.dtype == torch.bfloat16 and torch.equal(moved.basis_points, model.basis_points)


@torch.no_grad()
def test_stable_diffusion_text_encoder_files_fit():
    weights = {"text_model." + name: value for name, value in clip_transformer(clip_model()).state_dict().items()}
    assert not encoder().load_state_dict(weights, strict=False).unexpected_keys


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_low_precision_is_close(dtype):
    model, mask = encoder(), padding()
    mask[3] = 0
    expected = model(caption(), mask, **hands())[0]
    got = copy.deepcopy(model).to(dtype)(caption(), mask, **hands())[0]
    assert got.dtype == dtype and torch.isfinite(got).all()
    torch.testing.assert_close(got.float(), expected, rtol=0, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(model(caption(), mask, **hands())[0]).all()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@torch.no_grad()
def test_compiles_without_graph_breaks(backend):
    torch._dynamo.reset()
    model = encoder()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for mask in (None, padding()):
        torch.testing.assert_close(compiled(caption(), mask)[0], model(caption(), mask)[0])
        torch.testing.assert_close(compiled(caption(), mask, **hands())[0], model(caption(), mask, **hands())[0])
    # The same graph serves every combination of visible hands.
    with torch.compiler.set_stance("fail_on_recompile"):
        other = hands(visible=VISIBLE.flip(0))
        torch.testing.assert_close(compiled(caption(), padding(), **other)[0], model(caption(), padding(), **other)[0])


def lora(model, seed=0, **changes):
    """A random LoRA for a copy of `model`: its weights and configuration."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=2,
        lora_alpha=2,
        target_modules=["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
        init_lora_weights=False,
        **changes,
    )
    donor = copy.deepcopy(model)
    donor.add_adapter(config)
    return donor, get_peft_model_state_dict(donor, adapter_name="default"), config


@torch.no_grad()
def test_lora_reaches_the_text_transformer_only():
    model = encoder()
    donor, weights, config = lora(model)
    assert len(weights) == 2 * 6 * 3 and all(name.startswith("text_model.encoder.layers.") for name in weights)
    plain, wanted = model(caption(), **hands())[0], donor(caption(), **hands())[0]
    assert (wanted - plain).abs().max() > 1e-2
    model.load_adapter(adapter_state_dict=weights, peft_config=config, adapter_name="style")
    assert torch.equal(model(caption(), **hands())[0], wanted)
    with pytest.raises(ValueError, match="style already exists"):
        model.load_adapter(adapter_state_dict=weights, peft_config=config, adapter_name="style")
    _, other_weights, other_config = lora(encoder(), seed=1)
    model.load_adapter(adapter_state_dict=other_weights, peft_config=other_config, adapter_name="other")
    assert set(model.peft_config) == {"style", "other"}
    model.set_adapters(["style"], [1.0])
    torch.testing.assert_close(model(caption(), **hands())[0], wanted)
    model.set_adapters(["style", "other"], [0.5, 0.5])
    assert (model(caption(), **hands())[0] - wanted).abs().max() > 1e-3
    model.delete_adapters("other")
    model.disable_adapters()
    torch.testing.assert_close(model(caption(), **hands())[0], plain)
    model.unload_lora()
    assert torch.equal(model(caption(), **hands())[0], plain)


@torch.no_grad()
def test_sequential_offload_reaches_every_weight():
    from accelerate import cpu_offload

    model = encoder()
    expected, nulls = model(caption(), **hands())[0], model.null_hand_states()
    cpu_offload(model, torch.device("cpu"), offload_buffers=len(model._parameters) > 0)
    assert torch.equal(model(caption(), **hands())[0], expected)
    assert torch.equal(model.null_hand_states(), nulls)
    assert model.basis_points.device.type == "cpu"


@torch.no_grad()
def test_plain_tuples():
    model = encoder()
    assert len(model(caption(), return_dict=False)) == 1
    last, states = model(caption(), output_hidden_states=True, return_dict=False, **hands())
    assert last.shape == (4, 165, 32) and len(states) == 4


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hand_bps": None}, "`hand_bps` is missing beside `hand_rotations`"),
        ({"hand_visible": None}, "`hand_visible` is missing beside `hand_rotations`"),
        ({"hand_bps": torch.zeros(4, 2, 5)}, r"`hand_bps` must have shape \(4, 2, 6\), got \(4, 2, 5\)"),
        ({"hand_joints_2d": torch.zeros(4, 21, 2)}, r"`hand_joints_2d` must have shape \(4, 2, 21, 2\)"),
        ({"hand_rotations": torch.zeros(3, 2, 16, 3, 3)}, r"`hand_rotations` must have shape \(4, 2, 16, 3, 3\)"),
        ({"hand_visible": torch.ones(4, 1)}, r"`hand_visible` must have shape \(4, 2\), got \(4, 1\)"),
        ({"attention_mask": torch.ones(4, 9)}, r"`attention_mask` must have shape \(4, 77\), got \(4, 9\)"),
        ({"input_ids": caption(4, 78)}, r"`input_ids` must have shape \(B, L\), L at most 77, got \(4, 78\)"),
        ({"input_ids": caption()[0]}, r"`input_ids` must have shape \(B, L\)"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        encoder()(**{"input_ids": caption(), **hands(), **change})


def test_wrong_configuration_is_named():
    with pytest.raises(ValueError, match=r"`hidden_size` \(32\) must be divisible by `num_attention_heads` \(5\)"):
        encoder(num_attention_heads=5)
    with pytest.raises(ValueError, match="`hidden_act` must be an activation"):
        encoder(hidden_act="nonsense")
    with pytest.raises(ValueError, match="`num_position_bins` must be at least 1"):
        encoder(num_position_bins=0)


def test_global_random_state_decides_weights_but_not_the_basis():
    first = encoder()
    torch.manual_seed(9)
    second = TextHandEncoder.from_config(first.config)
    assert torch.equal(first.basis_points, second.basis_points)
    assert (first.basis_points.norm(dim=-1) <= 0.2).all()
    with torch.device("meta"):
        assert TextHandEncoder.from_config(first.config).null_embedding.weight.is_meta


def test_is_made_on_the_meta_device_while_transformers_keeps_linspace_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        assert TextHandEncoder.from_config(encoder().config).null_embedding.weight.is_meta
