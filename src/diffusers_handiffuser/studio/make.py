"""Writes data sets of studio images: folders for the trainers of both stages and Hugging Face `datasets`."""

import functools
import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..hands import HandBodyModel, HandParams
from ..utils.atomic_files import write_then_rename
from ..utils.suggestions import suggests_keywords
from .captions import describe
from .defects import Defect, check_kinds, sample_defect
from .draw import Studio, check_size
from .language.sentences import natural_sentence
from .pairs import spoil
from .scenes import HANDLESS_KINDS, SPLITS, TURNS, Scene, pose_scenes, sample_scene

_BATCH = 16
_TRIES = 8
"""How many defects are drawn for a row until one can be seen."""
_SEEN = 0.03
"""Of the box around the hand: the least area that differs."""
LANGUAGES = ("studio", "natural", "both")


@suggests_keywords
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
    *,
    handless: float = 0.0,
    language: str = "studio",
    turned: float = 0.0,
    defects: Sequence[str] = (),
) -> Path:
    """Renders scenes `0 ... num - 1` of a split into `folder`.

    A row of `metadata.jsonl` holds `file_name`, `text`, the seven `HandParams` fields as flat lists, `source`, `crop`
    (null: the image is whole) and `scene`, the attributes of the scene. If the language is not `"studio"`, it also
    holds `says`: what a natural sentence claims (see [`Sentence`]), null for the studio's captions. A row depends only
    on seed, split and index, not on the number of rows or workers (pixel values may differ by rounding).

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
        handless (`float`): fraction of the rows that become scenes without hands, 0 to 1; the other rows stay as they
            are.
        language (`str`): `"studio"` (captions of [`describe`]), `"natural"` (sentences of [`natural_caption`]) or
            `"both"` (half of the rows each).
        turned (`float`): fraction of the rows with hands that become scenes of a single hand that points down or
            sideways, 0 to 1; the other rows stay as they are.
        defects (sequence of `str`): some of `DEFECTS`. Every image gets one of these defects, column `defect` (see
            [`Defect`]), and column `good_file_name` names the image without it, which is that of a data set without
            defects. Captions and parameters are those of the good image. Rows without hands, and rows whose hands
            show none of these defects, have null and their own image there.

    Returns:
        `Path`: the written `metadata.jsonl`. It appears last: a folder without it is incomplete.
    """
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}, got {split!r}.")
    for name, fraction in (("handless", handless), ("turned", turned)):
        if not 0 <= fraction <= 1:
            raise ValueError(f"`{name}` must be between 0 and 1, got {fraction}.")
    if language not in LANGUAGES:
        raise ValueError(f"`language` must be one of {LANGUAGES}, got {language!r}.")
    defects = tuple(defects)
    check_kinds(defects)
    if defects and not images:
        raise ValueError("`defects` need images.")
    check_size(size)
    folder = Path(folder)
    metadata = folder / "metadata.jsonl"
    if metadata.exists():
        raise ValueError(f"{folder} must not hold a data set yet, but has a {metadata.name}.")
    (folder / "images" if images else folder).mkdir(parents=True, exist_ok=True)
    job = _Job(str(folder), split, seed, 0, num, size, images, device, handless, turned, language, defects)
    jobs = [replace(job, start=start, stop=min(start + _BATCH, num)) for start in range(0, num, _BATCH)]
    with (
        write_then_rename(metadata.with_suffix(".jsonl.tmp"), metadata) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for rows in _bar(_run(jobs, workers), len(jobs), progress):
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return metadata


@dataclass(frozen=True)
class _Job:
    """Rows `start ... stop - 1`; all else as in `make_dataset`."""

    folder: str
    split: str
    seed: int
    start: int
    stop: int
    size: int
    images: bool
    device: str
    handless: float
    turned: float
    language: str
    defects: tuple[str, ...]


def _run(jobs: list[_Job], workers: int) -> Iterator[list[dict]]:
    if workers == 1:
        yield from map(_make_rows, jobs)
    else:
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(_make_rows, jobs)


def _bar(items: Iterable[list[dict]], total: int, progress: bool) -> Iterable[list[dict]]:
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc="drawing", unit="batch", disable=not progress)


def _make_rows(job: _Job) -> list[dict]:
    # Always a whole batch: the batch size affects the last bits of a row.
    scenes = [_scene(job.seed, job.split, job.start + i, job.handless, job.turned) for i in range(_BATCH)]
    if job.images:
        drawn, hand_params = _studio(job.size, job.device).draw(scenes)
    else:
        drawn, hand_params = None, pose_scenes(scenes, _body(job.device))
    rows = []
    for i, scene in enumerate(scenes[: job.stop - job.start]):
        row = _description(scene, job.language)
        if drawn is not None:
            row |= _write_images(job, job.start + i, scene, hand_params[i], drawn[i])
        params = hand_params[i].to_dict()
        row |= {k: v if k == "hand_visible" else [round(x, 6) for x in v] for k, v in params.items()}
        rows.append(row | {"source": "studio", "crop": None, "scene": scene.to_dict()})
    return rows


def _write_images(job: _Job, index: int, scene: Scene, hand_params: HandParams, drawn: torch.Tensor) -> dict[str, Any]:
    """Writes the images of a row, and returns the columns that name them."""
    name = f"images/{index:06d}.png"
    found = _with_defect(job, index, scene, hand_params, drawn) if job.defects else None
    if found is None:
        _save(drawn, job.folder, name)
        return {"file_name": name} | ({"good_file_name": name, "defect": None} if job.defects else {})
    defect, bad = found
    good_name = f"images/{index:06d}_good.png"
    _save(bad, job.folder, name)
    _save(drawn, job.folder, good_name)
    return {"file_name": name, "good_file_name": good_name, "defect": defect.to_dict()}


def _with_defect(
    job: _Job, index: int, scene: Scene, hand_params: HandParams, drawn: torch.Tensor
) -> tuple[Defect, torch.Tensor] | None:
    """A defect that shows in a scene, and the image with it; `None` if there is no hand or no defect shows."""
    if not scene.gestures:
        return None
    rng = random.Random(f"{job.seed}|{job.split}|{index}|defect")
    for _ in range(_TRIES):
        defect = sample_defect(scene, rng, rng.choice(job.defects))
        bad, (x0, y0, x1, y1) = spoil(_studio(job.size, job.device), scene, defect, hand_params, drawn)
        if float((bad != drawn).any(0).sum()) > _SEEN * (x1 - x0) * (y1 - y0):
            return defect, bad
    return None


def _save(image: torch.Tensor, folder: str, name: str) -> None:
    pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(os.path.join(folder, name))


def _scene(seed: int, split: str, index: int, handless: float, turned: float) -> Scene:
    """The scene of a row: without hands for one fraction of the rows, with a turned hand for another."""
    rng = random.Random(f"{seed}|{split}|{index}|handless")
    if rng.random() < handless:
        return sample_scene(seed, split, index, rng.choice(HANDLESS_KINDS))
    rng = random.Random(f"{seed}|{split}|{index}|turned")
    return sample_scene(seed, split, index, turn=rng.choice(TURNS) if rng.random() < turned else None)


def _description(scene: Scene, language: str) -> dict[str, Any]:
    """The columns `text` and, unless all captions are the studio's, `says`."""
    rng = random.Random(scene.seed)
    if language == "studio":
        return {"text": describe(scene, rng)}
    if language == "both" and random.Random(f"{scene.seed}|language").choice(("studio", "natural")) == "studio":
        return {"text": describe(scene, rng), "says": None}
    sentence = natural_sentence(scene, rng)
    return {"text": sentence.text, "says": sentence.says}


@functools.lru_cache(maxsize=1)
def _studio(size: int, device: str) -> Studio:
    """One per process."""
    return Studio(_body(device), size)


@functools.lru_cache(maxsize=1)
def _body(device: str) -> HandBodyModel:
    """One per process; rows without images need nothing else."""
    return HandBodyModel.procedural().to(device)
