"""Contact sheets: a grid of a data set's images, as training shows them, each with its row number and skeletons."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from ..rendering.drawing import draw_skeleton
from ..utils.atomic_files import atomic_write
from .rows import HandRow

_COLUMNS, _TILE = 8, 160
ROWS_PER_SHEET = 64


class RowSample:
    """A random sample of the rows with images, drawn in one pass (reservoir sampling)."""

    def __init__(self, size: int):
        self.size, self.seen = size, 0
        self.chosen: list[tuple[int, HandRow, torch.Tensor]] = []
        self.random = random.Random(0)

    def offer(self, number: int, row: HandRow, joints: torch.Tensor) -> None:
        """Adds a row to those that are sampled from, with its joints `(2, 21, 2)`, see `write_sheets`."""
        if row.picture is None or not self.size:
            return
        self.seen += 1
        if len(self.chosen) < self.size:
            self.chosen.append((number, row, joints))
        elif (place := self.random.randrange(self.seen)) < self.size:
            self.chosen[place] = (number, row, joints)

    def rows(self) -> list[tuple[int, HandRow, torch.Tensor]]:
        """The sample, ordered by row number."""
        return sorted(self.chosen, key=lambda entry: entry[0])


def write_sheets(path: str | Path, rows: Sequence[tuple[int, HandRow, torch.Tensor]]) -> list[Path]:
    """Writes contact sheets of images with the skeletons of their visible hands; returns their paths.

    Args:
        path (path): ends in `.png`; several sheets are named `x_0.png`, `x_1.png` and so on.
        rows (sequence): tuples of row number, [`HandRow`] and joints `(2, 21, 2)` in [-1, 1] over the centred square
            of the row's image, which the sheet shows.
    """
    path = Path(path)
    if not rows:
        raise ValueError("there is no row with an image to draw a sheet of")
    parts = [rows[start : start + ROWS_PER_SHEET] for start in range(0, len(rows), ROWS_PER_SHEET)]
    paths = [path] if len(parts) == 1 else [path.with_stem(f"{path.stem}_{i}") for i in range(len(parts))]
    for name, part in zip(paths, parts, strict=True):
        columns = min(_COLUMNS, len(part))
        sheet = Image.new("RGB", (columns * _TILE, -(-len(part) // columns) * _TILE))
        for place, (number, row, joints) in enumerate(part):
            sheet.paste(_tile(number, row, joints), (place % columns * _TILE, place // columns * _TILE))
        with atomic_write(name) as temporary:
            sheet.save(temporary)
    return paths


def _tile(number: int, row: HandRow, joints: torch.Tensor) -> Image.Image:
    if row.picture is None:
        raise ValueError(f"{row.where}: the row has no image to draw")
    square = Image.fromarray(row.picture.square(_TILE))
    tile = draw_skeleton(square, joints, torch.from_numpy(row.fields["hand_visible"]))
    ImageDraw.Draw(tile).text((4, 3), str(number), fill="white", stroke_width=1, stroke_fill="black")
    return tile
