"""Writes data sets of studio images: folders for the trainers of both stages and Hugging Face `datasets`."""

import functools
import json
import os
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..hands import HandBodyModel
from ..utils.atomic_files import write_then_rename
from .captions import describe
from .draw import Studio, check_size
from .scenes import SPLITS, pose_scenes, sample_scene

_BATCH = 16


def make_dataset(
    folder: str | os.PathLike,
    num: int,
    split: str = "train",
    seed: int = 0,
    size: int = 128,
    images: bool = True,
    workers: int = 1,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Renders scenes `0 ... num - 1` of a split into `folder`.

    A row of `metadata.jsonl` holds `file_name`, `text`, the seven `HandParams` fields as flat lists, `source`, `crop`
    (null: the image is whole) and `scene`, the attributes of the scene. A row depends only on seed, split and index,
    not on the number of rows or workers (pixel values may differ by rounding).

    Args:
        folder (path): created if it does not exist; must not hold a data set yet.
        num (`int`): number of rows.
        split (`str`): `"train"` or `"test"`, which never share a combination of gesture, side, background and skin.
        seed (`int`): seed of the scenes.
        size (`int`): pixels per side.
        images (`bool`): `False` writes rows for the first stage only, in a fraction of the time.
        workers (`int`): number of processes, one thread each.
        device (`str`): device that renders, `"cpu"` or `"cuda"`; rows are equal up to rounding.
        progress (`bool`): show a progress bar.

    Returns:
        `Path`: the written `metadata.jsonl`. It appears last: a folder without it is incomplete.
    """
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}, got {split!r}.")
    check_size(size)
    folder = Path(folder)
    metadata = folder / "metadata.jsonl"
    if metadata.exists():
        raise ValueError(f"{folder} must not hold a data set yet, but has a {metadata.name}.")
    (folder / "images" if images else folder).mkdir(parents=True, exist_ok=True)
    jobs = [
        (str(folder), split, seed, start, min(start + _BATCH, num), size, images, device)
        for start in range(0, num, _BATCH)
    ]
    with (
        write_then_rename(metadata.with_suffix(".jsonl.tmp"), metadata) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for rows in _bar(_run(jobs, workers), len(jobs), progress):
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return metadata


def _run(jobs: list[tuple], workers: int) -> Iterator[list[dict]]:
    if workers == 1:
        yield from map(_make_rows, jobs)
    else:
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(_make_rows, jobs)


def _bar(items: Iterable[list[dict]], total: int, progress: bool) -> Iterable[list[dict]]:
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc="drawing", unit="batch", disable=not progress)


def _make_rows(job: tuple) -> list[dict]:
    folder, split, seed, start, stop, size, images, device = job
    # Always a whole batch: the batch size affects the last bits of a row.
    scenes = [sample_scene(seed, split, start + i) for i in range(_BATCH)]
    if images:
        drawn, hand_params = _studio(size, device).draw(scenes)
    else:
        drawn, hand_params = None, pose_scenes(scenes, _body(device))
    rows = []
    for i, scene in enumerate(scenes[: stop - start]):
        row: dict[str, Any] = {"text": describe(scene, random.Random(scene.seed))}
        if drawn is not None:
            row["file_name"] = f"images/{start + i:06d}.png"
            pixels = (drawn[i].permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(os.path.join(folder, row["file_name"]))
        params = hand_params[i].to_dict()
        row |= {k: v if k == "hand_visible" else [round(x, 6) for x in v] for k, v in params.items()}
        rows.append(row | {"source": "studio", "crop": None, "scene": scene.to_dict()})
    return rows


@functools.lru_cache(maxsize=1)
def _studio(size: int, device: str) -> Studio:
    """One per process."""
    return Studio(_body(device), size)


@functools.lru_cache(maxsize=1)
def _body(device: str) -> HandBodyModel:
    """One per process; rows without images need nothing else."""
    return HandBodyModel.procedural().to(device)
