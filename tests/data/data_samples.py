"""Rows, images and helpers for small data sets."""

import json

import numpy as np
import torch
from PIL import Image

from diffusers_handiffuser.data import find_shards, write_row
from diffusers_handiffuser.hands import HandParams

NUM_ROWS = 14
NUM_SHARDS = 4


def make_hands(number: int) -> HandParams:
    """One person with bent fingers, in the middle of the image."""
    random = torch.Generator().manual_seed(number)
    hands = HandParams.zeros()
    return hands.replace(
        global_orient=torch.tensor([3.1416, 0.0, 0.0]),
        body_pose=0.1 * torch.randn(63, generator=random),
        left_hand_pose=0.3 * torch.randn(45, generator=random),
        right_hand_pose=0.3 * torch.randn(45, generator=random),
        betas=0.5 * torch.randn(10, generator=random),
        camera=torch.tensor([0.9, 0.1, 0.3]),
        hand_visible=torch.tensor([number % 2 == 0, number % 3 != 0]),
    )


def make_picture(number: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def make_row(number: int) -> dict:
    text = f"a {('left', 'right')[number % 2]} hand, number {number}"
    return write_row(make_hands(number), text, source="test")


def rows_of(folder):
    return (row for shard in find_shards(folder) for row in shard.rows())


def change_rows(folder, **changes):
    """`number=function`: the function gets the row as a dict and returns it, or another line."""
    path = folder / "metadata.jsonl"
    lines = path.read_text().splitlines()
    for number, change in changes.items():
        changed = change(json.loads(lines[int(number[1:])]))
        lines[int(number[1:])] = changed if isinstance(changed, str) else json.dumps(changed)
    path.write_text("\n".join(lines) + "\n")
