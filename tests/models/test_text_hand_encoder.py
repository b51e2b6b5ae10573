"""The joint encoder: CLIP's equal on captions, its own semantics for hands, and at home in diffusers."""

import copy
import functools
import itertools
import json

import pytest
import torch
from releases import clip_transformer
from tiny_text_hand_encoder import CAPTION, HANDS, LEFT, RIGHT, VISIBLE, caption, clip_model, encoder, hands, padding

from diffusers_handiffuser import MINI
from diffusers_handiffuser.hands.geometry import HandGeometry
from diffusers_handiffuser.models import TextHandEncoder
from diffusers_handiffuser.models.text_hand_encoder import HAND_REPRESENTATIONS

ARGUMENTS = {"joints_2d": "hand_joints_2d", "rotations": "hand_rotations", "vertices": "hand_bps"}
PLACES = {"rotations": slice(0, 1), "vertices": slice(1, 2), "joints_2d": slice(79, 165)}
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(HAND_REPRESENTATIONS, n)]
IDS = caption()
two_layers = functools.partial(encoder, num_hidden_layers=2)


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


@pytest.mark.parametrize("kept", SUBSETS)
def test_what_is_left_out_is_not_read(kept):
    """Whatever stands there, NaN included, no state changes, and weights get the same gradients."""
    model = two_layers(hand_representations=kept)
    left_out = {ARGUMENTS[name] for name in HAND_REPRESENTATIONS if name not in kept}
    results = []
    for value in (0.3, torch.nan):
        given = {n: torch.full_like(v, value) if n in left_out else v for n, v in hands().items()}
        out = model(IDS, output_hidden_states=True, **given)
        model.zero_grad()
        out.last_hidden_state.square().sum().backward()
        results.append([out.last_hidden_state, *out.hidden_states, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(value.isfinite().all() for value in results[0])


@pytest.mark.parametrize("kept", SUBSETS)
@torch.no_grad()
def test_the_rest_is_as_in_the_full_model(kept):
    full, part = two_layers()(IDS, **hands())[0], two_layers(hand_representations=kept)(IDS, **hands())[0]
    nulls = two_layers().null_hand_states()
    assert part.shape == full.shape == (4, 165, 32)
    torch.testing.assert_close(part[:, 2:79], full[:, 2:79], rtol=0, atol=1e-6)
    for name, place in PLACES.items():
        states = full if name in kept else torch.cat([nulls[:2], nulls[:77], nulls[2:]])[None].expand(4, -1, -1)
        torch.testing.assert_close(part[:, place], states[:, place], rtol=0, atol=1e-6)
    changed = two_layers(hand_representations=kept)(IDS, **hands(seed=3))[0]
    for name, place in PLACES.items():
        assert torch.equal(changed[1, place], part[1, place]) == (name not in kept), name


@torch.no_grad()
def test_weights_start_alike_and_old_checkpoints_have_everything(tmp_path):
    wanted = two_layers().state_dict()
    for changes in ({"hand_representations": ["vertices"]}, {"joint_encoding": False}):
        assert all(torch.equal(v, wanted[n]) for n, v in two_layers(**changes).state_dict().items())
    assert TextHandEncoder.from_pretrained(MINI, subfolder="text_encoder").hand_representations == HAND_REPRESENTATIONS
    two_layers(hand_representations=["vertices"], joint_encoding=False).save_pretrained(tmp_path)
    again = TextHandEncoder.from_pretrained(tmp_path)
    assert again.hand_representations == ("vertices",) and not again.joint_encoding
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("hand_representations", "joint_encoding"):
        del config[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    old = TextHandEncoder.from_pretrained(tmp_path)
    assert torch.equal(old(IDS, **hands())[0], two_layers()(IDS, **hands())[0])


@pytest.mark.parametrize("mask", [None, torch.ones(4, 77, dtype=torch.long).index_fill(1, torch.arange(50, 77), 0)])
@torch.no_grad()
def test_concatenation_keeps_captions_and_hands_apart(mask):
    model = two_layers(joint_encoding=False)
    out = model(IDS, mask, output_hidden_states=True, **hands())
    joint = two_layers()(IDS, mask, **hands())[0]
    torch.testing.assert_close(out[0][:, :79], joint[:, :79], rtol=0, atol=1e-6)
    assert not torch.allclose(out[0][1, 79:], joint[1, 79:], atol=1e-2)
    tokens = model.joint_embeddings(hands()["hand_joints_2d"].flip(1))
    torch.testing.assert_close(out[0][1, 79:], model.text_model.final_layer_norm(tokens)[1], rtol=0, atol=1e-6)
    other = model(IDS.flip(1), mask, **hands())[0]
    assert torch.equal(other[:, 79:], out[0][:, 79:])  # the caption does not reach the joints
    nulls = model.null_hand_states()
    assert torch.equal(out[0][0, 79:122], nulls[2:45]) and torch.equal(out[0][2, 122:], nulls[45:])
    assert all(states.shape == (4, 163, 32) for states in out.hidden_states)
    assert torch.equal(model.skip_last_layers(out, 0, VISIBLE), out[0])


def test_bad_choices():
    for choice in ([], ["joints"], "rotations"):
        with pytest.raises(ValueError, match="`hand_representations` must be one or more of"):
            two_layers(hand_representations=choice)
