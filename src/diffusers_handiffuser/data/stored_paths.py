"""The picture files that rows name: plain files inside the folder of their data set, and nothing else.

What is typed on a command line may lead anywhere; what stands in a row comes from whoever made the data set. A row's
path is therefore never given to fsspec, whose chains of file systems (`reference::file://...`) can run code, and it is
checked twice: its text when the row is read, and where it leads when the file is opened.
"""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..utils.contained_paths import refuse_outside
from ..utils.messages import is_whole_text, one_line

MAX_PICTURE_BYTES = 2**28


def check_stored_path(path: str) -> str:
    """Returns a path inside a folder, as a row may name it; `ValueError` with the reason if it is none.

    Absolute paths are refused in the forms of every system, on every system: a drive or a server of Windows, too.
    """
    if not is_whole_text(path):
        raise ValueError(f"must be a path, but {one_line(repr(path))} is no text that UTF-8 has")
    windows = PureWindowsPath(path)
    leaves = windows.anchor or PurePosixPath(path).is_absolute() or ".." in windows.parts
    if not path or leaves or "\0" in path or "::" in path or "://" in path:
        raise ValueError(f"must be a path inside the folder, but is {one_line(repr(path))}")
    return path


def stored_file_size(path: Path, folder: Path | None = None) -> int:
    """Bytes of a picture file, which may be opened then.

    Args:
        path (`Path`): of the file.
        folder (`Path`, *optional*): what it must lie in once all links are followed.

    Raises `OSError` if there is no such file, and `ValueError` if it is no plain file (opening a FIFO would wait for
    ever), lies elsewhere, or is larger than a picture may be.
    """
    if folder is not None:
        refuse_outside(path, folder)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a plain file")
    if status.st_size > MAX_PICTURE_BYTES:
        raise ValueError(f"{path} has more than {MAX_PICTURE_BYTES} bytes")
    return status.st_size


def inside_of(path: str, folders: Iterable[Path]) -> tuple[Path, str] | None:
    """The first of the folders that an absolute path names, and the path from there; `None` if it is in none."""
    for folder in folders:
        for root in (folder.absolute(), folder.resolve()):
            if Path(path).is_relative_to(root):
                return root, Path(path).relative_to(root).as_posix()
    return None
