"""Pictures that a caller hands to a pipeline, in the many forms that diffusers takes, brought into one of three."""

from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor

from .inputs import check_finite

Pictures = list[PIL.Image.Image] | np.ndarray | torch.Tensor
"""`B` RGB pictures: a list, `(B, H, W, C)` or `(B, C, H, W)`; numbers in `[0, 1]`."""


def picture_batch(name: str, pictures: Any) -> Pictures:
    """One picture or several, as PIL, numpy, torch or a list of one of them, as [`Pictures`].

    PIL pictures become RGB: diffusers would take the four channels of an RGBA picture for latents.

    Args:
        name (`str`): of the argument.
        pictures: PIL pictures, arrays `(H, W, C)` or `(B, H, W, C)`, or tensors `(C, H, W)` or `(B, C, H, W)`; tensors
            with as many channels as the VAE has are latents.
    """
    items = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
    if items and all(isinstance(item, PIL.Image.Image) for item in items):
        return [item.convert("RGB") for item in items]
    for kind in (np.ndarray, torch.Tensor):
        if items and all(isinstance(item, kind) for item in items):
            return _array_batch(name, items)
    found = " and ".join(sorted({type(item).__name__ for item in items})) or "an empty list"
    raise TypeError(f"`{name}` must be PIL pictures, numpy arrays or torch tensors, got {found}.")


def picture_size(pictures: Pictures, is_latents: bool, vae_scale_factor: int) -> tuple[int, int]:
    """Height and width in pixels, of the first: diffusers brings PIL pictures of other sizes to it."""
    if isinstance(pictures, list):
        return pictures[0].height, pictures[0].width
    if isinstance(pictures, np.ndarray):
        return pictures.shape[1], pictures.shape[2]
    scale = vae_scale_factor if is_latents else 1
    return pictures.shape[2] * scale, pictures.shape[3] * scale


def vae_factor(vae: AutoencoderKL) -> int:
    """Pixels of an image per latent, along a side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def are_latents(pictures: Pictures, processor: VaeImageProcessor) -> bool:
    """Whether a tensor has as many channels as the VAE's latents, by which diffusers tells them from pictures."""
    return isinstance(pictures, torch.Tensor) and pictures.shape[1] == processor.config.vae_latent_channels


def check_sides(name: str, size: tuple[int, int], multiple: int, remedy: str) -> None:
    """Refuses a picture whose sides diffusers would round down without a word.

    Args:
        name (`str`): of the argument.
        size (`tuple[int, int]`): height and width, pixels.
        multiple (`int`): what has to divide both.
        remedy (`str`): what else the caller can do.
    """
    height, width = size
    if height % multiple or width % multiple:
        raise ValueError(f"`{name}` must have sides divisible by {multiple}, {remedy}; got {width} x {height} pixels.")


def num_prompts(prompt: str | list[str] | None, prompt_embeds: torch.Tensor | None) -> int:
    """B; 1 where neither is what it should be, which is left to the checks of the prompt."""
    texts = prompt_embeds if prompt is None else prompt
    return len(texts) if isinstance(texts, (list, torch.Tensor)) else 1


def spread(
    name: str, pictures: Any, count: int, prompt: str | list[str] | None, prompt_embeds: Any, num_images: int
) -> Any:
    """Pictures (or masks) for B prompts and n results each: one for all, or one per result.

    diffusers puts B pictures n times one after another, while the results of one prompt stand next to each other, so
    that a picture would meet another's prompt.

    Args:
        name (`str`): of the argument.
        pictures: a list, an array or a tensor with `count` rows.
        count (`int`): 1, B or B * n.
        prompt, prompt_embeds, num_images: arguments of the pipeline's `__call__`.
    """
    batch_size = num_prompts(prompt, prompt_embeds)
    if count in (1, batch_size * num_images):
        return pictures
    if count != batch_size:
        wanted = ", ".join(str(number) for number in sorted({1, batch_size, batch_size * num_images}))
        raise ValueError(f"`{name}` must hold one picture, one per prompt or one per result ({wanted}), got {count}.")
    if isinstance(pictures, list):
        return [picture for picture in pictures for _ in range(num_images)]
    if isinstance(pictures, np.ndarray):
        return pictures.repeat(num_images, 0)
    return pictures.repeat_interleave(num_images, 0)


def keep_unmasked_pixels(results: Pictures, pictures: Pictures, mask_image: Any, replaced: list[bool] | None) -> Any:
    """The results with the pixels of the given pictures wherever the mask is black, in the form the results have.

    Args:
        results: of a pipeline, whatever its `output_type` but latents.
        pictures: as many, or one for all; resized if their size is another.
        mask_image: as diffusers takes it, as many, or one for all; it is cut at one half.
        replaced (`list[bool]`, *optional*): results to leave alone, which the safety checker has blackened.
    """
    first: Any = results[0]
    output_type = "pil" if isinstance(results, list) else "np" if isinstance(results, np.ndarray) else "pt"
    size = first.shape[1:] if output_type == "pt" else np.asarray(first).shape[:2]
    processor = VaeImageProcessor(vae_scale_factor=1, do_normalize=False)
    pixels = processor.preprocess(pictures, *size)
    if pixels.min() < 0:
        pixels = pixels / 2 + 0.5  # in [-1, 1], which diffusers still takes
    originals = processor.postprocess(pixels, output_type)
    masks = VaeImageProcessor(vae_scale_factor=1, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    masks = masks.preprocess(mask_image, *size)[:, 0] > 0.5
    joined = [
        result if replaced and replaced[i] else _join(result, originals[i % len(originals)], masks[i % len(masks)])
        for i, result in enumerate(results)
    ]
    return joined if output_type == "pil" else np.stack(joined) if output_type == "np" else torch.stack(joined)


def _join(painted: Any, original: Any, mask: torch.Tensor) -> Any:
    """Two pictures of one form: `painted` where `mask` `(H, W)` holds, else `original`."""
    if isinstance(painted, torch.Tensor):
        return torch.where(mask.to(painted.device), painted, original.to(painted))
    joined = np.where(mask.cpu().numpy()[..., None], np.asarray(painted), np.asarray(original))
    return PIL.Image.fromarray(joined) if isinstance(painted, PIL.Image.Image) else joined


def _array_batch(name: str, items: list) -> np.ndarray | torch.Tensor:
    shapes = " and ".join(str(tuple(item.shape)) for item in items)
    if any(item.ndim not in (3, 4) for item in items) or len({item.shape[-3:] for item in items}) > 1:
        raise ValueError(f"`{name}` must hold pictures of one size with three or four dimensions, got {shapes}.")
    batches = [item[None] if item.ndim == 3 else item for item in items]
    batch = np.concatenate(batches) if isinstance(items[0], np.ndarray) else torch.cat(batches)
    tensor = torch.as_tensor(batch)
    if not tensor.is_floating_point():
        raise TypeError(f"`{name}` must hold floating-point numbers in [0, 1], got {tensor.dtype}.")
    check_finite(f"`{name}`", tensor)
    return batch
