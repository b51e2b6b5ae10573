"""Image paths in rows: they may only name plain files inside the folder of their data set.

A path typed on the command line may lead anywhere, but a path in a row comes from whoever made the data set. It is
therefore never passed to fsspec, whose chained file systems (`reference::file://...`) can run code, and it is checked
twice: its text when the row is read, its target when the file is opened.
"""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..utils.contained_paths import refuse_outside
from ..utils.messages import is_whole_text, one_line

MAX_IMAGE_BYTES = 2**28


def check_stored_path(path: str) -> str:
    """Returns `path` if it is a relative path that stays inside its folder; otherwise raises a `ValueError`.

    The absolute paths of every system are refused on every system, Windows drives and servers included.
    """
    if not is_whole_text(path):
        raise ValueError(f"must be a path, but {one_line(repr(path))} is no text that UTF-8 has")
    windows = PureWindowsPath(path)
    leaves = windows.anchor or PurePosixPath(path).is_absolute() or ".." in windows.parts
    if not path or leaves or "\0" in path or "::" in path or "://" in path:
        raise ValueError(f"must be a path inside the folder, but is {one_line(repr(path))}")
    return path


def stored_file_size(path: Path, folder: Path | None = None) -> int:
    """Size in bytes of an image file that is safe to open.

    Args:
        path (`Path`): the file.
        folder (`Path`, *optional*): folder that it must lie in after all links are followed.

    Raises `OSError` if there is no such file, and `ValueError` if it is not a plain file (opening a FIFO would block),
    lies outside the folder or is larger than 256 MiB.
    """
    if folder is not None:
        refuse_outside(path, folder)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a plain file")
    if status.st_size > MAX_IMAGE_BYTES:
        raise ValueError(f"{path} has more than {MAX_IMAGE_BYTES} bytes")
    return status.st_size


def inside_of(path: str, folders: Iterable[Path]) -> tuple[Path, str] | None:
    """The first folder that contains an absolute path, and the path relative to it; `None` if no folder does."""
    for folder in folders:
        for root in (folder.absolute(), folder.resolve()):
            if Path(path).is_relative_to(root):
                return root, Path(path).relative_to(root).as_posix()
    return None
