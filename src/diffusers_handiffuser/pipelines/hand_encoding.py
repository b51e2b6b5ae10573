"""Stage 2's conditioning: the cross-attention states of text and hands, in one sequence [theta, M, caption, joints].

`encode_text_and_hands` is the whole of it; without hands, Stable Diffusion's own `encode_prompt` encodes the text.
"""

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import logging
from transformers import CLIPTokenizer

from ..hands import HandBodyModel, HandParams
from ..models import TextHandEncoder
from .inputs import check_finite

logger = logging.get_logger(__name__)


def encode_text_and_hands(
    prompts: list[str],
    negative_prompts: list[str] | None,
    hand_params: HandParams,
    tokenizer: CLIPTokenizer,
    text_encoder: TextHandEncoder,
    body_model: HandBodyModel,
    hand_conditioning_scale: float = 1.0,
    clip_skip: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cross-attention states of B captions with hands, n images each.

    Args:
        prompts (`list[str]`): B captions.
        negative_prompts (`list[str]`, *optional*): B captions, which are encoded beside learned null hands.
        hand_params (`HandParams` of batch shape `(B * n,)`): hands of each image, on the device of the models.
        tokenizer, text_encoder, body_model: components of a pipeline.
        hand_conditioning_scale (`float`): s; every hand state h of the prompt becomes null + s (h - null), where null
            is the learned null state in its place.
        clip_skip (`int`, *optional*): last layers of the text transformer to skip, for the prompts alone.

    Returns:
        `tuple`: states of the prompts and of the negative prompts (`None` without), each `(B * n, 165, D)`.
    """
    device, num_images = hand_params.device, len(hand_params) // len(prompts)
    input_ids = tokenize_captions(prompts, tokenizer, device).repeat_interleave(num_images, 0)
    prompt_embeds = _encode_hands(input_ids, hand_params, text_encoder, body_model, hand_conditioning_scale, clip_skip)
    if negative_prompts is None:
        return prompt_embeds, None
    negative_ids = tokenize_captions(negative_prompts, tokenizer, device)
    return prompt_embeds, encode_with_null_hands(negative_ids, text_encoder).repeat_interleave(num_images, 0)


def encode_negative_for(
    prompt_embeds: torch.Tensor,
    negative_prompts: list[str],
    tokenizer: CLIPTokenizer,
    text_encoder: TextHandEncoder,
    device: torch.device | str,
) -> torch.Tensor:
    """The negative side of given embeddings, in their shape: text alone, or text beside null hands.

    Args:
        prompt_embeds (`torch.Tensor` of shape `(B, N, D)`): those of the prompts.
        negative_prompts (`list[str]`): B texts, or one for all.
        tokenizer, text_encoder: components of a pipeline.
        device (`torch.device` or `str`): that of the text encoder.
    """
    batch_size, length, _ = prompt_embeds.shape
    texts = negative_prompts * batch_size if len(negative_prompts) == 1 else negative_prompts
    if len(texts) != batch_size:
        raise ValueError(f"`negative_prompt` must hold {batch_size} texts, got {len(texts)}.")
    input_ids = tokenize_captions(texts, tokenizer, device)
    text_length = input_ids.shape[1]
    joint_length = text_length + text_encoder.num_hand_states
    if length == joint_length:
        return encode_with_null_hands(input_ids, text_encoder)
    if length == text_length:
        return text_encoder(input_ids).last_hidden_state
    raise ValueError(
        f"`negative_prompt_embeds` must be given with `prompt_embeds` of {length} states; "
        f"they can be made for {text_length} (text) and {joint_length} (text and hands)."
    )


def tokenize_captions(texts: list[str], tokenizer: CLIPTokenizer, device: torch.device | str) -> torch.Tensor:
    """`(B, 77)` tokens; longer captions are truncated with a warning, as in Stable Diffusion."""
    length = tokenizer.model_max_length
    input_ids = tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    whole = tokenizer(texts).input_ids
    if max(map(len, whole)) > length:
        removed = tokenizer.batch_decode([ids[length - 1 : -1] for ids in whole])
        logger.warning(
            "The following part of your input was truncated because CLIP can only handle sequences up to"
            f" {length} tokens: {removed}"
        )
    return input_ids.to(device)


def encode_with_null_hands(input_ids: torch.Tensor, text_encoder: TextHandEncoder) -> torch.Tensor:
    """`(B, 77)` tokens to `(B, 165, D)` states: the captions beside the learned null states."""
    caption = text_encoder(input_ids).last_hidden_state
    nulls = text_encoder.null_hand_states().to(caption)
    return _join_states(caption, nulls.expand(len(caption), -1, -1))


def caption_states(states: torch.Tensor, text_encoder: TextHandEncoder) -> torch.Tensor:
    """The caption's `(B, 77, D)` out of `(B, 165, D)` states of caption and hands; others are returned whole.

    They are those of plain CLIP: the hands come after the caption, and the attention is causal.
    """
    caption_length = text_encoder.config.max_position_embeddings
    if states.shape[1] != caption_length + text_encoder.num_hand_states:
        return states
    return _split_states(states, caption_length)[0]


def cast_to_unet(states: torch.Tensor, unet: UNet2DConditionModel | None) -> torch.Tensor:
    """States in the dtype of the U-Net, unless there is none or it is quantised to integers."""
    return states if unet is None or not unet.dtype.is_floating_point else states.to(unet.dtype)


def _encode_hands(
    input_ids: torch.Tensor,
    hand_params: HandParams,
    text_encoder: TextHandEncoder,
    body_model: HandBodyModel,
    scale: float,
    clip_skip: int | None,
) -> torch.Tensor:
    """`(B, 77)` tokens and B rows of hands to `(B, 165, D)` states."""
    geometry = body_model(hand_params)
    for name, value in geometry.items():
        check_finite(f"The geometry of `hand_params` (`{name}`)", value)
    hands = text_encoder.prepare_hands(geometry, hand_params.hand_visible)
    output = text_encoder(input_ids, **hands, output_hidden_states=clip_skip is not None)
    states = output.last_hidden_state
    if clip_skip is not None:
        states = text_encoder.skip_last_layers(output, clip_skip, hand_params.hand_visible)
    if scale == 1:
        return states
    caption, hand_states = _split_states(states, input_ids.shape[1])
    nulls = text_encoder.null_hand_states().to(states)
    return _join_states(caption, nulls + scale * (hand_states - nulls))


def _split_states(states: torch.Tensor, caption_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[theta, M, caption, joints] to caption `(B, 77, D)` and hands `(B, 88, D)`."""
    theta_mesh, caption, joints = states.split([2, caption_length, states.shape[1] - 2 - caption_length], 1)
    return caption, torch.cat([theta_mesh, joints], 1)


def _join_states(caption: torch.Tensor, hand_states: torch.Tensor) -> torch.Tensor:
    """The inverse of `_split_states`."""
    return torch.cat([hand_states[:, :2], caption, hand_states[:, 2:]], 1)
