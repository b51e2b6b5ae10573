"""Rows whose image shows a hand drawn wrong on purpose, with the image without the defect beside it.

Column `defect` is null or says which defect it is, see [`Defect`]; `good_file_name` names the image without it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..studio.defects import Defect
from .rows import HandRow, Picture, PictureError, RowError
from .stored_paths import check_stored_path

DEFECT_COLUMN = "defect"
GOOD_COLUMN = "good_file_name"


def parse_defect(row: HandRow) -> Defect | None:
    """The defect of a row's image, if it has one; raises a `RowError` if the column is wrong."""
    value = row.columns.get(DEFECT_COLUMN)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise RowError(row.where, [(DEFECT_COLUMN, f"must be an object or null, but is a {type(value).__name__}")])
    try:
        return Defect(**value)
    except (TypeError, ValueError) as error:
        raise RowError(row.where, [(DEFECT_COLUMN, f"is not a defect: {error}")]) from error


def check_defect(row: HandRow, folder: Path | str | None) -> Defect | None:
    """Checks a row's defect and the image without it, which must be as large as the row's own.

    Args:
        row ([`HandRow`]): a row with an image.
        folder (`Path` or `str`, *optional*): as in `parse_row`; the images of rows in no folder are not checked.

    Returns:
        [`Defect`], or `None` if the row has none. Raises a `RowError` or a `PictureError`.
    """
    defect, name = parse_defect(row), row.columns.get(GOOD_COLUMN)
    if name is None and defect is None:
        return None
    if not isinstance(name, str):
        raise RowError(row.where, [(GOOD_COLUMN, f"must be a path inside the folder, but is {type(name).__name__}")])
    try:
        path = check_stored_path(name)
    except ValueError as error:
        raise RowError(row.where, [(GOOD_COLUMN, str(error))]) from error
    if folder is None or row.picture is None:
        return defect
    good = (
        Picture(row.where, folder / path, folder)
        if isinstance(folder, Path)
        else Picture(row.where, f"{folder}/{path}")
    )
    try:
        size = good.open().size
    except FileNotFoundError as error:
        raise PictureError(f"{row.where}: {error}") from error
    if size != row.picture.size:
        raise RowError(row.where, [(GOOD_COLUMN, f"is of {size} pixels, but the row's image of {row.picture.size}")])
    return defect


def refuse_defect(columns: Mapping[str, Any], where: str) -> None:
    """Raises a `RowError` if the image of a row is drawn wrong on purpose: it must not be learned from."""
    if columns.get(DEFECT_COLUMN) is not None:
        reason = (
            f"says that a hand of the image is drawn wrong on purpose; `{GOOD_COLUMN}` names the image to train on"
        )
        raise RowError(where, [(DEFECT_COLUMN, reason)])
