"""CLIP's text transformer, with CLIP's weight names."""

from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from .attention import HandAttention
from .hand_embeddings import INIT_STD


class TextHandAttention(HandAttention):
    """Causal self-attention under CLIP's names."""

    _supports_qkv_fusion = False

    def __init__(self, hidden_size: int, heads: int):
        super().__init__(hidden_size, heads)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def project_in(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)

    def project_out(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.out_proj(hidden_states)


class TextHandMLP(nn.Module):
    """A feed-forward block under CLIP's names."""

    def __init__(self, hidden_size: int, intermediate_size: int, hidden_act: str):
        super().__init__()
        self.activation_fn = ACT2FN[hidden_act]
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class TextHandEncoderLayer(nn.Module):
    """A pre-norm transformer layer under CLIP's names."""

    def __init__(self, hidden_size: int, heads: int, intermediate_size: int, hidden_act: str, layer_norm_eps: float):
        super().__init__()
        self.self_attn = TextHandAttention(hidden_size, heads)
        self.layer_norm1 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.mlp = TextHandMLP(hidden_size, intermediate_size, hidden_act)
        self.layer_norm2 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        hidden_states = hidden_states + self.self_attn(self.layer_norm1(hidden_states), attention_mask, is_causal)
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class TextHandEmbeddings(nn.Module):
    """Token and position embeddings under CLIP's names."""

    def __init__(self, vocab_size: int, hidden_size: int, max_position_embeddings: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, hidden_size)
        self.position_embedding = nn.Embedding(max_position_embeddings, hidden_size)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.token_embedding(input_ids) + self.position_embedding(positions)


class TextHandLayers(nn.Module):
    """The layers under CLIP's name for them, `encoder.layers`."""

    def __init__(self, layers: list[TextHandEncoderLayer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class TextHandTransformer(nn.Module):
    """The parts of CLIP's text transformer, under the names of a CLIP checkpoint."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        intermediate_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        max_position_embeddings: int,
        hidden_act: str,
        layer_norm_eps: float,
    ):
        super().__init__()
        self.embeddings = TextHandEmbeddings(vocab_size, hidden_size, max_position_embeddings)
        self.encoder = TextHandLayers(
            [
                TextHandEncoderLayer(hidden_size, num_attention_heads, intermediate_size, hidden_act, layer_norm_eps)
                for _ in range(num_hidden_layers)
            ]
        )
        self.final_layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def init_weights(self) -> None:
        """CLIP's initialisation."""
        embeddings, layers = self.embeddings, self.encoder.layers
        nn.init.normal_(embeddings.token_embedding.weight, std=INIT_STD)
        nn.init.normal_(embeddings.position_embedding.weight, std=INIT_STD)
        width = embeddings.token_embedding.embedding_dim
        deep_std = width**-0.5 * (2 * max(len(layers), 1)) ** -0.5
        for layer in layers:
            assert isinstance(layer, TextHandEncoderLayer)
            attention, mlp = layer.self_attn, layer.mlp
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.fc2):
                nn.init.normal_(linear.weight, std=deep_std)
            nn.init.normal_(attention.out_proj.weight, std=width**-0.5)
            nn.init.normal_(mlp.fc1.weight, std=(2 * width) ** -0.5)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, mlp.fc1, mlp.fc2):
                nn.init.zeros_(linear.bias)


_CLIP_CONFIG = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "hidden_act", "layer_norm_eps", "eos_token_id"),
)


def clip_config_and_weights(clip_text_model: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The config of a CLIP text model and its weights, all under `text_model.` and without a projection.

    Raises a `TypeError` for another model.
    """
    config: Any = getattr(clip_text_model, "config", None)
    missing = [name for name in _CLIP_CONFIG if not hasattr(config, name)]
    if missing or not isinstance(clip_text_model, nn.Module):
        raise TypeError(f"`clip_text_model` must be a CLIP text model, got {type(clip_text_model).__name__}.")
    weights = {}
    for name, value in clip_text_model.state_dict().items():
        name = "text_model." + name.removeprefix("text_model.")
        if not name.endswith("position_ids") and not name.startswith("text_model.text_projection"):
            weights[name] = value
    values = {name: getattr(config, name) for name in _CLIP_CONFIG}
    # The config of a model whose token table was resized may hold the old size.
    if (tokens := weights.get("text_model.embeddings.token_embedding.weight")) is not None:
        values["vocab_size"] = len(tokens)
    return values, weights
