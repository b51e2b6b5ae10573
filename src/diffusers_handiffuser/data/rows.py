"""One row of a data set: its format, parser and writer.

A row holds `text`; the seven `HandParams` fields as flat lists under their own names; if it has an image, `file_name`
(a path inside the folder) or `image` (a path, or what Hugging Face `datasets` stores for an image); `source` (a word
for the origin of the row); and `crop` (null, or `[left, top, right, bottom]` in pixels of the image that this one was
cropped from). Images are the way up that their EXIF says. Stage 1 needs no images. Other columns are kept but not
read.

Rows are untrusted; `stored_paths` defines which files they may name.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..hands import HandParams, ImageCrop
from ..utils.images import IMAGE_FORMATS, upright_rgb, upright_size
from ..utils.messages import install_extra, is_whole_text, printable
from .stored_paths import MAX_IMAGE_BYTES, check_stored_path, stored_file_size

IMAGE_COLUMNS = ("file_name", "image")
_NUMBERS = (int, float, np.integer, np.floating)


class RowError(ValueError):
    """A row that cannot be used.

    Args:
        where (`str`): file and row.
        problems (`list` of `(column, reason)`): the column is `""` for a problem of the whole row. The message
            shows the first one. A `DataLoader` raises errors of its workers again with their traceback as `where`
            and without problems.
    """

    def __init__(self, where: str, problems: Sequence[tuple[str, str]] = ()):
        super().__init__(where, problems)  # by which it is pickled
        self.where, self.problems = where, list(problems)

    def __str__(self) -> str:
        if not self.problems:
            return self.where
        column, reason = self.problems[0]
        return f"{self.where}: `{column}` {reason}" if column else f"{self.where}: {reason}"


class PictureError(ValueError):
    """An image that cannot be read; the message names the file and row."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that has not been decoded yet: a file or its bytes.

    Args:
        where (`str`): file and row, for messages.
        content (`Path`, `str` or `bytes`): a local file, the URL of a file on the Hub (`hf://datasets/...`), or the
            bytes of an image that is not a file of its own.
        folder (`Path`, *optional*): folder that the file must lie in.

    Every method raises a [`PictureError`] with file and row if the image cannot be read.
    """

    where: str
    content: Path | str | bytes
    folder: Path | None = None

    @property
    def path(self) -> Path | None:
        """The local file, not checked yet; `None` for a URL or bytes."""
        return self.content if isinstance(self.content, Path) else None

    @property
    def num_bytes(self) -> int:
        """Size of the encoded image. Raises a `FileNotFoundError` that names the row if there is no such file."""
        if not isinstance(self.content, Path):
            return len(self.read())
        with self._reading():
            try:
                return stored_file_size(self.content, self.folder)
            except FileNotFoundError as error:
                missing = error
        name = printable(str(self.content))
        raise FileNotFoundError(f"{self.where}: image {name} not found") from missing

    def read(self) -> bytes:
        """The encoded image."""
        if isinstance(self.content, bytes):
            return self.content
        with self._reading():
            if isinstance(self.content, Path):
                stored_file_size(self.content, self.folder)
                return self.content.read_bytes()
            from huggingface_hub import HfFileSystem

            # Not fsspec.open, which also accepts chained file systems as a file name.
            with HfFileSystem().open(self.content, "rb") as file:
                if file.size > MAX_IMAGE_BYTES:
                    raise ValueError(f"it has more than {MAX_IMAGE_BYTES} bytes")
                return file.read()

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image, in pixels, from the file header."""
        return self._opened(upright_size)

    @cached_property
    def format(self) -> str:
        """`"JPEG"`, `"PNG"` and so on, from the file header."""
        return self._opened(lambda image: image.format)

    def open(self) -> Image.Image:
        """The decoded image, RGB and upright, see `upright_rgb`."""
        return self._opened(upright_rgb)

    def _opened(self, use: Callable[[Image.Image], Any]) -> Any:
        with self._reading():
            if isinstance(self.content, Path):
                stored_file_size(self.content, self.folder)
            with Image.open(self.path or io.BytesIO(self.read()), formats=IMAGE_FORMATS) as image:
                return use(image)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except PictureError:
            raise
        except Exception as error:  # Pillow's decoders fail in many ways on damaged images
            name = "" if isinstance(self.content, bytes) else f" {printable(str(self.content))}"
            raise PictureError(f"{self.where}: cannot read image{name}: {printable(str(error))}") from error

    def square(self, resolution: int) -> np.ndarray:
        """`(resolution, resolution, 3)` uint8: centre crop over the shorter side, resized."""
        image = self.open()
        crop = ImageCrop.centred_square(*image.size)
        if crop.size != image.size:
            image = image.crop(crop.box)
        if crop.size != (resolution, resolution):
            image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
        return np.asarray(image)


@dataclass(frozen=True, eq=False)
class HandRow:
    """One checked row.

    Args:
        text (`str`): the caption.
        fields (`dict[str, np.ndarray]`): the seven `HandParams` fields, float32; `hand_visible` bool.
        picture ([`Picture`], *optional*): not decoded yet.
        where (`str`): file and row, for messages.
        columns (`dict`): the row as read, without image bytes.
    """

    text: str
    fields: dict[str, np.ndarray]
    picture: Picture | None = None
    where: str = ""
    columns: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def hand_params(self) -> HandParams:
        """The hands of one person, no batch dimension."""
        return HandParams(**{name: torch.from_numpy(value) for name, value in self.fields.items()})


def parse_row(row: Any, where: str, folder: Path | str | None = None) -> HandRow:
    """Checks a row and converts its columns.

    Args:
        row (`Mapping`): a row as read from a file or from `datasets`.
        where (`str`): file and row, for messages.
        folder (`Path` or `str`, *optional*): folder that image paths are relative to and must stay in, or its URL for
            a data set on the Hub. Without one, images must be bytes.

    Raises a `RowError` that lists every problem.
    """
    if not isinstance(row, Mapping):
        raise RowError(where, [("", f"must be a JSON object, but is a {type(row).__name__}")])
    problems: list[tuple[str, str]] = []
    parsed = {name: _parse_field(row, name, size, problems) for name, size in HandParams.FIELDS.items()}
    fields = {name: values for name, values in parsed.items() if values is not None}
    text = row.get("text")
    if not isinstance(text, str):
        problems.append(("text", f"must be a string, but is {type(text).__name__}"))
    elif not is_whole_text(text):
        problems.append(("text", f"must be text that UTF-8 has, but is {text!a}"))
    image, columns = _parse_image(row, where, folder, problems), dict(row)
    if isinstance(row.get("image"), Mapping):
        del columns["image"]
    if problems:
        raise RowError(where, problems)
    return HandRow(str(text), fields, image, where, columns)


def require_image(image: Picture | None, where: str) -> Picture:
    """Returns the image of a row; raises a `RowError` if it has none."""
    if image is None:
        raise RowError(where, [("", "neither `file_name` nor `image` names an image")])
    return image


def parse_json(line: bytes, where: str) -> Any:
    """Parses a line of JSON; raises a `RowError` if it is not valid."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(where, [("", f"not a line of JSON ({error})")]) from error


def write_row(hand_params: HandParams, text: str, **columns: Any) -> dict[str, Any]:
    """The row of one person, ready for JSON.

    Args:
        hand_params ([`HandParams`]): no batch dimension.
        text (`str`): the caption.
        columns: `file_name`, `source`, `crop` and any other columns.
    """
    if hand_params.batch_shape:
        raise ValueError(f"`hand_params` must be of one person, got batch shape {tuple(hand_params.batch_shape)}.")
    return {"text": text, **hand_params.to_dict(), "source": None, "crop": None, **columns}


def stack_hand_params(rows: Iterable[HandRow]) -> HandParams:
    """The hands of several rows, batch shape `(N,)`."""
    rows = list(rows)
    return HandParams(
        **{name: torch.from_numpy(np.stack([row.fields[name] for row in rows])) for name in HandParams.FIELDS}
    )


def hand_features(images: bool = True) -> Any:
    """The columns of a row as `datasets.Features`, for `Dataset.from_list(rows, features=...)` and the like.

    Args:
        images (`bool`): `False` for a data set of stage 1, which has no `image` column.
    """
    datasets = import_datasets("the schema of a data set")
    columns = {"image": datasets.Image()} if images else {}
    columns["text"] = datasets.Value("string")
    for name, size in HandParams.FIELDS.items():
        dtype = "bool" if name == "hand_visible" else "float32"
        columns[name] = datasets.List(datasets.Value(dtype), length=size)
    columns |= {"source": datasets.Value("string"), "crop": datasets.List(datasets.Value("float32"))}
    return datasets.Features(columns)


def import_datasets(what: str) -> Any:
    """Imports Hugging Face `datasets`; the `ImportError` says what needs it and how to install it."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(f"{what} needs Hugging Face datasets: {install_extra('train')}") from error
    return datasets


def _parse_field(row: Mapping, name: str, size: int, problems: list) -> np.ndarray | None:
    if name not in row:
        problems.append((name, "is missing"))
        return None
    value = row[name]
    wanted = "two of true and false" if name == "hand_visible" else f"a list of {size} numbers"
    if not isinstance(value, list | tuple | np.ndarray):
        problems.append((name, f"must be {wanted}, but is {_shown(value)}"))
        return None
    # numpy would accept the string "1.0" and booleans as numbers.
    kinds = (bool, np.bool_, *_NUMBERS) if name == "hand_visible" else _NUMBERS
    for number in value:
        if not isinstance(number, kinds) or (isinstance(number, bool) and bool not in kinds):
            problems.append((name, f"must be {wanted}, but holds {_shown(number)}"))
            return None
    try:
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused below
            values = np.asarray(value, np.float32)
    except OverflowError as error:
        problems.append((name, f"must be {wanted} ({error})"))
        return None
    if values.shape != (size,):
        problems.append((name, f"must be {wanted}, but has shape {values.shape}"))
    elif not np.isfinite(values).all():
        problems.append((name, "holds a value that is not finite"))
    elif name == "camera" and not values[0] > 0:
        problems.append((name, f"must have a positive scale in its first number, but has {values[0]}"))
    elif name == "hand_visible":
        if np.isin(values, (0, 1)).all():
            return values.astype(bool)
        problems.append((name, f"must be {wanted}, but is {row[name]}"))
    return values


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str | bytes | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


def _parse_image(row: Mapping, where: str, folder: Path | str | None, problems: list) -> Picture | None:
    column = next((name for name in IMAGE_COLUMNS if row.get(name) is not None and row.get(name) != ""), None)
    if column is None:
        return None
    value = row[column]
    if column == "image" and isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes):
            return Picture(where, value["bytes"])
        if value.get("bytes") is None and value.get("path") is None and "path" in value:
            return None  # how `datasets` stores a missing image
        value = value.get("path", value)
    if not isinstance(value, str):
        problems.append((column, f"must be a path inside the folder, but is {type(value).__name__}"))
        return None
    try:
        path = check_stored_path(value)
    except ValueError as error:
        problems.append((column, str(error)))
        return None
    if folder is None:
        problems.append((column, f"names the file {value!r}, but these rows lie in no folder: store its bytes"))
        return None
    if isinstance(folder, str):
        return Picture(where, f"{folder}/{path}")
    return Picture(where, folder / path, folder)
