"""Methods of transformers' text encoders that diffusers and training tools call."""

from typing import Any

import torch
from torch import nn

from ..utils.typing import MixinBase


class TextEncoderMixin(MixinBase):
    """Token table and LoRA loading under transformers' method names, for a model with a `text_model` like CLIP's."""

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of text tokens, which textual inversion extends."""
        return self.text_model.embeddings.token_embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the table of text tokens."""
        self.text_model.embeddings.token_embedding = value
        self.register_to_config(vocab_size=value.num_embeddings)

    @torch.no_grad()
    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Changes the number of text tokens; new rows are initialised with the mean of the old ones.

        Args:
            new_num_tokens (`int`, *optional*): the new number of rows; the current one if `None`.
            pad_to_multiple_of (`int`, *optional*): round the number of rows up to a multiple of this.
        """
        old = self.get_input_embeddings()
        size = old.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            size += -size % pad_to_multiple_of
        if size < 1:
            raise ValueError(f"`new_num_tokens` must be at least 1, got {new_num_tokens}.")
        if size == old.num_embeddings:
            return old
        new = nn.Embedding(size, old.embedding_dim, device=old.weight.device, dtype=old.weight.dtype)
        new.weight.copy_(old.weight.mean(0, keepdim=True).expand_as(new.weight))
        kept = min(size, old.num_embeddings)
        new.weight[:kept] = old.weight[:kept]
        new.weight.requires_grad_(old.weight.requires_grad)
        self.set_input_embeddings(new)
        return new

    def load_adapter(
        self,
        adapter_state_dict: dict[str, torch.Tensor],
        peft_config: Any,
        adapter_name: str = "default",
        low_cpu_mem_usage: bool = False,
    ) -> None:
        """Loads a LoRA, with the signature that transformers' models have and diffusers calls.

        Args:
            adapter_state_dict (`dict`): PEFT weights, named from this model's root (`text_model.encoder...`).
            peft_config (`peft.LoraConfig`): ranks, alphas and targets.
            adapter_name (`str`, defaults to `"default"`): a name that is not in use.
            low_cpu_mem_usage (`bool`, defaults to `False`): create the layers on the meta device.
        """
        from peft import inject_adapter_in_model, set_peft_model_state_dict

        if adapter_name in getattr(self, "peft_config", {}):
            raise ValueError(f"Adapter with name {adapter_name} already exists. Please use a different name.")
        inject_adapter_in_model(peft_config, self, adapter_name=adapter_name, low_cpu_mem_usage=low_cpu_mem_usage)
        set_peft_model_state_dict(self, adapter_state_dict, adapter_name, low_cpu_mem_usage=low_cpu_mem_usage)
        self._hf_peft_config_loaded = True
