"""Leaving out what is told of the hands, and plain concatenation instead of the joint encoding."""

import itertools
import json

import pytest
import torch

from diffusers_handiffuser import MINI
from diffusers_handiffuser.models import TextHandEncoder
from diffusers_handiffuser.models.text_hand_encoder import HAND_REPRESENTATIONS

ARGUMENTS = {"joints_2d": "hand_joints_2d", "rotations": "hand_rotations", "vertices": "hand_bps"}
PLACES = {"rotations": slice(0, 1), "vertices": slice(1, 2), "joints_2d": slice(79, 165)}
VISIBLE = torch.tensor([[True, False], [True, True], [False, True], [False, False]])
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(HAND_REPRESENTATIONS, n)]
IDS = torch.randint(0, 99, (4, 77), generator=torch.Generator().manual_seed(1))


def encoder(**changes):
    torch.manual_seed(0)
    config = {
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_position_bins": 50,
        "num_basis_points": 6,
        "hand_hidden_size": 16,
    }
    return TextHandEncoder(**{**config, **changes}).eval()


def hands(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        "hand_rotations": torch.randn(4, 2, 16, 3, 3, generator=generator),
        "hand_bps": torch.rand(4, 2, 6, generator=generator),
        "hand_joints_2d": torch.randn(4, 2, 21, 2, generator=generator),
        "hand_visible": VISIBLE,
    }


@pytest.mark.parametrize("kept", SUBSETS)
def test_what_is_left_out_is_not_read(kept):
    """Whatever stands there, NaN included, no state changes, and weights get the same gradients."""
    model = encoder(hand_representations=kept)
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
    full, part = encoder()(IDS, **hands())[0], encoder(hand_representations=kept)(IDS, **hands())[0]
    nulls = encoder().null_hand_states()
    assert part.shape == full.shape == (4, 165, 32)
    torch.testing.assert_close(part[:, 2:79], full[:, 2:79], rtol=0, atol=1e-6)
    for name, place in PLACES.items():
        states = full if name in kept else torch.cat([nulls[:2], nulls[:77], nulls[2:]])[None].expand(4, -1, -1)
        torch.testing.assert_close(part[:, place], states[:, place], rtol=0, atol=1e-6)
    changed = encoder(hand_representations=kept)(IDS, **hands(seed=3))[0]
    for name, place in PLACES.items():
        assert torch.equal(changed[1, place], part[1, place]) == (name not in kept), name


@torch.no_grad()
def test_weights_start_alike_and_old_checkpoints_have_everything(tmp_path):
    wanted = encoder().state_dict()
    for changes in ({"hand_representations": ["vertices"]}, {"joint_encoding": False}):
        assert all(torch.equal(v, wanted[n]) for n, v in encoder(**changes).state_dict().items())
    assert TextHandEncoder.from_pretrained(MINI, subfolder="text_encoder").hand_representations == HAND_REPRESENTATIONS
    encoder(hand_representations=["vertices"], joint_encoding=False).save_pretrained(tmp_path)
    again = TextHandEncoder.from_pretrained(tmp_path)
    assert again.hand_representations == ("vertices",) and not again.joint_encoding
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("hand_representations", "joint_encoding"):
        del config[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    old = TextHandEncoder.from_pretrained(tmp_path)
    assert torch.equal(old(IDS, **hands())[0], encoder()(IDS, **hands())[0])


@pytest.mark.parametrize("mask", [None, torch.ones(4, 77, dtype=torch.long).index_fill(1, torch.arange(50, 77), 0)])
@torch.no_grad()
def test_concatenation_keeps_captions_and_hands_apart(mask):
    model = encoder(joint_encoding=False)
    out = model(IDS, mask, output_hidden_states=True, **hands())
    joint = encoder()(IDS, mask, **hands())[0]
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
            encoder(hand_representations=choice)


def test_training_goes_on_with_other_choices(tmp_path):
    from diffusers_handiffuser.training.hand_params_to_image.models import load_text_encoder

    encoder().save_pretrained(tmp_path / "text_encoder")
    changed = load_text_encoder(str(tmp_path), {"hand_representations": ["vertices"], "num_basis_points": 7})
    assert changed.hand_representations == ("vertices",) and changed.config.num_basis_points == 6
    assert list(changed.config.hand_representations) == ["vertices"] and changed.joint_encoding
    assert all(torch.equal(v, encoder().state_dict()[n]) for n, v in changed.state_dict().items())
