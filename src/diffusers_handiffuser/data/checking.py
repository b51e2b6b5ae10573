"""Checks every row of a data set and computes statistics."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..hands import HandBodyModel, ImageCrop, map_points
from ..hands.body_model import procedural_body
from ..hands.camera import square_to_pixels
from ..hands.skeleton import SIDES
from ..utils.messages import printable
from .defective import check_defect, parse_defect
from .geometry import are_inside, hand_sizes_in_pixels, visible_in_squares
from .rows import HandRow, PictureError, RowError, parse_row, stack_hand_params
from .sheets import ROWS_PER_SHEET, RowSample, write_sheets
from .sources import RawRow

_BATCH = 64
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Problem:
    """A problem of a row: its number in the data set, file and row, column (`""`: the whole row), reason."""

    row: int
    where: str
    column: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: `{self.column}` {self.reason}" if self.column else f"{self.where}: {self.reason}"


@dataclass
class CheckReport:
    """The result of `check_dataset`.

    Args:
        rows (`int`): number of rows, including those with problems.
        problems (`list` of [`Problem`]): in the order of the rows; a row may have several.
        statistics (`dict`): statistics of the rows without problems, ready for JSON; see `Statistics.summary`.
    """

    rows: int
    problems: list[Problem]
    statistics: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report, ready for JSON."""
        return {"rows": self.rows, "problems": [vars(p) for p in self.problems], "statistics": self.statistics}

    def __str__(self) -> str:
        wrong = len({problem.row for problem in self.problems})
        lines = [*map(str, self.problems), f"{self.rows} rows, {wrong} of them wrong"]
        for name, value in self.statistics.items():
            if isinstance(value, dict):
                value = ", ".join(f"{key}: {_short(number)}" for key, number in value.items()) or "none"
            lines.append(f"{name.replace('_', ' '):28} {_short(value)}")
        return "\n".join(lines)


@dataclass
class Statistics:
    """Running counts over the rows without problems."""

    hands: Counter = field(default_factory=Counter)
    visible: Counter = field(default_factory=Counter)
    sizes: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    captions: Counter = field(default_factory=Counter)
    contents: Counter = field(default_factory=Counter)
    images: Counter = field(default_factory=Counter)
    sources: Counter = field(default_factory=Counter)
    defects: Counter = field(default_factory=Counter)
    outside: int = 0

    def add(self, row: HandRow, joints: torch.Tensor, visible: np.ndarray) -> None:
        """Counts a row as the square of its image shows it.

        Its joints are `(2, 21, 2)`, in [-1, 1] over the square; `visible` `(2,)` is that of `visible_in_squares`.
        """
        self.outside += int(row.fields["hand_visible"].sum()) - int(visible.sum())
        self.hands[int(visible.sum())] += 1
        self.visible[{(1, 1): "both", (1, 0): "left only", (0, 1): "right only", (0, 0): "none"}[tuple(visible)]] += 1
        self.words.append(len(row.text.split()))
        self.captions[row.text] += 1
        self.sources[str(row.columns.get("source"))] += 1
        if (defect := parse_defect(row)) is not None:
            self.defects[defect.kind] += 1
        values = b"".join(value.tobytes() for value in row.fields.values())
        self.contents[hashlib.sha256(row.text.encode() + values).digest()] += 1
        shares = hand_sizes_in_pixels(joints)[torch.from_numpy(visible)] / 2
        self.shares += shares.tolist()
        if row.picture is not None:
            self.images[hashlib.sha256(row.picture.read()).digest()] += 1
            self.sides.append(min(row.picture.size))
            self.sizes += (shares * self.sides[-1]).tolist()

    def summary(self) -> dict[str, Any]:
        """Counts and quantiles by the names they are printed with."""
        left = self.visible["left only"] + self.visible["both"]
        right = self.visible["right only"] + self.visible["both"]
        defects = {"defects": dict(sorted(self.defects.items()))} if self.defects else {}
        return {
            "rows_with_a_picture": len(self.sides),
            "hands_per_row": {str(number): self.hands[number] for number in (0, 1, 2)},
            "visible_hands": {name: self.visible[name] for name in ("left only", "right only", "both", "none")},
            "hands_outside_the_square": self.outside,
            "left_hands_of_all": round(left / (left + right), 3) if left + right else None,
            "hand_size_in_pixels": _quantiles(self.sizes),
            "hand_size_of_the_side": _quantiles(self.shares),
            "picture_side_in_pixels": _quantiles(self.sides),
            "words_per_caption": _quantiles(self.words),
            "different_captions": len(self.captions),
            "rows_that_repeat_another": sum(self.contents.values()) - len(self.contents),
            "pictures_that_repeat_another": sum(self.images.values()) - len(self.images),
            "sources": {printable(name): number for name, number in self.sources.most_common(8)},
            **defects,
        }


def check_dataset(
    raw_rows: Iterable[RawRow],
    body_model: HandBodyModel | None = None,
    sheet: str | Path | None = None,
    sheet_rows: int = ROWS_PER_SHEET,
) -> CheckReport:
    """Reads and checks every row and every image.

    A row has a problem if a column is missing or has the wrong shape, a number is not finite, its image or the one
    without its defect cannot be read, or a hand that is marked visible has no joint in the image. Statistics and
    sheets are of the centred square that training shows: a visible hand wholly outside it is counted under
    `hands_outside_the_square`, and otherwise as not visible.

    Args:
        raw_rows (iterable of `RawRow`): rows of `Shard.rows()`.
        body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; the procedural one by default.
        sheet (path, *optional*): where to write contact sheets (PNG): numbered images with their skeletons. More than
            64 rows are split into several, `x_0.png`, `x_1.png` and so on.
        sheet_rows (`int`): number of rows drawn at random for the sheets, always the same ones.

    Returns:
        [`CheckReport`]. Raises `ValueError` if there is no row.
    """
    body_model = procedural_body() if body_model is None else body_model
    problems: list[Problem] = []
    statistics, chosen = Statistics(), RowSample(sheet_rows if sheet is not None else 0)
    numbered = enumerate(raw_rows)
    total = 0
    while batch := list(islice(numbered, _BATCH)):
        total += len(batch)
        rows = list(_readable(batch, problems))
        if not rows:
            continue
        hands = stack_hand_params(row for _, row in rows).to(body_model.device)
        with torch.no_grad():
            geometry = body_model(hands)
        squares = [ImageCrop.centred_square(*_image_size(row)) for _, row in rows]
        visible = visible_in_squares(hands, geometry, squares).cpu().numpy()
        joints = geometry.joints_2d.cpu()
        for (number, row), of_image, points, shown in zip(
            rows, joints, map_points(joints, squares), visible, strict=True
        ):
            found = list(_hands_outside(row, of_image))
            problems += [Problem(number, row.where, "hand_visible", reason) for reason in found]
            if not found:
                statistics.add(row, points, shown)
                chosen.offer(number, row, points)
    if not total:
        raise ValueError("the data set holds no rows")
    if sheet is not None:
        write_sheets(sheet, chosen.rows())
    problems.sort(key=lambda problem: problem.row)
    return CheckReport(total, problems, statistics.summary())


def _readable(batch: Sequence[tuple[int, RawRow]], problems: list[Problem]) -> Iterator[tuple[int, HandRow]]:
    for number, raw in batch:
        try:
            if isinstance(raw.value, RowError):
                raise raw.value
            row = parse_row(raw.value, raw.where, raw.folder)
            if row.picture is not None:
                row.picture.open()
            check_defect(row, raw.folder)
        except RowError as error:
            problems += [Problem(number, error.where, *problem) for problem in error.problems]
        except PictureError as error:
            reason = str(error).removeprefix(f"{raw.where}: ")
            problems.append(Problem(number, raw.where, "", reason))
        else:
            yield number, row


def _image_size(row: HandRow) -> tuple[int, int]:
    """Width and height, of a row without an image those of its square."""
    return (1, 1) if row.picture is None else row.picture.size


def _hands_outside(row: HandRow, joints: torch.Tensor) -> Iterator[str]:
    width, height = _image_size(row)
    inside = are_inside(square_to_pixels(joints, height, width), width, height)
    for side, visible, any_inside in zip(SIDES, row.fields["hand_visible"], inside.any(-1).tolist(), strict=True):
        if visible and not any_inside:
            yield f"says that the {side} hand is visible, but none of its joints lies in the image"


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(np.asarray(values, float), _QUANTILES)
    return {f"{100 * level:g}%": round(float(value), 3) for level, value in zip(_QUANTILES, found, strict=True)}


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
