"""Curation: rules that select the rows of stage 2, with a count of the rows that each one drops.

The paper does not say how its images were selected. These rules are common practice; the thresholds are the user's.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from ..detection.detector import HandDetector
from ..detection.pair_detectors import EitherDetector, PairDetector
from ..hands import HandBodyModel, HandParams
from ..hands.body_model import procedural_body
from ..hands.camera import square_to_pixels
from ..hands.skeleton import SIDES
from ..utils.messages import reason_of
from ..utils.moved import renamed_names
from .cropping import CropRefused, crop_row
from .defective import GOOD_COLUMN, parse_defect
from .geometry import are_inside, hand_sizes_in_pixels
from .rows import HandRow, Picture, PictureError, RowError, parse_row
from .sources import RawRow
from .writing import new_metadata

_BATCH = 32
_IMAGE_COLUMNS = ("file_name", "image", GOOD_COLUMN)
_UNREADABLE_IMAGE = "image that cannot be read"


@dataclass
class Candidate:
    """A row for the rules to accept or drop.

    Args:
        row ([`HandRow`]): as it was read.
        picture ([`Picture`]): the file of the row's image.
        hand_params ([`HandParams`]): no batch dimension; in the camera of the image as it will be saved.
        size (`tuple[int, int]`): width and height of that image.
        cropped (`PIL.Image.Image`, *optional*): that image, if it is a crop.
        crop (`list[float]`, *optional*): the value of the column `crop` that will be saved.
        zoom (`float`): pixels per side of the crop for each pixel of the row's image.
        joints (`torch.Tensor` of shape `(2, 21, 2)`): pixels of the image to be saved, [left, right], OpenPose order.
    """

    row: HandRow
    picture: Picture
    hand_params: HandParams
    size: tuple[int, int]
    cropped: Image.Image | None = None
    crop: list[float] | None = None
    zoom: float = 1.0
    joints: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    @cached_property
    def image(self) -> Image.Image:
        """The image to be saved, RGB. Raises a [`PictureError`] if it cannot be read."""
        return self.picture.open() if self.cropped is None else self.cropped

    @property
    def visible(self) -> torch.Tensor:
        return self.hand_params.hand_visible.cpu()


class Rule(Protocol):
    """Drops rows for one reason, under which they are counted."""

    @property
    def reason(self) -> str: ...

    def drops(self, candidate: Candidate) -> bool: ...


@dataclass(frozen=True)
class MinHandSize:
    """Drops rows with a visible hand whose bounding box is too small.

    Args:
        pixels (`float`): smallest longer side of the box. Where a crop was enlarged, pixels of the original count.
    """

    pixels: float

    @property
    def reason(self) -> str:
        return f"hand smaller than {self.pixels:g} pixels"

    def drops(self, candidate: Candidate) -> bool:
        sizes = hand_sizes_in_pixels(candidate.joints)[candidate.visible] / max(1.0, candidate.zoom)
        return bool((sizes < self.pixels).any())


@dataclass(frozen=True)
class MaxPeople:
    """Drops rows that show too many people.

    Args:
        people (`int`): the largest number that is kept.
        count (`str` or callable): the column that holds the number, or a function that counts them in a [`Candidate`].
    """

    people: int
    count: str | Callable[[Candidate], int] = "people"

    @property
    def reason(self) -> str:
        return f"more than {self.people} people"

    def drops(self, candidate: Candidate) -> bool:
        if callable(self.count):
            return self.count(candidate) > self.people
        number = candidate.row.columns.get(self.count)
        if not isinstance(number, int | float):
            raise RowError(candidate.row.where, [(self.count, f"must hold the number of people, but is {number}")])
        return number > self.people


@dataclass(frozen=True)
class HandsInside:
    """Drops rows with a visible hand that is too far outside the image.

    Args:
        share (`float`): smallest share of the hand's 21 joints inside.
    """

    share: float = 1.0

    @property
    def reason(self) -> str:
        return "hand outside the image"

    def drops(self, candidate: Candidate) -> bool:
        shares = are_inside(candidate.joints, *candidate.size).float().mean(-1)[candidate.visible]
        return bool((shares < self.share - 1e-6).any())


@dataclass(frozen=True)
class DetectorAgrees:
    """Drops rows with a visible hand that a detector does not find, on its side and in its place.

    Args:
        detector ([`HandDetector`]): any callable of this form. Those that take a PIL image and return pairs of a side
            and its points work for one more release, with a `FutureWarning`.
        error (`float`): largest mean distance of the 21 joints, as a fraction of the hand's size in the image.
    """

    detector: HandDetector | PairDetector
    error: float = 0.2

    @property
    def reason(self) -> str:
        return "detector disagrees"

    @cached_property
    def _detect(self) -> EitherDetector:
        return EitherDetector(self.detector)

    def drops(self, candidate: Candidate) -> bool:
        found = [(hand.side, torch.as_tensor(hand.landmarks).float()) for hand in self._detect(candidate.image)]
        for joints, side, visible in zip(candidate.joints, SIDES, candidate.visible.tolist(), strict=True):
            allowed = self.error * hand_sizes_in_pixels(joints)
            distances = [(points - joints).norm(dim=-1).mean() for name, points in found if name == side]
            if visible and not any(distance <= allowed for distance in distances):
                return True
        return False


@dataclass(frozen=True)
class Crop:
    """How to crop before the rules are applied; the arguments of `crop_row`."""

    around: str = "person"
    margin: float = 0.15
    min_side: int = 0
    size: int | None = None


class Curation:
    """Applies rules to rows and counts what they drop.

    Args:
        rules (sequence of [`Rule`]): in this order; a row is counted under the first rule that drops it.
        crop ([`Crop`], *optional*): crop every image before the rules are applied.
        body_model ([`HandBodyModel`], *optional*): the body that the parameters pose; by default the procedural one.

    Attributes:
        kept (`int`): rows that passed.
        dropped (`Counter[str]`): rows by reason.
    """

    def __init__(self, rules: Sequence[Rule], crop: Crop | None = None, body_model: HandBodyModel | None = None):
        self.rules, self.crop = list(rules), crop
        self.body_model = procedural_body() if body_model is None else body_model
        self.kept = 0
        self.dropped: Counter[str] = Counter({rule.reason: 0 for rule in self.rules})

    def filter(self, raw_rows: Iterable[RawRow]) -> Iterator[Candidate]:
        """The rows that pass, as they will be saved.

        Rows and images that cannot be read, and images with a defect on purpose, are dropped and counted.
        """
        prepared = (candidate for raw in raw_rows if (candidate := self._prepare(raw)) is not None)
        while batch := list(islice(prepared, _BATCH)):
            hands = HandParams.cat([candidate.hand_params.reshape(1) for candidate in batch])
            with torch.no_grad():
                joints_2d = self.body_model(hands.to(self.body_model.device)).joints_2d.cpu()
            for candidate, joints in zip(batch, joints_2d, strict=True):
                candidate.joints = square_to_pixels(joints, candidate.size[1], candidate.size[0])
                reason = self._reason_to_drop(candidate)
                if reason is None:
                    self.kept += 1
                    yield candidate
                else:
                    self.dropped[reason] += 1

    def _reason_to_drop(self, candidate: Candidate) -> str | None:
        try:
            return next((rule.reason for rule in self.rules if rule.drops(candidate)), None)
        except PictureError:
            return _UNREADABLE_IMAGE

    def _prepare(self, raw: RawRow) -> Candidate | None:
        """The row with its image as it will be saved, or None, counted, if it has none that can be read or cropped."""
        try:
            if isinstance(raw.value, RowError):
                raise raw.value
            row = parse_row(raw.value, raw.where, raw.folder)
            _check_crop(row)
            defect = parse_defect(row)
        except RowError:
            self.dropped["row that cannot be read"] += 1
            return None
        if defect is not None:
            self.dropped["image with a defect on purpose"] += 1
            return None
        if row.picture is None:
            self.dropped["no image"] += 1
            return None
        try:
            if self.crop is None:
                return Candidate(row, row.picture, row.hand_params, row.picture.size, crop=row.columns.get("crop"))
            image, hands, box = crop_row(row.picture.open(), row.hand_params, self.body_model, **vars(self.crop))
        except CropRefused:
            self.dropped["no square crop"] += 1
            return None
        except PictureError:
            self.dropped[_UNREADABLE_IMAGE] += 1
            return None
        crop = _compose(row.columns.get("crop"), row.picture.size, box)
        return Candidate(row, row.picture, hands, image.size, image, crop, image.width / (box[2] - box[0]))


def curate(raw_rows: Iterable[RawRow], folder: str | Path, curation: Curation) -> None:
    """Writes the rows that pass into a new folder, with all their columns.

    Whole images are copied byte by byte; crops of JPEGs are saved as JPEGs (quality 95), all others as PNGs.

    Args:
        raw_rows (iterable of `RawRow`): of `Shard.rows()`.
        folder (`str` or `Path`): made if absent; must not hold a data set yet. Gets no `metadata.jsonl` if no row
            passes.
        curation ([`Curation`]): the rules; holds the counts afterwards.

    Raises:
        ValueError: if no row passes, or the folder holds a data set.
        RowError: if a row has a column that JSON cannot hold, or lacks one that a rule needs.
    """
    images = Path(folder) / "images"
    with new_metadata(folder) as file:
        images.mkdir(exist_ok=True)
        for number, candidate in enumerate(curation.filter(raw_rows)):
            name = _write_image(candidate, images, f"{number:06d}")
            columns = {name: value for name, value in candidate.row.columns.items() if name not in _IMAGE_COLUMNS}
            hands = candidate.hand_params.to_dict()
            row = {**columns, **hands, "crop": candidate.crop, "file_name": f"images/{name}"}
            try:
                line = json.dumps(row, default=str, allow_nan=False)
            except ValueError as error:
                raise RowError(candidate.row.where, [("", f"cannot be written: {reason_of(error)}")]) from None
            file.write(line + "\n")
        if not curation.kept:
            dropped = [f"{number} dropped ({reason})" for reason, number in curation.dropped.items() if number]
            raise ValueError(f"no row passes: {', '.join(dropped) or 'the data set has none'}")


def _write_image(candidate: Candidate, folder: Path, stem: str) -> str:
    jpeg = candidate.picture.format in ("JPEG", "MPO")
    if candidate.cropped is None:
        name = stem + (".jpg" if jpeg else f".{candidate.picture.format.lower()}")
        (folder / name).write_bytes(candidate.picture.read())
    elif jpeg:
        name = f"{stem}.jpg"
        candidate.cropped.save(folder / name, quality=95, subsampling=0)
    else:
        name = f"{stem}.png"
        candidate.cropped.save(folder / name)
    return name


def _check_crop(row: HandRow) -> None:
    crop = row.columns.get("crop")
    is_box = isinstance(crop, list | tuple) and len(crop) in (0, 4)
    if crop is not None and not (is_box and all(type(side) in (int, float) and math.isfinite(side) for side in crop)):
        raise RowError(row.where, [("crop", "must be null or four numbers")])


def _compose(earlier: Sequence[float] | None, size: tuple[int, int], box: Sequence[int]) -> list[float]:
    """A box in a crop (perhaps resized) as a box in the image that the crop was cut from."""
    if not earlier:
        return list(box)
    left, top, right, bottom = earlier
    scale = ((right - left) / size[0], (bottom - top) / size[1])
    return [left + box[0] * scale[0], top + box[1] * scale[1], left + box[2] * scale[0], top + box[3] * scale[1]]


__getattr__ = renamed_names(
    __name__,
    {
        "Crowd": "MaxPeople",
        "Detector": "PairDetector",
        "DetectorDisagrees": "DetectorAgrees",
        "HandOutside": "HandsInside",
        "SmallHand": "MinHandSize",
    },
)
