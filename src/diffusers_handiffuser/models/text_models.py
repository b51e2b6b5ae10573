"""Text models for stage 1: any of transformers that gives `last_hidden_state`, or a `TextHandEncoder`.

HanDiffuser (arXiv 2403.01693) uses CLIP. Stage 1 only reads a sequence of states, so that another model of language,
such as a BERT, serves as well.
"""

import math
import os
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from ..hub.checked_components import component_class, is_component_class
from ..hub.loading import check_finite_weights, missing_weights
from .text_hand_encoder import TextHandEncoder


def load_text_model(
    pretrained_model_name_or_path: str | os.PathLike, subfolder: str, **kwargs: Any
) -> PreTrainedModel | TextHandEncoder:
    """The text model in a folder or under a Hub id, of the class that its config names.

    A class of another architecture would load without a word and draw its weights at random.

    Args:
        pretrained_model_name_or_path (`str` or `os.PathLike`): a pipeline.
        subfolder (`str`): that of the model, such as `"hand_text_encoder"`.
        kwargs: options of `from_pretrained`, such as `revision` and `variant`.

    Raises:
        OSError: there is no such model.
        ValueError: its config names no model of transformers, or weights are missing or not finite.
    """
    where = {"subfolder": subfolder, **{key: kwargs[key] for key in ("revision",) if key in kwargs}}
    config, _ = transformers.PretrainedConfig.get_config_dict(pretrained_model_name_or_path, **where)
    if config.get("_class_name") == TextHandEncoder.__name__:
        return TextHandEncoder.from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)
    name = next(iter(config.get("architectures") or ()), None)
    found: Any = component_class("transformers", name) if isinstance(name, str) else None
    if not (is_component_class(found) and issubclass(found, PreTrainedModel)):
        raise ValueError(
            f"`{subfolder}` of {os.fspath(pretrained_model_name_or_path)!r} has the architecture {name!r}; wanted a "
            "model of transformers."
        )
    loaded: Any = found.from_pretrained(
        pretrained_model_name_or_path, subfolder=subfolder, output_loading_info=True, **kwargs
    )
    model, info = loaded
    for key in sorted(info["missing_keys"]):
        raise ValueError(missing_weights(subfolder, key))
    check_finite_weights(subfolder, model)
    return model


def load_tokenizer(
    pretrained_model_name_or_path: str | os.PathLike, subfolder: str = "", **kwargs: Any
) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder or under a Hub id, of the class that its config names, as diffusers loads it.

    Args:
        pretrained_model_name_or_path (`str` or `os.PathLike`): a tokenizer, or a pipeline.
        subfolder (`str`): that of the tokenizer.
        kwargs: options of `from_pretrained`, such as `revision`.

    Raises:
        OSError: there is no such tokenizer.
        ValueError: its config names something else than a tokenizer of transformers.
    """
    config = get_tokenizer_config(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)
    name = config.get("tokenizer_class")
    found: Any = transformers.AutoTokenizer
    if name is not None:
        found = component_class("transformers", name) if isinstance(name, str) else None
        if not (is_component_class(found) and issubclass(found, PreTrainedTokenizerBase)):
            place = os.path.join(pretrained_model_name_or_path, subfolder)
            raise ValueError(f"{place!r} names {name!r} as its tokenizer; wanted one of transformers.")
    return found.from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)


def text_length(tokenizer: PreTrainedTokenizerBase, text_model: Any) -> int:
    """How many tokens texts are padded or cut to: what the tokenizer was saved with, if the model takes as many.

    Raises:
        ValueError: neither says, or the tokenizer has more tokens than the model.
    """
    config = text_model.config
    length = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", math.inf))
    if length > 1_000_000:  # transformers' way to say that none was saved
        raise ValueError("`hand_tokenizer` has no `model_max_length`; set it to the tokens of the longest text.")
    embedded = getattr(config, "vocab_size", math.inf)
    if len(tokenizer) > embedded:
        raise ValueError(
            f"`hand_tokenizer` has {len(tokenizer)} tokens, but `hand_text_encoder`, a {type(text_model).__name__}, "
            f"embeds {embedded}; they belong to different models."
        )
    return int(length)


def text_states(text_model: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The text model's last states `(B, L, D)` of tokens `(B, L)`, 1 in the mask where a token counts.

    Raises:
        ValueError: the model gives no such states, as one with a head for another task.
    """
    output = text_model(input_ids, attention_mask=attention_mask)
    states = getattr(output, "last_hidden_state", None)
    if states is None:
        name = type(text_model).__name__
        raise ValueError(f"`hand_text_encoder` must give `last_hidden_state`, but a {name} gives none.")
    return states
