"""The pictures that are judged: those a pipeline draws for the captions of rows, or the rows' own, as they are or as
an autoencoder gives them back."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..data import HandRow, stack_hand_params
from ..hands import HandParams
from .rows import check_samples, sample_generators

_STAGE_1_ARGUMENTS = ("num_hand_inference_steps", "hand_guidance_scale")


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures of some rows, the samples of a row one after the other.

    Args:
        rows (`torch.Tensor` of shape `(N,)`, int64): the number of each picture's row.
        pictures (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): RGB.
        hands ([`HandParams`] of batch shape `(N,)`): what they were drawn from, or the rows' own where the pipeline
            knows of no hands.
    """

    rows: torch.Tensor
    pictures: torch.Tensor
    hands: HandParams


def samples_hands(pipe: Any) -> bool:
    """Whether a pipeline has a stage 1."""
    return hasattr(pipe, "sample_hand_params") and getattr(pipe, "text_to_hand_params", None) is not None


def wants_condition(pipe: Any) -> bool:
    """Whether a pipeline draws by a picture of the hands: it has a ControlNet or a T2I-Adapter."""
    return any(getattr(pipe, name, None) is not None for name in ("controlnet", "adapter"))


def drawn_batches(
    pipe: Any,
    rows: Sequence[HandRow],
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 20,
    given_hands: bool = False,
    condition: str = "openpose",
    size: int | None = None,
    body_model: Any = None,
    **arguments: Any,
) -> Iterator[PictureBatch]:
    """Draws pictures for the captions of rows with any text-to-image pipeline of diffusers.

    Args:
        pipe: one with a stage 1 samples the hands; one that takes `hand_params` is given them; one with a ControlNet
            or T2I-Adapter is given pictures of them; any other is given the caption alone.
        rows (`Sequence[HandRow]`): captions, and hands where they are not sampled.
        samples (`int`): per caption.
        seed (`int`): sample `k` of row `i` draws from the seed `seed + i * samples + k`, hands and picture.
        batch_size (`int`): captions at a time.
        given_hands (`bool`): draw the rows' own hands instead of sampled ones.
        condition (`str`): what the pictures of hands show, see `HandParams.to_condition`.
        size (`int`, *optional*): pixels per side; the pipeline's own by default.
        body_model ([`HandBodyModel`], *optional*): for `condition`.
        arguments: further arguments of the pipeline's call.
    """
    check_samples(samples)
    accepted = inspect.signature(pipe.__call__).parameters
    unknown = sorted(set(arguments) - set(accepted) - set(_STAGE_1_ARGUMENTS))
    if unknown:
        raise ValueError(f"`arguments`: {type(pipe).__name__} has no argument {unknown[0]!r}.")
    if size is not None:
        arguments |= {"height": size, "width": size}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        texts = [row.text for row in part for _ in range(samples)]
        seeds = (seed, start, len(part), samples)
        if samples_hands(pipe) and not given_hands:
            told = {name: arguments[name] for name in _STAGE_1_ARGUMENTS if arguments.get(name) is not None}
            hands = pipe.sample_hand_params(
                [row.text for row in part], samples, hand_generator=sample_generators(*seeds), **told
            )
        else:
            hands = stack_hand_params(part).repeat_interleave(samples)
        call = {name: value for name, value in arguments.items() if value is not None and name in accepted}
        if "hand_params" in accepted:
            call["hand_params"] = hands
        if wants_condition(pipe):
            side = size or pipe.unet.config.sample_size * pipe.vae_scale_factor
            call["image"] = hands.to_condition(condition, side, body_model=body_model)
        pictures = pipe(texts, generator=sample_generators(*seeds), output_type="np", **call)[0]
        yield PictureBatch(
            torch.arange(start, start + len(part)).repeat_interleave(samples),
            (torch.as_tensor(pictures) * 255).round().clamp(0, 255).to(torch.uint8),
            hands.to("cpu"),
        )


def own_batches(rows: Sequence[HandRow], batch_size: int = 20, size: int | None = None) -> Iterator[PictureBatch]:
    """The rows' own pictures: the centred square of each, resized to `size` (by default: as the first one is)."""
    check_pictures(rows)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        pictures = []
        for row in part:
            if row.picture is not None:
                size = size or min(row.picture.size)
                pictures.append(torch.tensor(row.picture.square(size)))
        yield PictureBatch(torch.arange(start, start + len(part)), torch.stack(pictures), stack_hand_params(part))


@torch.no_grad()
def reconstructed_batches(
    autoencoder: Any, rows: Sequence[HandRow], batch_size: int = 20, size: int | None = None
) -> Iterator[PictureBatch]:
    """`own_batches` as an autoencoder gives them back: the most that a U-Net on its latents can reach.

    Args:
        autoencoder (`AutoencoderKL`): of any pipeline of diffusers.
        rows, batch_size, size: as in `own_batches`; the pictures' sides have to suit the autoencoder.
    """
    for batch in own_batches(rows, batch_size, size):
        given = batch.pictures.permute(0, 3, 1, 2).to(autoencoder.device, autoencoder.dtype) / 127.5 - 1
        returned = autoencoder.decode(autoencoder.encode(given).latent_dist.mode()).sample
        if returned.shape != given.shape:
            raise ValueError(
                f"`size`: the autoencoder makes pictures of {tuple(returned.shape[2:])} pixels from those of "
                f"{tuple(given.shape[2:])}"
            )
        pixels = ((returned.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        yield replace(batch, pictures=pixels.permute(0, 2, 3, 1).cpu())


def check_pictures(rows: Sequence[HandRow]) -> None:
    missing = next((row for row in rows if row.picture is None), None)
    if missing is not None:
        raise ValueError(f"{missing.where}: the row has no picture")
