"""Paths that must not lead out of a folder."""

import errno
import os
import re
from pathlib import Path

_CACHED_REPOSITORY = re.compile(r"(models|datasets|spaces|kernels)--.+")

_SHARED_BLOB = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}")


def refuse_link_outwards(path: Path, folder: Path) -> None:
    """Refuses a symbolic link out of a checkpoint's folder; see `refuse_outside`."""
    if path.is_symlink():
        refuse_outside(path, folder)


def refuse_outside(path: Path, folder: Path) -> None:
    """Refuses a path that leads out of a folder, links to files and to folders followed.

    huggingface_hub's cache consists of links: from `models--x--y/snapshots` to files in `blobs` beside it, and from
    there, in newer releases, to files in the `blobs` of the whole cache. These are taken if both are real folders of
    such a cache, wherever that is; a link in the place of `blobs` could make any file of this machine a part of the
    checkpoint.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{str(path)!r} is a link that leads back to itself") from None
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(folder)) and not _is_blob(target, folder.absolute()):
        raise ValueError(f"{str(path)!r} is a link to a place outside of {str(folder)!r}; put the file itself there")


def _is_blob(target: Path, folder: Path) -> bool:
    """Whether it belongs to the cached repository that the folder is a snapshot of, or a part of one."""
    for snapshots in (parent for parent in folder.parents if parent.name == "snapshots" and not parent.is_symlink()):
        repository = Path(os.path.realpath(snapshots.parent))
        if not _CACHED_REPOSITORY.fullmatch(snapshots.parent.name):
            continue
        own, shared = repository / "blobs", repository.parent / "blobs"
        if target.parent == own and not own.is_symlink():
            return True
        if target.is_relative_to(shared) and not shared.is_symlink():
            return bool(_SHARED_BLOB.fullmatch(target.relative_to(shared).as_posix()))
    return False
