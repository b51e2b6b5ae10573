"""The models that stage 2 is trained from."""

import torch

from diffusers_handiffuser import TextHandEncoder
from diffusers_handiffuser.training.hand_params_to_image.models import load_text_encoder


def test_training_goes_on_with_other_representations(tmp_path):
    sizes = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    encoder = TextHandEncoder(**sizes, num_attention_heads=4, num_basis_points=6, hand_hidden_size=16)
    encoder.save_pretrained(tmp_path / "text_encoder")
    changed = load_text_encoder(str(tmp_path), {"hand_representations": ["vertices"], "num_basis_points": 7})
    assert changed.hand_representations == ("vertices",) and changed.config.num_basis_points == 6
    assert list(changed.config.hand_representations) == ["vertices"] and changed.joint_encoding
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in changed.state_dict().items())
