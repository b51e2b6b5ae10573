"""Training data of stage 2: latents, hand geometry and tokens, cached on disk or computed in the loop."""

import copy
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from ...data.captions import swap_sides
from ...data.dataset import HandDataset
from ...data.geometry import hands_in_square
from ...data.rows import HandRow, stack_hand_params
from ...data.stream import HandStream
from ...hands import HandBodyModel, HandParams
from ...hands.params import choose_hands
from ...models import TextHandEncoder
from ...pipelines.images import vae_factor
from ..engine.caches import cached_together
from ..engine.images import Batch, ImageLoader, Rows, check_resolution, encode_images, normalize_images, weights_hash
from ..engine.options import LatentOptions
from ..engine.sources import StreamReader
from ..engine.tracking import progress


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(N, 77) token numbers, as Stable Diffusion pads and truncates."""
    return tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids


@torch.no_grad()
def cache_latents(
    dataset: HandDataset,
    vae: AutoencoderKL,
    resolution: int,
    flip: bool,
    cache_dir: Path,
    batch_size: int,
    accelerator: Accelerator,
    num_workers: int = 0,
) -> np.ndarray:
    """Latents of all rows, float16 (1 or 2, N, C, h, w): posterior mode times `scaling_factor`; [1] is mirrored."""
    check_resolution(resolution, vae)
    side = resolution // vae_factor(vae)
    mirrored = (False, True) if flip else (False,)
    shape = (len(mirrored), len(dataset), vae.config.latent_channels, side, side)
    device = accelerator.device

    def fill(array: np.ndarray, rows: range) -> None:
        encoder = vae.to(device).eval()
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        with ImageLoader(dataset.load_image, resolution, num_workers) as loader:
            for batch, following in zip(progress(batches, "latents", accelerator), [*batches[1:], []], strict=True):
                images = normalize_images(loader.load(batch, following), device)
                for number, mirror in enumerate(mirrored):
                    latents = encode_images(encoder, images.flip(-1) if mirror else images)
                    array[number, batch.start : batch.stop] = latents.float().cpu().numpy()

    key = f"latents-{dataset.fingerprint}-{resolution}-{weights_hash(vae)}-{len(mirrored)}.npy"
    latents = cached_together(cache_dir / key, shape, np.float16, fill, accelerator)
    vae.to("cpu")  # not used in the loop
    return latents


@torch.no_grad()
def cache_geometry(
    dataset: HandDataset,
    body_model: HandBodyModel,
    text_encoder: TextHandEncoder,
    flip: bool,
    cache_dir: Path,
    accelerator: Accelerator,
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """Inputs of the encoder for all rows' hands, each (1 or 2, N, ...); [1] is mirrored. Distances are float16.

    The hands are those of `HandDataset.square_hand_params`.
    """
    mirrored = (False, True) if flip else (False,)
    parts = {
        "hand_rotations": ((2, 16, 3, 3), np.float32),
        "hand_bps": ((2, text_encoder.config.num_basis_points), np.float16),
        "hand_joints_2d": ((2, 21, 2), np.float32),
        "hand_visible": ((2,), np.bool_),
    }
    basis = hashlib.sha256(text_encoder.basis_points.cpu().numpy().tobytes()).hexdigest()[:8]
    basis += f"-{text_encoder.config.basis_radius}"
    key = f"{dataset.fingerprint}-{weights_hash(body_model)}-{basis}-{len(mirrored)}-shown.npy"
    shapes = {name: (len(mirrored), len(dataset), *shape) for name, (shape, _) in parts.items()}
    dtypes = {name: dtype for name, (_, dtype) in parts.items()}

    def fill(arrays: dict[str, np.ndarray], rows: range) -> None:
        body_model.to(accelerator.device)
        for start in progress(range(rows.start, rows.stop, batch_size), "hand geometry", accelerator):
            batch = slice(start, min(start + batch_size, rows.stop))
            shown = dataset.square_hand_params(range(batch.start, batch.stop), body_model).to(accelerator.device)
            for number, mirror in enumerate(mirrored):
                hands = shown.mirror() if mirror else shown
                prepared = text_encoder.prepare_hands(body_model(hands), hands.hand_visible)
                for name, array in arrays.items():
                    array[number, batch] = prepared[name].cpu().numpy()
        body_model.to("cpu")

    paths = {name: cache_dir / f"{name}-{key}" for name in parts}
    return cached_together(paths, shapes, dtypes, fill, accelerator)


class CachedDataset:
    """Latents, hand geometry and tokens of all rows, as arrays over [rows, mirrored rows].

    Args:
        arrays (`dict[str, np.ndarray]`): latents and geometry, each (1 or 2, N, ...).
        input_ids (`torch.Tensor` of shape (1 or 2, N, 77)): tokens of the captions.
        device (`torch.device`): of the batches.
        on_device (`bool`): keep all arrays on the device instead of on disk.
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        input_ids: torch.Tensor,
        device: torch.device,
        on_device: bool,
    ):
        self.mirrored, self.num_rows = input_ids.shape[:2]
        self.device = device
        flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in arrays.items()}
        self.arrays = {n: torch.from_numpy(np.array(a)).to(device) for n, a in flat.items()} if on_device else flat
        self.input_ids = input_ids.flatten(0, 1).to(device)

    def batch(self, rows: np.ndarray, mirror: torch.Tensor | None = None, following: Rows = ()) -> Batch:
        """A batch of rows, numbers in float32; those of `mirror` (B,), bool, are mirrored."""
        places = torch.as_tensor(np.asarray(rows), dtype=torch.long)
        if mirror is not None and self.mirrored == 2:
            places = places + self.num_rows * mirror.cpu().long()
        on_device = places.to(self.device)
        batch = {"input_ids": self.input_ids[on_device]}
        for name, array in self.arrays.items():
            if isinstance(array, np.ndarray):
                value = torch.from_numpy(array[places.numpy()]).to(self.device)
            else:
                value = array[on_device]
            batch[name] = value.float() if value.is_floating_point() else value
        return batch


class BatchEncoder:
    """Computes latents, hand geometry and tokens of a batch.

    Args:
        vae, tokenizer, text_encoder: of stage 2; the encoder only prepares hands, without trained weights.
        body_model ([`HandBodyModel`]): poses the hands.
        device (`torch.device`): of VAE, body model and batches.
        dtype (`torch.dtype`): the VAE's.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        text_encoder: TextHandEncoder,
        body_model: HandBodyModel,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        own = vae if vae.dtype == dtype else copy.deepcopy(vae)  # the given one is saved: keep its precision
        self.vae, self.tokenizer, self.text_encoder = own.to(device, dtype).eval(), tokenizer, text_encoder
        self.body_model, self.device = body_model.to(device), device

    @torch.no_grad()
    def __call__(
        self, texts: list[str], hands: HandParams, pixels: np.ndarray, mirror: torch.Tensor | None = None
    ) -> Batch:
        """From B captions, hands as their squares show them, and uint8 images (B, H, H, 3).

        Rows of `mirror` (B,), bool, are mirrored.
        """
        images = normalize_images(pixels, self.device)
        if mirror is not None:
            mirror = mirror.cpu()
            texts = [swap_sides(text) if flip else text for text, flip in zip(texts, mirror, strict=True)]
            hands = choose_hands(mirror, hands.mirror(), hands)
            images = torch.where(mirror.to(self.device)[:, None, None, None], images.flip(-1), images)
        with torch.autocast(self.device.type, enabled=False):
            latents = encode_images(self.vae, images).float()
            rows = hands.to(self.device)
            prepared = self.text_encoder.prepare_hands(self.body_model(rows), rows.hand_visible)
        batch = {"input_ids": tokenize(self.tokenizer, texts), "latents": latents, **prepared}
        return {name: value.to(self.device) for name, value in batch.items()}


class LiveDataset:
    """Rows of a data set, encoded when they are read.

    Args:
        dataset (`HandDataset`): with images.
        encode (`BatchEncoder`): encodes a batch.
        resolution (`int`): of the images.
        num_workers (`int`): threads that decode images.
    """

    def __init__(self, dataset: HandDataset, encode: BatchEncoder, resolution: int, num_workers: int = 0):
        self.dataset, self.encode = dataset, encode
        self.loader = ImageLoader(dataset.load_image, resolution, num_workers)

    def batch(self, rows: np.ndarray, mirror: torch.Tensor | None = None, following: Rows = ()) -> Batch:
        """As `CachedDataset.batch`; also starts to decode the images of the `following` rows."""
        images = self.loader.load(rows, following)
        hands = self.dataset.square_hand_params(rows, self.encode.body_model)
        return self.encode([self.dataset.texts[row] for row in rows], hands, images, mirror)


class StreamedDataset:
    """Rows of a stream, in its order, encoded as they arrive; checkpoints hold the position.

    Args:
        stream (`HandStream`): endless, with images.
        encode (`BatchEncoder`): encodes a batch.
        resolution (`int`): of the images.
        num_workers (`int`): threads that decode the images of the next batch; 0 reads nothing ahead.
        accelerator (`Accelerator`): its checkpoints hold the position.
    """

    def __init__(
        self, stream: HandStream, encode: BatchEncoder, resolution: int, num_workers: int, accelerator: Accelerator
    ):
        self.encode, self.resolution = encode, resolution
        self._pool = ThreadPoolExecutor(num_workers) if num_workers else None
        self._reader = StreamReader(stream, accelerator, self._begin, read_ahead=num_workers > 0)

    def batch(self, rows: np.ndarray, mirror: torch.Tensor | None = None, following: Rows = ()) -> Batch:
        """The next `len(rows)` rows of the stream, whichever numbers are given."""
        taken = self._reader.take(len(rows))
        images = np.stack([image.result() if isinstance(image, Future) else image for _, image in taken])
        sizes = [row.picture.size for row, _ in taken if row.picture is not None]
        hands = hands_in_square(stack_hand_params(row for row, _ in taken), sizes, self.encode.body_model)
        return self.encode([row.text for row, _ in taken], hands, images, mirror)

    def _begin(self, row: HandRow) -> tuple[HandRow, np.ndarray | Future]:
        assert row.picture is not None  # the stream was opened with images
        if self._pool is None:
            return row, row.picture.square(self.resolution)
        return row, self._pool.submit(row.picture.square, self.resolution)


def load_cached_rows(
    options: LatentOptions,
    cache_dir: Path,
    num_workers: int,
    dataset: HandDataset,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    text_encoder: TextHandEncoder,
    body_model: HandBodyModel,
    accelerator: Accelerator,
) -> CachedDataset:
    """Latents, hand geometry and tokens of a data set, read from the caches in `cache_dir` or written to them."""
    latents = cache_latents(
        dataset,
        vae,
        options.resolution,
        options.random_flip,
        cache_dir,
        options.encode_batch_size,
        accelerator,
        num_workers,
    )
    geometry = cache_geometry(dataset, body_model, text_encoder, options.random_flip, cache_dir, accelerator)
    ids = [tokenize(tokenizer, dataset.texts)]
    if options.random_flip:
        ids.append(tokenize(tokenizer, [swap_sides(text) for text in dataset.texts]))
    arrays = {"latents": latents, **geometry}
    return CachedDataset(arrays, torch.stack(ids), accelerator.device, options.cache_on_device)
