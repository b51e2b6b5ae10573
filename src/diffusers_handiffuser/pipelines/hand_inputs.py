"""The arguments of a call that stand for hands, and the checks of its prompts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch

from ..hands import HandBodyModel, HandParams, frame_hands
from ..hands.framing import check_framing
from .component_checks import check_caption_length, check_stage_1, require
from .hand_sampling import Generators, clone_generators
from .inputs import check_count, check_embeds, check_generators, check_scalar, check_text, checked_callback, hand_rows
from .saved_defaults import with_default

FIT = "fit"
"""As `hand_params`: the hands of the image."""

HandCallback = Callable[[Any, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]


@dataclass(frozen=True)
class HandInputs:
    """The hand arguments of a call, checked when it is made; errors name the argument.

    Args:
        hand_params (`HandParams` of batch shape `(B,)` or `(B * n,)`, *optional*): hands to draw instead of sampled
            ones.
        num_hand_inference_steps (`int`, *optional*): of stage 1; else the checkpoint's default, else 50.
        hand_guidance_scale (`float`, *optional*): of stage 1; else the checkpoint's default, else 2.5.
        hand_conditioning_scale (`float`): strength of the hands in stage 2; 0 leaves them out.
        hand_generator (`torch.Generator` or `list[torch.Generator]`, *optional*): for stage 1, in place of
            `generator`.
        hand_callback_on_step_end (`Callable`, *optional*): after every step of stage 1, see `sample_hand_params`.
        framing (`str`, *optional*): `"close_up"`, `"waist_up"` or `"full_body"`: what of the sampled people is in the
            image, see `frame_hands`; by default, the camera is sampled with the hands.
    """

    fits_image: ClassVar[bool] = False
    """Whether `hand_params` may be `FIT`."""

    hand_params: HandParams | None = None
    num_hand_inference_steps: int | None = None
    hand_guidance_scale: float | None = None
    hand_conditioning_scale: float = 1.0
    hand_generator: Generators = None
    hand_callback_on_step_end: HandCallback | None = None
    framing: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.hand_params, str) and not (self.fits_image and self.hand_params == FIT):
            wanted = f"HandParams or {FIT!r}" if self.fits_image else "HandParams"
            hint = "" if self.fits_image else "; `fit_hands(image).hand_params` are those of an image"
            raise TypeError(f"`hand_params` must be {wanted}, got {self.hand_params!r}{hint}.")
        if self.num_hand_inference_steps is not None:
            check_count("num_hand_inference_steps", self.num_hand_inference_steps)
        if self.hand_guidance_scale is not None:
            check_scalar("hand_guidance_scale", self.hand_guidance_scale)
        check_scalar("hand_conditioning_scale", self.hand_conditioning_scale, minimum=0)
        if (callback := self.hand_callback_on_step_end) is not None:
            checked_callback("hand_callback_on_step_end", callback, may_return_none=True)
        check_framing(self.framing)
        if self.framing is not None and self.hand_params is not None:
            raise ValueError(
                "`framing` is for sampled hands, while `hand_params` are drawn in their own camera; "
                "`frame_hands(hand_params, ...)` gives them another."
            )

    def with_defaults(self, config: Mapping[str, Any]) -> Self:
        """Steps and guidance filled in from a pipeline's config."""
        names = ("num_hand_inference_steps", "hand_guidance_scale")
        return replace(self, **{name: with_default(config, name, getattr(self, name)) for name in names})

    def seeded(self, generator: Generators) -> Self:
        """With stage 1 drawing from a copy of a call's `generator`, unless it has a generator of its own."""
        return self if self.hand_generator is not None else replace(self, hand_generator=clone_generators(generator))

    def framed(
        self, hand_params: HandParams, sizes: Sequence[tuple[int, int]], body_model: HandBodyModel
    ) -> HandParams:
        """Sampled hands in the camera of `framing`; `sizes` are width and height of one image for all, or of each."""
        if self.framing is None:
            return hand_params
        if len(set(sizes)) == 1:
            width, height = sizes[0]
            return frame_hands(hand_params, self.framing, height, width, body_model)
        rows = [
            frame_hands(hand_params[i : i + 1], self.framing, height, width, body_model)
            for i, (width, height) in enumerate(sizes)
        ]
        return HandParams.cat(rows)

    def check_rows(self, batch_size: int, num_images_per_prompt: int) -> None:
        """Refuses hands and generators that are neither for each prompt nor for each image."""
        check_generators("hand_generator", self.hand_generator, batch_size * num_images_per_prompt)
        if self.hand_params is not None:
            hand_rows(self.hand_params, batch_size, num_images_per_prompt)


def check_prompts(
    prompt: str | list[str] | None,
    negative_prompt: str | list[str] | None,
    prompt_embeds: torch.Tensor | None = None,
    negative_prompt_embeds: torch.Tensor | None = None,
    hand_params: HandParams | str | None = None,
) -> int:
    """The number of prompts, given as texts or embeddings; refuses what is neither, or both.

    Raises:
        TypeError, ValueError: they name the argument.
    """
    for name, embeds in (("prompt_embeds", prompt_embeds), ("negative_prompt_embeds", negative_prompt_embeds)):
        if embeds is not None:
            check_embeds(name, embeds)
    for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if text is not None:
            check_text(name, text)
    if (prompt is None) == (prompt_embeds is None):
        raise ValueError("Exactly one of `prompt` and `prompt_embeds` must be given.")
    if prompt_embeds is not None and hand_params is not None:
        raise ValueError(
            "`hand_params` cannot be given with `prompt_embeds`, which are used as they are; "
            "`encode_prompt(..., hand_params=)` makes embeddings of text and hands."
        )
    if negative_prompt is not None and negative_prompt_embeds is not None:
        raise ValueError("Only one of `negative_prompt` and `negative_prompt_embeds` can be given.")
    if prompt is not None:
        negative_texts(prompt, negative_prompt)
        return len(as_list(prompt))
    assert prompt_embeds is not None
    return len(prompt_embeds)


def check_conditioning_components(components: Any, prompt: str | list[str] | None, hands: HandInputs) -> None:
    """Refuses a call whose prompt or hands need a component that is missing or unsuitable."""
    if prompt is None:
        return
    require(components, "a prompt", "tokenizer", "text_encoder")
    check_caption_length(components)
    samples = hands.hand_params is None and components.text_to_hand_params is not None
    if hands.hand_conditioning_scale > 0 and (samples or hands.hand_params is not None):
        require(components, "conditioning on hands", "body_model")
        if samples:
            check_stage_1(components)


def as_list(prompt: str | list[str]) -> list[str]:
    """One prompt as a list of one."""
    return [prompt] if isinstance(prompt, str) else prompt


def negative_texts(prompt: str | list[str], negative_prompt: str | list[str] | None) -> list[str]:
    """One negative text per prompt, by Stable Diffusion's rules: two strings, two lists of one length, or none."""
    batch_size = len(as_list(prompt))
    if negative_prompt is None:
        return [""] * batch_size
    if type(prompt) is not type(negative_prompt):
        raise TypeError(
            f"`negative_prompt` must be a {type(prompt).__name__} like `prompt`, got {type(negative_prompt).__name__}."
        )
    if len(as_list(negative_prompt)) != batch_size:
        raise ValueError(f"`negative_prompt` must hold {batch_size} texts, got {len(negative_prompt)}.")
    return as_list(negative_prompt)
