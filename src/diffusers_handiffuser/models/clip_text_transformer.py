"""CLIP's text transformer, with CLIP's weight names."""

import torch
from torch import nn
from transformers.activations import ACT2FN

from .attention import HandAttention


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
    def __init__(self, hidden_size: int, intermediate_size: int, hidden_act: str):
        super().__init__()
        self.activation_fn = ACT2FN[hidden_act]
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class TextHandEncoderLayer(nn.Module):
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
    def __init__(self, vocab_size: int, hidden_size: int, max_position_embeddings: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, hidden_size)
        self.position_embedding = nn.Embedding(max_position_embeddings, hidden_size)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.token_embedding(input_ids) + self.position_embedding(positions)


class TextHandLayers(nn.Module):
    """Holds the layers under the name that CLIP gives them, `encoder.layers`."""

    def __init__(self, layers: list[TextHandEncoderLayer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class TextHandTransformer(nn.Module):
    """The parts of CLIP's text transformer, under the names they have in a CLIP checkpoint."""

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
