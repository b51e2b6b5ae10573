"""Checks of what a caller hands to a pipeline: one line that names the argument, what came and what was wanted."""

import math
import numbers
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import torch

from ..hands import HandParams
from ..hands.params import check_hand_params

LEGACY_CALLBACKS = ("callback", "callback_steps")
"""Keyword arguments that diffusers' pipelines take without naming them, with a warning."""

_NUMBERS = (
    "timesteps",
    "sigmas",
    "controlnet_conditioning_scale",
    "control_guidance_start",
    "control_guidance_end",
    "adapter_conditioning_scale",
)
_LATENTS = ("latents", "masked_image_latents")
_ARRAYS = ("ip_adapter_image", "ip_adapter_image_embeds")
"""Call arguments checked for finiteness."""


def check_text(name: str, value: Any) -> None:
    """A `str`, or a `list` of at least one `str`."""
    if isinstance(value, str):
        return
    if not isinstance(value, list):
        raise TypeError(f"`{name}` must be a str or a list of str, got {type(value).__name__}.")
    if not value:
        raise ValueError(f"`{name}` must hold at least one text, got an empty list.")
    for i, text in enumerate(value):
        if not isinstance(text, str):
            raise TypeError(f"`{name}` must hold texts only, got {type(text).__name__} at position {i}.")


def check_count(name: str, value: Any) -> None:
    """A whole number of at least 1."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}.")


def check_scalar(name: str, value: Any, minimum: float = -math.inf) -> None:
    """A finite number, not below `minimum`."""
    wanted = "a finite number" if minimum == -math.inf else f"a finite number of at least {minimum}"
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be {wanted}, got {value!r}.")
    if not math.isfinite(value) or value < minimum:
        raise ValueError(f"`{name}` must be {wanted}, got {value!r}.")


def check_finite_numbers(name: str, value: Any) -> None:
    """A finite number or several, as a list, an array or a tensor."""
    try:
        values = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"`{name}` must be a finite number or a list of them, got {value!r}.") from None
    if not torch.isfinite(values).all():
        raise ValueError(f"`{name}` must be a finite number or a list of them, got {value!r}.")


def check_strength(value: Any, num_inference_steps: int | None) -> None:
    """A number from 0 to 1 that leaves at least one of the steps, where they are counted."""
    check_scalar("strength", value, minimum=0)
    if value > 1:
        raise ValueError(f"`strength` must be a number from 0 to 1, got {value!r}.")
    if num_inference_steps is None:
        return
    check_count("num_inference_steps", num_inference_steps)
    if int(num_inference_steps * value) < 1:
        raise ValueError(f"`strength` {value!r} leaves none of the {num_inference_steps} `num_inference_steps`.")


def check_size(height: Any, width: Any, multiple: int) -> None:
    """Both sizes or neither, in pixels, multiples of what the networks need."""
    if (height is None) != (width is None):
        raise ValueError(f"`height` and `width` must come together, got {height!r} and {width!r}.")
    for name, value in (("height", height), ("width", width)):
        if value is not None:
            check_count(name, value)
            if value % multiple:
                raise ValueError(f"`{name}` must be divisible by {multiple}, got {value}.")


def check_known_names(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Reject unknown names; diffusers would ignore a typo."""
    for name in names:
        if name not in known:
            raise ValueError(f"{what} {name!r} is not known; known are {', '.join(known)}.")


def check_embeds(name: str, value: Any) -> None:
    """Cross-attention states `(B, N, D)`, finite."""
    if not isinstance(value, torch.Tensor) or value.ndim != 3:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"`{name}` must be a tensor of shape (batch, states, width), got {shape}.")
    check_finite_tensor(f"`{name}`", value)


def check_latents(name: str, value: Any) -> None:
    """Latents `(B, C, H, W)`, finite."""
    if not isinstance(value, torch.Tensor) or value.ndim != 4:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"`{name}` must be a tensor of shape (batch, channels, height, width), got {shape}.")
    check_finite_tensor(f"`{name}`", value)


def check_finite_arrays(name: str, value: Any) -> None:
    """No array or tensor in it, in whatever lists, that is not finite; images of other kinds always are."""
    if isinstance(value, (list, tuple)):
        for item in value:
            check_finite_arrays(name, item)
    elif isinstance(value, (np.ndarray, torch.Tensor)):
        check_finite_tensor(f"`{name}`", torch.as_tensor(value))


def check_finite_tensor(what: str, value: torch.Tensor) -> None:
    """No NaN and no infinity: diffusers would draw a black image from them without a word."""
    if not torch.isfinite(value).all():
        raise ValueError(f"{what} holds numbers that are not finite.")


def check_generators(name: str, value: Any, rows: int) -> None:
    """`None`, one generator, or a list of one per image."""
    if isinstance(value, list) and len(value) != rows:
        raise ValueError(f"`{name}` must be one generator or a list of {rows}, one per image, got {len(value)}.")
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, torch.Generator) and (value is not None):
            raise TypeError(f"`{name}` must be a torch.Generator or a list of them, got {type(item).__name__}.")


def checked_callback(name: str, callback: Any, may_return_none: bool = False) -> Callable[..., Any]:
    """A callback of the steps of a stage, whose results are dicts: the tensors that it was given, or changed ones."""
    if not callable(callback):
        raise TypeError(f"`{name}` must be a function, got {type(callback).__name__}.")

    def checked(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> Any:
        given = {key for key, value in tensors.items() if isinstance(value, torch.Tensor)}
        result = callback(pipeline, step, timestep, tensors)
        if result is None and may_return_none:
            return None
        if not isinstance(result, dict):
            raise TypeError(f"`{name}` must return a dict of tensors, got {type(result).__name__}.")
        for key in given & result.keys():
            if not isinstance(result[key], torch.Tensor):
                raise TypeError(f"`{name}` must return tensors, got {type(result[key]).__name__} as {key!r}.")
        return result

    return checked


def hand_rows(hand_params: Any, batch_size: int, num_images_per_prompt: int) -> HandParams:
    """Given hands as one row per prompt or one per image; a single person without a batch dimension is one row.

    Returns:
        `HandParams` of batch shape `(batch_size * num_images_per_prompt,)`.
    """
    check_hand_params(hand_params)
    for field in HandParams.FIELDS:  # refused when they were made, but tensors can be written into
        check_finite_tensor(f"`hand_params`: `{field}`", getattr(hand_params, field))
    shape = tuple(hand_params.batch_shape)
    if len(shape) > 1:
        raise ValueError(f"`hand_params` must have at most one batch dimension, got {shape}.")
    rows = hand_params if shape else hand_params.reshape(1)
    num_images = batch_size * num_images_per_prompt
    if len(rows) not in (batch_size, num_images):
        wanted = f"{batch_size}" if batch_size == num_images else f"{batch_size} (prompts) or {num_images} (images)"
        raise ValueError(f"`hand_params` must have as many rows as there are prompts, {wanted}, got {len(rows)}.")
    return rows if len(rows) == num_images else rows.repeat_interleave(num_images_per_prompt)


def check_drawing_inputs(call: dict[str, Any], callback_tensor_inputs: Collection[str]) -> None:
    """Refuses arguments of a call that diffusers would draw a black image from, or fail on later.

    The callback is replaced by a checked one.

    Args:
        call (`dict`): the arguments of diffusers' `__call__` by name, defaults filled in.
        callback_tensor_inputs: the tensors that a callback can ask for.
    """
    check_count("num_inference_steps", call["num_inference_steps"])
    check_scalar("guidance_scale", call["guidance_scale"])
    check_scalar("eta", call["eta"])
    for check, names in ((check_finite_numbers, _NUMBERS), (check_latents, _LATENTS), (check_finite_arrays, _ARRAYS)):
        for name in names:
            if call.get(name) is not None:
                check(name, call[name])
    lora_scale = (call["cross_attention_kwargs"] or {}).get("scale")
    if lora_scale is not None:
        check_scalar("cross_attention_kwargs['scale']", lora_scale)
    if (callback := call.get("callback_on_step_end")) is not None:
        if hasattr(callback, "tensor_inputs"):  # of diffusers' own callbacks
            call["callback_on_step_end_tensor_inputs"] = callback.tensor_inputs
        call["callback_on_step_end"] = checked_callback("callback_on_step_end", callback)
    wanted = call.get("callback_on_step_end_tensor_inputs", ())
    check_known_names("callback_on_step_end_tensor_inputs", wanted, callback_tensor_inputs)
