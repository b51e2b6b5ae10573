"""Writing data sets: images first, `metadata.jsonl` last, so a folder that has one is complete."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from ..utils.atomic_files import write_then_rename
from ..utils.images import upright
from .rows import parse_row
from .sources import METADATA_NAME, PARQUET_METADATA_NAME


@contextmanager
def new_metadata(folder: str | os.PathLike) -> Iterator[TextIO]:
    """Yields a text file for the lines of `metadata.jsonl`, which appears in the folder once all are written."""
    folder = Path(folder)
    for name in (METADATA_NAME, PARQUET_METADATA_NAME):
        if (folder / name).exists():
            raise ValueError(f"{folder} must not hold a data set yet, but has a {name}.")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{METADATA_NAME}.{os.getpid()}.tmp"  # readers recognize what an interrupted writer left
    with (
        write_then_rename(unfinished, folder / METADATA_NAME) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        yield file


def write_dataset(
    folder: str | os.PathLike, rows: Iterable[Mapping[str, Any] | tuple[Mapping[str, Any], Image.Image | None]]
) -> int:
    """Checks rows one by one and writes them as a folder that the trainers read.

    Args:
        folder (path): created if it does not exist; must not hold a data set yet.
        rows (iterable): rows as `write_row` returns them, or pairs of a row and its image (`PIL.Image.Image`), which
            is saved as PNG under `images/`, upright.

    Returns:
        `int`: the number of rows written. Raises a `ValueError` for a bad row, or if there is none.
    """
    number = 0
    with new_metadata(folder) as file:
        for row in rows:
            row, image = row if isinstance(row, tuple) else (row, None)
            row = dict(row)
            if image is not None:
                row["file_name"] = f"images/{number:06d}.png"
                (Path(folder) / "images").mkdir(exist_ok=True)
                upright(image).save(Path(folder) / row["file_name"])
            parse_row(row, f"`rows`, row {number}", Path(folder))
            file.write(json.dumps(row, allow_nan=False) + "\n")
            number += 1
        if not number:
            raise ValueError("`rows` must hold at least one row.")
    return number
