"""Input images: diffusers takes them in many forms; here they become a list, an array or a tensor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import PIL.Image
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor

from ..hands import ImageCrop
from ..utils.images import upright, upright_rgb
from .inputs import check_finite_tensor

Images = list[PIL.Image.Image] | np.ndarray | torch.Tensor
"""`B` RGB images: a list, `(B, H, W, C)` or `(B, C, H, W)`; numbers in `[0, 1]`."""


def image_batch(name: str, images: Any) -> Images:
    """One image or several, as PIL, numpy, torch or a list of one of them, as [`Images`].

    PIL images become RGB, upright: diffusers would take the four channels of an RGBA image for latents, and would
    leave a photograph that its EXIF turns on its side.

    Args:
        name (`str`): of the argument.
        images: PIL images, arrays `(H, W, C)` or `(B, H, W, C)`, or tensors `(C, H, W)` or `(B, C, H, W)`; tensors
            with as many channels as the VAE has are latents.
    """
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if items and all(isinstance(item, PIL.Image.Image) for item in items):
        return [upright_rgb(item) for item in items]
    for kind in (np.ndarray, torch.Tensor):
        if items and all(isinstance(item, kind) for item in items):
            return _array_batch(name, items)
    found = " and ".join(sorted({type(item).__name__ for item in items})) or "an empty list"
    raise TypeError(f"`{name}` must be PIL images, numpy arrays or torch tensors, got {found}.")


def upright_masks(masks: Any) -> Any:
    """Masks as diffusers takes them, of which PIL images are turned upright, like images in `image_batch`."""
    if isinstance(masks, PIL.Image.Image):
        return upright(masks)
    if isinstance(masks, (list, tuple)) and all(isinstance(mask, PIL.Image.Image) for mask in masks):
        return list(map(upright, masks))
    return masks


def image_size(images: Images, latent: bool, vae_scale_factor: int) -> tuple[int, int]:
    """Height and width in pixels, of the first: diffusers brings PIL images of other sizes to it."""
    if isinstance(images, list):
        return images[0].height, images[0].width
    if isinstance(images, np.ndarray):
        return images.shape[1], images.shape[2]
    scale = vae_scale_factor if latent else 1
    return images.shape[2] * scale, images.shape[3] * scale


def image_sizes(images: Iterable[PIL.Image.Image | np.ndarray | torch.Tensor]) -> list[tuple[int, int]]:
    """Width and height of each: PIL images, arrays `(..., H, W, C)` or tensors `(..., C, H, W)`."""
    sizes = []
    for image in images:
        if isinstance(image, PIL.Image.Image):
            width, height = image.size
        elif isinstance(image, np.ndarray):
            height, width = image.shape[-3:-1]
        else:
            height, width = image.shape[-2:]
        sizes.append((width, height))
    return sizes


def drawn_size(components: Any, height: int | None, width: int | None) -> tuple[int, int]:
    """Width and height of a drawn image; by default, as in diffusers, the U-Net's own, here in latents."""
    if height is not None and width is not None:
        return width, height
    unet = getattr(components, "unet", None)
    sides = 1 if unet is None else unet.config.sample_size or 1
    return (sides, sides) if isinstance(sides, int) else (sides[1], sides[0])


def resized_images(sizes: list[tuple[int, int]], size: tuple[int, int], num_results: int) -> list[ImageCrop]:
    """How results show images that diffusers resizes to them whatever their aspect.

    Args:
        sizes (`list[tuple[int, int]]`): width and height of one image for all results, or of one per result.
        size (`tuple[int, int]`): width and height of the results.
        num_results (`int`): how many there are.
    """
    crops = [ImageCrop.resized(of_image, size) for of_image in sizes]
    return crops * num_results if len(crops) == 1 else crops


def filled_crop(image_size: tuple[int, int], region: tuple[int, int, int, int], size: tuple[int, int]) -> ImageCrop:
    """What a result shows of a region of an image in diffusers' resize mode "fill": the whole region, centred.

    Args:
        image_size (`tuple[int, int]`): width and height of the image.
        region (`tuple[int, int, int, int]`): left, top, right and bottom, pixels of the image.
        size (`tuple[int, int]`): width and height of the result.
    """
    (left, top, right, bottom), (width, height) = region, size
    across, down = right - left, bottom - top
    wider = width / height >= across / down
    inner_width = max(1, across * height // down) if wider else width
    inner_height = height if wider else max(1, down * width // across)
    x, y = width // 2 - inner_width // 2, height // 2 - inner_height // 2
    per_x, per_y = across / inner_width, down / inner_height
    box = (left - x * per_x, top - y * per_y, left + (width - x) * per_x, top + (height - y) * per_y)
    return ImageCrop(image_size, box, size)


def vae_factor(vae: AutoencoderKL) -> int:
    """Pixels of an image per latent, along a side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def is_latent(images: Images, processor: VaeImageProcessor) -> bool:
    """Whether a tensor has as many channels as the VAE's latents, by which diffusers tells them from images."""
    return isinstance(images, torch.Tensor) and images.shape[1] == processor.config.vae_latent_channels


def check_sides(name: str, size: tuple[int, int], multiple: int, remedy: str) -> None:
    """Refuses an image whose sides diffusers would round down without a word.

    Args:
        name (`str`): of the argument.
        size (`tuple[int, int]`): height and width, pixels.
        multiple (`int`): what has to divide both.
        remedy (`str`): what else the caller can do.
    """
    height, width = size
    if height % multiple or width % multiple:
        raise ValueError(f"`{name}` must have sides divisible by {multiple}, {remedy}; got {width} x {height} pixels.")


@dataclass(frozen=True)
class ResultCounts:
    """How many results a call makes: B prompts, n images each."""

    prompts: int
    images_per_prompt: int

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Self:
        """From the arguments of a call by name; one prompt where it is invalid, which later checks refuse."""
        texts = call["prompt_embeds"] if call["prompt"] is None else call["prompt"]
        prompts = len(texts) if isinstance(texts, (list, torch.Tensor)) else 1
        return cls(prompts, call["num_images_per_prompt"])

    @property
    def results(self) -> int:
        return self.prompts * self.images_per_prompt


def repeat_per_result(name: str, images: Any, count: int, counts: ResultCounts) -> Any:
    """Images (or masks) for B prompts and n results each: one for all, or one per result.

    diffusers tiles B images n times, while the results of one prompt are adjacent, which pairs an image with another
    image's prompt.

    Args:
        name (`str`): of the argument.
        images: a list, an array or a tensor with `count` rows.
        count (`int`): 1, B or B * n.
        counts ([`ResultCounts`]): B and n.
    """
    if count in (1, counts.results):
        return images
    if count != counts.prompts:
        wanted = ", ".join(str(number) for number in sorted({1, counts.prompts, counts.results}))
        raise ValueError(f"`{name}` must hold one image, one per prompt or one per result ({wanted}), got {count}.")
    if isinstance(images, list):
        return [image for image in images for _ in range(counts.images_per_prompt)]
    if isinstance(images, np.ndarray):
        return images.repeat(counts.images_per_prompt, 0)
    return images.repeat_interleave(counts.images_per_prompt, 0)


def hard_masks(mask_image: Any, height: int | None = None, width: int | None = None) -> torch.Tensor:
    """Masks as diffusers takes them, at a size or their own, cut at one half: `(B, H, W)`, bool, true for white."""
    processor = VaeImageProcessor(vae_scale_factor=1, do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    return processor.preprocess(mask_image, height, width)[:, 0] > 0.5


def keep_unmasked_pixels(results: Images, images: Images, mask_image: Any, replaced: list[bool] | None) -> Any:
    """The results with the pixels of the given images wherever the mask is black, in the form the results have.

    Args:
        results: of a pipeline, whatever its `output_type` but latents.
        images: as many, or one for all; resized if their size is another.
        mask_image: as diffusers takes it, as many, or one for all; it is cut at one half.
        replaced (`list[bool]`, *optional*): results to leave alone, which the safety checker has blackened.
    """
    first: Any = results[0]
    output_type = "pil" if isinstance(results, list) else "np" if isinstance(results, np.ndarray) else "pt"
    size = first.shape[1:] if output_type == "pt" else np.asarray(first).shape[:2]
    processor = VaeImageProcessor(vae_scale_factor=1, do_normalize=False)
    pixels = processor.preprocess(images, *size)
    if pixels.min() < 0:
        pixels = pixels / 2 + 0.5  # in [-1, 1], which diffusers still takes
    originals = processor.postprocess(pixels, output_type)
    masks = hard_masks(mask_image, *size)
    joined = [
        result if replaced and replaced[i] else _join(result, originals[i % len(originals)], masks[i % len(masks)])
        for i, result in enumerate(results)
    ]
    return joined if output_type == "pil" else np.stack(joined) if output_type == "np" else torch.stack(joined)


def _join(painted: Any, original: Any, mask: torch.Tensor) -> Any:
    """Two images of one form: `painted` where `mask` `(H, W)` holds, else `original`."""
    if isinstance(painted, torch.Tensor):
        return torch.where(mask.to(painted.device), painted, original.to(painted))
    joined = np.where(mask.cpu().numpy()[..., None], np.asarray(painted), np.asarray(original))
    return PIL.Image.fromarray(joined) if isinstance(painted, PIL.Image.Image) else joined


def _array_batch(name: str, items: list) -> np.ndarray | torch.Tensor:
    shapes = " and ".join(str(tuple(item.shape)) for item in items)
    if any(item.ndim not in (3, 4) for item in items) or len({item.shape[-3:] for item in items}) > 1:
        raise ValueError(f"`{name}` must hold images of one size with three or four dimensions, got {shapes}.")
    batches = [item[None] if item.ndim == 3 else item for item in items]
    batch = np.concatenate(batches) if isinstance(items[0], np.ndarray) else torch.cat(batches)
    tensor = torch.as_tensor(batch)
    if not tensor.is_floating_point():
        raise TypeError(f"`{name}` must hold floating-point numbers in [0, 1], got {tensor.dtype}.")
    check_finite_tensor(f"`{name}`", tensor)
    return batch
