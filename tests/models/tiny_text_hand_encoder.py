"""A tiny `TextHandEncoder`, a CLIP text model of its size, and input for both."""

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from diffusers_handiffuser.models import TextHandEncoder

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
