"""Rows, images and helpers for small data sets."""

import io
import json
import tarfile

import numpy as np
import torch
from PIL import ExifTags, Image

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


def phone_photo() -> bytes:
    """A JPEG as phones write it: 24 x 16 pixels that lie on their side; upright, 16 x 24, its upper half is white."""
    image = Image.new("L", (16, 24), 0)
    image.paste(255, (0, 0, 16, 12))
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def is_upright(image) -> bool:
    """Whether a `phone_photo`, or the square in its middle, shows white above black."""
    upper, lower = np.array_split(np.asarray(image, float), 2)
    return upper.min() > 200 and lower.max() < 50


def write_tar(path, members: dict[str, bytes]) -> None:
    """Writes an archive with these files, in order."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


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
