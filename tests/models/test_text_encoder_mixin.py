"""The methods of transformers' text encoders: token tables and LoRA."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from tiny_text_hand_encoder import caption, encoder, hands
from torch import nn


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
