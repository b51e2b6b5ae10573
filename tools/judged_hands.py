"""The studio's pairs of good and defective hands as a detector finds them: for training and scoring the judge."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels, hand_sizes_in_pixels
from diffusers_handiffuser.detection import DetectedHand, fit_hands
from diffusers_handiffuser.detection.finding import open_detector, search
from diffusers_handiffuser.hands import HandParams
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.hands.skeleton import SIDES
from diffusers_handiffuser.repair.defect_network import WIDE_REACH
from diffusers_handiffuser.repair.fit_signs import fit_signs
from diffusers_handiffuser.repair.upright_views import fitted_hand, place_view, view_image, view_mesh
from diffusers_handiffuser.studio import Studio, sample_scene
from diffusers_handiffuser.studio.defects import DEFECTS, sample_defect
from diffusers_handiffuser.studio.pairs import draw_pairs

SIZES, WEIGHTS = (128, 160, 192, 256), (0.3, 0.3, 0.3, 0.1)
"""Pixels per side of the images that are trained on, and how often each is drawn."""
TURNS = (*[None] * 8, "down", "sideways")
FOUND = 0.6
"""A detected hand farther from every hand, relative to its size, is none."""
STORED_SIZE, STORED_REACH, WIDE_SIZE = 88, 2.0, 64
"""The stored near view is wider than the network's, which leaves room to move it."""
_AT_ONCE = 28


class StudioImage(NamedTuple):
    """An image of a pair.

    Args:
        pixels (`np.ndarray` of shape `(S, S, 3)`, uint8): RGB.
        good (`np.ndarray`): the good image of the pair.
        hand_params ([`HandParams`] of batch shape `(1,)`): of the good image.
        kinds (`tuple` of `int`): of [left, right]: 0 for a good hand, else 1 + the index into `DEFECTS`.
    """

    pixels: np.ndarray
    good: np.ndarray
    hand_params: HandParams
    kinds: tuple[int, int]


class FoundHand(NamedTuple):
    """A hand of an image as it was detected and fitted; `side` is that of the arm, in the truth."""

    image: int
    side: int
    hand: DetectedHand
    hand_params: HandParams


def studio_images(
    seed: int, split: str, rows: range, sizes: Sequence[int] = SIZES, weights: Sequence[float] = WEIGHTS
) -> Iterator[StudioImage]:
    """Scenes of the studio, the good image and then the bad one, with all kinds of defects in turn."""
    studios = {size: Studio(procedural_body(), size) for size in sizes}
    for row in rows:
        rng = random.Random(f"{seed}|{split}|{row}|view")
        size = rng.choices(sizes, weights)[0]
        scene = sample_scene(seed, split, row, turn=rng.choice(TURNS))
        defect = sample_defect(scene, rng, DEFECTS[row % len(DEFECTS)])
        pairs = draw_pairs(studios[size], [scene], [defect])
        good, bad = ((image[0].permute(1, 2, 0) * 255).round().byte().numpy() for image in (pairs.good, pairs.bad))
        kind = 1 + DEFECTS.index(defect.kind)
        kinds = (kind, 0) if defect.side == SIDES[0] else (0, kind)
        yield StudioImage(good, good, pairs.hand_params, (0, 0))
        yield StudioImage(bad, good, pairs.hand_params, kinds)


def find(images: Sequence[StudioImage]) -> tuple[list[FoundHand], list[tuple[int, int]]]:
    """The hands of images as MediaPipe finds them, and the visible hands that it misses: (image, side)."""
    detector = open_detector("mediapipe")
    detected = [(number, hand) for number, image in enumerate(images) for hand in search(image.pixels, detector, "")]
    found: dict[tuple[int, int], FoundHand] = {}
    if detected:
        sizes = [images[number].pixels.shape[1::-1] for number, _ in detected]
        fitted = fit_hands([[hand] for _, hand in detected], sizes)
        for row, index in enumerate(fitted.image_index.tolist()):
            number, hand = detected[index]
            side = _true_side(images[number], hand)
            if side is not None:
                one = FoundHand(number, side, hand, fitted.hand_params[row : row + 1])
                found.setdefault((number, side), one)
    visible = [(number, side) for number, image in enumerate(images) for side in range(2) if _is_visible(image, side)]
    return list(found.values()), [place for place in visible if place not in found]


def collect(folder: Path, seed: int, split: str, num: int) -> None:
    """Stores the views of the found hands of `num` pairs, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, num, _AT_ONCE):
        file = folder / f"{start:06d}.npz"
        if file.exists():
            continue
        images = list(studio_images(seed, split, range(start, min(start + _AT_ONCE, num))))
        found, missed = find(images)
        views = [_views(images[one.image], one) for one in found]
        np.savez(file, **{name: np.stack([view[name] for view in views]) for name in views[0]})
        print(f"{file}: {len(found)} hands, {len(missed)} missed", flush=True)


def read_views(folder: Path) -> dict[str, torch.Tensor]:
    """All stored views: `near`, `wide`, `difference`, `signs` and `label`."""
    shards = [np.load(file) for file in sorted(folder.glob("*.npz"))]
    return {
        name: torch.from_numpy(np.concatenate([shard[name] for shard in shards]))
        for name in ("near", "wide", "difference", "signs", "label")
    }


def _views(image: StudioImage, found: FoundHand) -> dict[str, np.ndarray]:
    fitted = fitted_hand(found.hand_params, procedural_body(), *image.pixels.shape[:2])
    near = place_view(fitted, STORED_SIZE, STORED_REACH, upright=True)
    wide = place_view(fitted, WIDE_SIZE, WIDE_REACH, upright=False)
    difference = np.abs(image.pixels.astype(int) - image.good).max(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    kind = image.kinds[found.side]
    return {
        "near": torch.cat([view_image(image.pixels, near), view_mesh(fitted, near)]).numpy(),
        "wide": torch.cat([view_image(image.pixels, wide), view_mesh(fitted, wide)[:1]]).numpy(),
        "difference": view_image(difference, near)[:1].numpy() * bool(kind),
        "signs": fit_signs(found.hand, found.hand_params, fitted).numpy(),
        "label": np.array(kind),
    }


def _is_visible(image: StudioImage, side: int) -> bool:
    return bool(image.hand_params.hand_visible[0, side])


def _true_side(image: StudioImage, hand: DetectedHand) -> int | None:
    """The arm whose hand was detected, if it is one."""
    height, width = image.pixels.shape[:2]
    joints = hand_joints_in_pixels(image.hand_params, procedural_body(), width, height)
    distances = (torch.from_numpy(hand.landmarks).float() - joints[0]).norm(dim=-1).mean(-1)
    distances = distances / hand_sizes_in_pixels(joints)[0]
    distances[~image.hand_params.hand_visible[0]] = torch.inf
    side = int(distances.argmin())
    return side if distances[side] < FOUND else None
