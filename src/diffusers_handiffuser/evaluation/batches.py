"""Batches of images to evaluate: generated from captions, read from the data set, or reconstructed by a VAE."""

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
class ImageBatch:
    """Images of some rows; the samples of a row follow each other.

    Args:
        rows (`torch.Tensor` of shape `(N,)`, int64): index of each image's row.
        images (`torch.Tensor` of shape `(N, H, W, 3)`, uint8): RGB.
        hands ([`HandParams`] of batch shape `(N,)`): what the images were conditioned on, or the rows' own hands where
            the pipeline takes none.
    """

    rows: torch.Tensor
    images: torch.Tensor
    hands: HandParams


def samples_hands(pipe: Any) -> bool:
    """Whether a pipeline samples hands itself (stage 1)."""
    return hasattr(pipe, "sample_hand_params") and getattr(pipe, "text_to_hand_params", None) is not None


def wants_condition(pipe: Any) -> bool:
    """Whether a pipeline is conditioned on an image of the hands, by a ControlNet or a T2I-Adapter."""
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
) -> Iterator[ImageBatch]:
    """Generates images for the captions of rows with any text-to-image pipeline of diffusers.

    Args:
        pipe (`DiffusionPipeline`): one with a stage 1 samples the hands; one that takes `hand_params` gets them; one
            with a ControlNet or T2I-Adapter gets images of them; any other gets the caption alone.
        rows (`Sequence[HandRow]`): captions, and hands where they are not sampled.
        samples (`int`): images per caption.
        seed (`int`): sample `k` of row `i` uses the seed `seed + i * samples + k`, for hands and image.
        batch_size (`int`): captions per call.
        given_hands (`bool`): use the rows' own hands instead of sampled ones.
        condition (`str`): what the images of hands show, see `HandParams.to_condition`.
        size (`int`, *optional*): pixels per side; the pipeline's own by default.
        body_model ([`HandBodyModel`], *optional*): for `condition`.
        arguments: further arguments of the pipeline's call.

    Yields:
        [`ImageBatch`].

    Raises:
        ValueError: if `samples` is less than 1, or `arguments` has one that the pipeline does not take.
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
            stage_1 = {name: arguments[name] for name in _STAGE_1_ARGUMENTS if arguments.get(name) is not None}
            hands = pipe.sample_hand_params(
                [row.text for row in part], samples, hand_generator=sample_generators(*seeds), **stage_1
            )
        else:
            hands = stack_hand_params(part).repeat_interleave(samples)
        call = {name: value for name, value in arguments.items() if value is not None and name in accepted}
        if "hand_params" in accepted:
            call["hand_params"] = hands
        if wants_condition(pipe):
            side = size or pipe.unet.config.sample_size * pipe.vae_scale_factor
            call["image"] = hands.to_condition(condition, side, body_model, style="scaled")
        images = pipe(texts, generator=sample_generators(*seeds), output_type="np", **call)[0]
        yield ImageBatch(
            torch.arange(start, start + len(part)).repeat_interleave(samples),
            (torch.as_tensor(images) * 255).round().clamp(0, 255).to(torch.uint8),
            hands.to("cpu"),
        )


def own_batches(rows: Sequence[HandRow], batch_size: int = 20, size: int | None = None) -> Iterator[ImageBatch]:
    """The rows' own images: the centred square of each, resized to `size` (by default that of the first)."""
    check_images(rows)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        images = []
        for row in part:
            if row.picture is not None:
                size = size or min(row.picture.size)
                images.append(torch.tensor(row.picture.square(size)))
        yield ImageBatch(torch.arange(start, start + len(part)), torch.stack(images), stack_hand_params(part))


@torch.no_grad()
def reconstructed_batches(
    autoencoder: Any, rows: Sequence[HandRow], batch_size: int = 20, size: int | None = None
) -> Iterator[ImageBatch]:
    """Autoencoder reconstructions of `own_batches`: the upper bound for a U-Net on its latents.

    Args:
        autoencoder (`AutoencoderKL`): of any pipeline of diffusers.
        rows (`Sequence[HandRow]`): with images.
        batch_size (`int`): images at a time.
        size (`int`, *optional*): as in `own_batches`; must be divisible by the autoencoder's scale factor.

    Yields:
        [`ImageBatch`].

    Raises:
        ValueError: if a row has no image, or a reconstruction is not as large as its image.
    """
    for batch in own_batches(rows, batch_size, size):
        pixels = batch.images.permute(0, 3, 1, 2).to(autoencoder.device, autoencoder.dtype) / 127.5 - 1
        decoded = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mode()).sample
        if decoded.shape != pixels.shape:
            raise ValueError(
                f"`size`: the autoencoder reconstructs images of {tuple(pixels.shape[2:])} pixels with "
                f"{tuple(decoded.shape[2:])} pixels"
            )
        images = ((decoded.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        yield replace(batch, images=images.permute(0, 2, 3, 1).cpu())


def check_images(rows: Sequence[HandRow]) -> None:
    """Raises a `ValueError` that names the first row without an image."""
    missing = next((row for row in rows if row.picture is None), None)
    if missing is not None:
        raise ValueError(f"{missing.where}: the row has no image")
