"""Draws an arm's images of a studio test set, scores each, and writes all of it down.

The output folder is a data set in the package's format (the images, and the hands that they were to show) with a
`results.json` beside it. Images and initial noise belong to (row, sample, seed) alone, hands to (row, sample, seed)
and stage 1, so every arm is asked for the same. A metric of the whole set can be computed from the folders later.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pixels import to_pixels
from scene_detector import detect_in_scenes
from scene_judge import judge_scenes
from set_distances import ImageSet
from subsets import hard_subsets, people
from tqdm.auto import tqdm

from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.evaluation import (
    HandDetector,
    MediaPipeDetector,
    load_detector,
    load_features,
    score_images,
)
from diffusers_handiffuser.evaluation.rows import check_studio_rows, sample_generators, stack_hands
from diffusers_handiffuser.hands import HandBodyModel, HandParams
from diffusers_handiffuser.studio import Scene

RESULTS_FILE = "results.json"

Painter = Callable[[Sequence[dict], HandParams, list[torch.Generator]], torch.Tensor]
"""From n rows, the hands to draw and a generator for each to images `(n, H, W, 3)` in [0, 1]."""
Measure = Callable[[torch.Tensor, HandParams, Sequence[Scene], HandBodyModel], dict[str, torch.Tensor]]
"""From images `(n, H, W, 3)`, their hands, scenes and body to scores `(n,)` by name, NaN where not defined."""

MEASURES: list[Measure] = [score_images, judge_scenes]
"""What each image is scored by. Larger has to be better, and a score in [0, 1] is drawn best."""


def measure(
    images: torch.Tensor,
    hands: HandParams,
    rows: Sequence[dict],
    body_model: HandBodyModel,
    detector: HandDetector | None = None,
) -> dict[str, torch.Tensor]:
    """All scores of n images."""
    scenes = [Scene(**row["scene"]) for row in rows]
    scores = {name: s for one in MEASURES for name, s in one(images, hands, scenes, body_model).items()}
    return scores if detector is None else scores | detect_in_scenes(detector, images, hands, rows, body_model)


def arm_painter(run: Path, steps: int, guidance_scale: float, device: str) -> tuple[dict, Painter]:
    """What `arm.json` says of a trained arm, and how it draws."""
    arm = json.loads((run / "arm.json").read_text())
    pipeline: Any = HanDiffuserPipeline.from_pretrained(run)
    if arm["tells"] == "skeleton":
        from skeleton_arm import draw_skeletons, load_skeleton_pipeline

        pipeline = load_skeleton_pipeline(pipeline, run)
    pipeline.to(device).set_progress_bar_config(disable=True)
    size = pipeline.unet.config.sample_size * pipeline.vae_scale_factor

    def paint(rows: Sequence[dict], hands: HandParams, generators: list[torch.Generator]) -> torch.Tensor:
        hand_arguments: dict[str, Any] = {"hand_params": hands}
        if arm["tells"] != "states":
            hand_arguments = {"hand_conditioning_scale": 0}
        if arm["tells"] == "skeleton":
            hand_arguments["image"] = draw_skeletons(hands, pipeline.body_model, size).float() / 255
        images = pipeline(
            [row["text"] for row in rows],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generators,
            output_type="pt",
            **hand_arguments,
        ).images
        return images.permute(0, 2, 3, 1).float().cpu()

    return arm, paint


def own_painter(folder: Path, size: int | None) -> tuple[dict, Painter]:
    """The data set's own images as if a model had drawn them."""

    def paint(rows: Sequence[dict], hands: HandParams, generators: list[torch.Generator]) -> torch.Tensor:
        images = []
        for row in rows:
            with Image.open(folder / row["file_name"]) as image:
                image = image.convert("RGB")
                if size is not None:
                    image = image.resize((size, size), Image.Resampling.LANCZOS)
                images.append(np.asarray(image))
        return torch.from_numpy(np.stack(images)) / 255

    return {"name": "data", "about": "the data's own images: the ceiling", "shared": {}}, paint


def hands_to_draw(args: argparse.Namespace, rows: Sequence[dict]) -> HandParams:
    """A hand for every sample of every row: the row's own, or of stage 1, which is the same for all arms."""
    if args.hands == "own":
        return stack_hands(rows).repeat_interleave(args.samples)
    pipeline = HanDiffuserPipeline.from_pretrained(args.stage_1)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(args.device)
    hands = []
    for start in tqdm(range(0, len(rows), args.batch_size), desc="stage 1"):
        part = rows[start : start + args.batch_size]
        generators = sample_generators(args.seed, start, len(part), args.samples)
        texts = [row["text"] for row in part]
        hands.append(pipeline.sample_hand_params(texts, args.samples, hand_generator=generators))
    return HandParams.cat(hands)


def evaluate(args: argparse.Namespace) -> None:
    """Draws, scores and writes; the options are those of `arms.py evaluate`."""
    if (args.run is None) != args.own_pictures:
        raise ValueError("either an arm's folder or --own_pictures is needed")
    if args.samples < 1 or args.num < 1:
        raise ValueError(f"--samples and --num must be at least 1, but are {args.samples} and {args.num}")
    if args.own_pictures:
        args.samples, args.hands = 1, "own"
        arm, paint = own_painter(args.data, args.resolution)
    else:
        arm, paint = arm_painter(Path(args.run), args.steps, args.guidance_scale, args.device)
    lines = (args.data / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[: args.num]
    rows = [json.loads(line) for line in lines]
    check_studio_rows(rows)
    (args.output_dir / "images").mkdir(parents=True, exist_ok=True)
    body_model = HandBodyModel.procedural()
    features = load_features("studio")
    drawn = ImageSet(features, body_model)
    wanted = [row for row in rows for _ in range(args.samples)]
    scores: dict[str, list[torch.Tensor]] = {}
    with ExitStack() as opened:
        detector = None if args.detector is None else load_detector(args.detector, args.detector_python)
        if isinstance(detector, MediaPipeDetector):
            opened.callback(detector.close)
        hands = hands_to_draw(args, rows)
        metadata = opened.enter_context(open(args.output_dir / "metadata.jsonl", "w", encoding="utf-8"))
        for start in tqdm(range(0, len(wanted), args.batch_size), desc=arm["name"]):
            batch = slice(start, start + args.batch_size)
            images = paint(wanted[batch], hands[batch], sample_generators(args.seed, start, len(wanted[batch]), 1))
            for name, values in measure(images, hands[batch], wanted[batch], body_model, detector).items():
                scores.setdefault(name, []).append(values)
            drawn.add(images, hands[batch], torch.arange(len(wanted))[batch] // args.samples)
            for number, image in enumerate(images, start):
                file_name = f"images/{number:06d}.png"
                Image.fromarray(to_pixels(image).numpy()).save(args.output_dir / file_name)
                row = {name: wanted[number].get(name) for name in ("text", "source", "crop", "scene")}
                metadata.write(json.dumps({**row, **hands[number].to_dict(), "file_name": file_name}) + "\n")
    own, own_hands = drawn, stack_hands(rows)
    if not args.own_pictures:
        own = ImageSet(features, body_model)
        _, paint_own = own_painter(args.data, images.shape[1])
        for start in range(0, len(rows), args.batch_size):
            batch = slice(start, start + args.batch_size)
            own.add(paint_own(rows[batch], own_hands[batch], []), own_hands[batch], torch.arange(len(rows))[batch])
    subsets = hard_subsets(rows, own_hands, body_model)
    results = {
        "arm": arm,
        "data": args.data.resolve().name,
        "rows": len(rows),
        "hands": args.hands,
        "samples": args.samples,
        "seed": args.seed,
        "sampler": {} if args.own_pictures else {"steps": args.steps, "guidance_scale": args.guidance_scale},
        "scores": {name: _of_rows(torch.cat(values), args.samples) for name, values in scores.items()},
        "distances": drawn.distances(own, args.seed),
        "detector": None if detector is None else f"{args.detector} {getattr(detector, 'version', '')}".strip(),
        "subsets": {name: member.nonzero()[:, 0].tolist() for name, member in subsets.items()},
        "groups": people(rows),
    }
    (args.output_dir / RESULTS_FILE).write_text(json.dumps(results) + "\n")


def _of_rows(scores: torch.Tensor, samples: int) -> list[float | None]:
    """One score for each row, the mean of its samples; `None` where the score is defined for none of them."""
    means = scores.double().view(-1, samples).nanmean(1)
    return [None if value != value else round(value, 6) for value in means.tolist()]
