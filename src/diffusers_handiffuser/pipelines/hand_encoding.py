"""Stage 2's conditioning: the cross-attention states of text and hands, in one sequence [theta, M, caption, joints].

`encode_text_and_hands` does it; `HandEncodingMixin` makes it the `encode_prompt` of a pipeline, which without hands is
Stable Diffusion's own.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import logging, scale_lora_layers, unscale_lora_layers
from transformers import CLIPTokenizer

from ..hands import HandBodyModel, HandParams, ImageCrop, map_points
from ..hands.skeleton import SIDES
from ..models import TextHandEncoder
from ..utils.suggestions import suggests_keywords
from ..utils.typing import MixinBase
from .component_checks import check_caption_length, require
from .hand_inputs import as_list, negative_texts
from .inputs import check_finite_tensor, check_scalar, check_text, hand_rows
from .one_thread import SHARED_STATE_LOCK

logger = logging.get_logger(__name__)

_NAMED_HANDS = 8
"""In a warning."""


def encode_text_and_hands(
    prompts: list[str],
    negative_prompts: list[str] | None,
    hand_params: HandParams,
    tokenizer: CLIPTokenizer,
    text_encoder: TextHandEncoder,
    body_model: HandBodyModel,
    hand_conditioning_scale: float = 1.0,
    clip_skip: int | None = None,
    *,
    hand_crops: Sequence[ImageCrop] | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cross-attention states of B captions with hands, n images each.

    Joints outside the square of the image that is drawn are encoded at its edge; a warning names visible hands all of
    whose joints are.

    Args:
        prompts (`list[str]`): B captions.
        negative_prompts (`list[str]`, *optional*): B captions, which are encoded beside learned null hands.
        hand_params (`HandParams` of batch shape `(B * n,)`): hands of each image, on the device of the models.
        tokenizer (`CLIPTokenizer`): of the captions.
        text_encoder ([`TextHandEncoder`]): encodes captions and hands.
        body_model ([`HandBodyModel`]): poses the hands.
        hand_conditioning_scale (`float`): s; every hand state h of the prompt becomes null + s (h - null), where null
            is the learned null state in its place.
        clip_skip (`int`, *optional*): last layers of the text transformer to skip, for the prompts alone.
        hand_crops (sequence of [`ImageCrop`], *optional*): from the image that each row's camera is of to the image
            that is drawn; the same image by default.

    Returns:
        `tuple`: states of the prompts and of the negative prompts (`None` without), each `(B * n, 165, D)`.
    """
    device, num_images = hand_params.device, len(hand_params) // len(prompts)
    input_ids = tokenize_captions(prompts, tokenizer, device).repeat_interleave(num_images, 0)
    prompt_embeds = _encode_hands(
        input_ids, hand_params, text_encoder, body_model, hand_conditioning_scale, clip_skip, hand_crops
    )
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
        tokenizer (`CLIPTokenizer`): of the texts.
        text_encoder ([`TextHandEncoder`]): that made `prompt_embeds`.
        device (`torch.device` or `str`): that of the text encoder.

    Returns:
        `torch.Tensor` of shape `(B, N, D)`.

    Raises:
        ValueError: if there are neither one nor B texts, or no states of this length can be made.
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
    with SHARED_STATE_LOCK:
        tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        whole = tokenizer(texts).input_ids
    if max(map(len, whole)) > length:
        removed = tokenizer.batch_decode([ids[length - 1 : -1] for ids in whole])
        logger.warning(
            "The following part of your input was truncated because CLIP can only handle sequences up to"
            f" {length} tokens: {removed}"
        )
    return tokens.input_ids.to(device)


def convert_prompt(pipeline: Any, texts: list[str]) -> list[str]:
    """Texts with the tokens of textual inversions in the place of their names, as diffusers' mixin converts them."""
    with SHARED_STATE_LOCK:
        return pipeline.maybe_convert_prompt(texts, pipeline.tokenizer)


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


@contextlib.contextmanager
def _lora_scaled(text_encoder: TextHandEncoder, scale: float | None) -> Iterator[None]:
    """Scales the LoRA layers of the text encoder within the block, if a scale is given."""
    if scale is not None:
        scale_lora_layers(text_encoder, scale)
    try:
        yield
    finally:
        if scale is not None:
            unscale_lora_layers(text_encoder, scale)


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
    hand_crops: Sequence[ImageCrop] | None,
) -> torch.Tensor:
    """`(B, 77)` tokens and B rows of hands to `(B, 165, D)` states."""
    geometry = body_model(hand_params)
    for name, value in geometry.items():
        check_finite_tensor(f"The geometry of `hand_params` (`{name}`)", value)
    if hand_crops is not None:
        geometry = replace(geometry, joints_2d=map_points(geometry.joints_2d, hand_crops))
    _warn_of_hands_outside(geometry.joints_2d, hand_params.hand_visible)
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


def _warn_of_hands_outside(joints_2d: torch.Tensor, hand_visible: torch.Tensor) -> None:
    """Names visible hands without any of their joints `(B, 2, 21, 2)` in the square."""
    outside = hand_visible & (joints_2d.abs() > 1).any(-1).all(-1)
    hands = [f"row {row} ({SIDES[side]})" for row, side in outside.nonzero().tolist()]
    if hands:
        named = ", ".join(hands[:_NAMED_HANDS]) + (", ..." if len(hands) > _NAMED_HANDS else "")
        logger.warning(
            "All joints of some visible hands of `hand_params` lie outside the square of the image that is drawn and "
            f"are encoded at its edge: {named}."
        )


def _split_states(states: torch.Tensor, caption_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """[theta, M, caption, joints] to caption `(B, 77, D)` and hands `(B, 88, D)`."""
    theta_mesh, caption, joints = states.split([2, caption_length, states.shape[1] - 2 - caption_length], 1)
    return caption, torch.cat([theta_mesh, joints], 1)


def _join_states(caption: torch.Tensor, hand_states: torch.Tensor) -> torch.Tensor:
    """The inverse of `_split_states`."""
    return torch.cat([hand_states[:, :2], caption, hand_states[:, 2:]], 1)


class HandEncodingMixin(MixinBase):
    """Gives `encode_prompt` hands, before a Stable Diffusion pipeline in the bases of a class."""

    @suggests_keywords
    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
        hand_params: HandParams | None = None,
        hand_conditioning_scale: float = 1.0,
        *,
        hand_crops: Sequence[ImageCrop] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Cross-attention states of B prompts, alone or with hands, for n images each.

        Without hands (`hand_params=None` or `hand_conditioning_scale=0`) this is Stable Diffusion's `encode_prompt`.
        Hands are not sampled here. With hands, the negative prompt is encoded with the learned null states in the
        places of the hands.

        Args:
            prompt (`str` or `list[str]`, *optional*): B captions; either this or `prompt_embeds`.
            device (`torch.device`): of the states.
            num_images_per_prompt (`int`): n.
            do_classifier_free_guidance (`bool`): whether to encode the negative prompt.
            negative_prompt (`str` or `list[str]`, *optional*): one, or one per prompt; "" by default.
            prompt_embeds (`torch.Tensor` of shape `(B, N, D)`, *optional*): used as they are, without hands.
            negative_prompt_embeds (`torch.Tensor` of shape `(B, N, D)`, *optional*): used as they are.
            lora_scale (`float`, *optional*): of the text encoder's LoRA layers.
            clip_skip (`int`, *optional*): last layers of the text transformer to skip, for the prompts alone.
            hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands for each prompt or each
                image.
            hand_conditioning_scale (`float`): s; every hand state h of the prompt becomes null + s (h - null), where
                null is the learned null state in its place.
            hand_crops (sequence of `B * n` [`ImageCrop`], *optional*): from the image that each row's camera is of to
                the image that is drawn; the same image by default.

        Returns:
            `tuple`: `prompt_embeds` and `negative_prompt_embeds` (`None` without guidance), both `(B * n, N, D)`; N is
            165 with hands, [theta, M, caption 77, joints 86], and 77 without.
        """
        check_scalar("hand_conditioning_scale", hand_conditioning_scale, minimum=0)
        if hand_params is not None and hand_conditioning_scale > 0:
            if prompt_embeds is not None:
                raise ValueError("`hand_params` cannot be given with `prompt_embeds`, which are used as they are.")
            check_text("prompt", prompt)
            assert prompt is not None
            require(self, "conditioning on hands", "body_model")
            check_caption_length(self)
            rows = hand_rows(hand_params, len(as_list(prompt)), num_images_per_prompt).to(device)
            wants_negative = do_classifier_free_guidance and negative_prompt_embeds is None
            negative = negative_texts(prompt, negative_prompt) if wants_negative else None
            with _lora_scaled(self.text_encoder, lora_scale):
                prompt_embeds, encoded_negative = encode_text_and_hands(
                    convert_prompt(self, as_list(prompt)),
                    negative and convert_prompt(self, negative),
                    rows,
                    self.tokenizer,
                    self.text_encoder,
                    self.body_model,
                    hand_conditioning_scale,
                    clip_skip,
                    hand_crops=hand_crops,
                )
            if negative_prompt_embeds is None:
                negative_prompt_embeds = encoded_negative
            else:
                negative_prompt_embeds = negative_prompt_embeds.repeat_interleave(num_images_per_prompt, 0)
            prompt, num_images_per_prompt, lora_scale = None, 1, None
        elif prompt_embeds is not None and do_classifier_free_guidance and negative_prompt_embeds is None:
            require(self, "a negative prompt", "tokenizer", "text_encoder")
            check_caption_length(self)
            with _lora_scaled(self.text_encoder, lora_scale):
                texts = convert_prompt(self, as_list(negative_prompt or ""))
                negative_prompt_embeds = encode_negative_for(
                    prompt_embeds, texts, self.tokenizer, self.text_encoder, device
                )
        if prompt is not None:
            check_caption_length(self)
        with SHARED_STATE_LOCK:
            prompt_embeds, negative_prompt_embeds = super().encode_prompt(
                prompt,
                device,
                num_images_per_prompt,
                do_classifier_free_guidance,
                negative_prompt,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                lora_scale=lora_scale,
                clip_skip=clip_skip,
            )
        prompt_embeds = cast_to_unet(prompt_embeds, self.unet)
        if negative_prompt_embeds is not None:
            negative_prompt_embeds = cast_to_unet(negative_prompt_embeds, self.unet)
        return prompt_embeds, negative_prompt_embeds

    def caption_states(self, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """The caption's `(B, 77, D)` out of `(B, 165, D)` states of caption and hands; others are returned whole."""
        return prompt_embeds if self.text_encoder is None else caption_states(prompt_embeds, self.text_encoder)
