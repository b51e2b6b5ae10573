"""Selects the files of a folder that an upload sends: once, so that the files checked are the files sent."""

import fnmatch
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from ..utils.atomic_files import TEMPORARY_PREFIX
from ..utils.contained_paths import refuse_link_outwards

_NOT_FOR_THE_HUB = ("checkpoint-*/**", "samples/**", "logs/**", "log.jsonl", ".cache/**", f"{TEMPORARY_PREFIX}*/**")
"""A trainer's by-products and caches."""
_NEVER = (".git", ".cache")
"""Folders that the Hub does not accept, at any depth."""
_HARMLESS = (".gitattributes", ".gitignore")


def files_to_upload(
    folder: str | os.PathLike, include: Collection[str] = (), hard_links: bool = False
) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder that an upload sends.

    Left out are a trainer's checkpoints to resume from, samples and logs, `.git` and `.cache`, and names that begin
    with a dot (`.env`, `.ssh`), except `.gitattributes` and `.gitignore`.

    Args:
        folder (`str` or `os.PathLike`): may itself be a link.
        include (collection of `str`): files and folders inside, as paths with `/`, that are sent although their name,
            or that of a folder above them, begins with a dot.
        hard_links (`bool`): also send files that have another name outside the folder: whoever made the folder may
            have linked a file of yours into it.

    Returns:
        `tuple[dict[str, Path], list[str]]`: the files by their names in the repository, in a fixed order, and the
        names of left-out files that one might expect there.

    Raises:
        ValueError: the folder has a link that leads out of it or nowhere, a hard link, a special file, or nothing
            under a name of `include`.
    """
    folder = Path(folder)
    chosen = {name.strip("/"): False for name in include}
    files: dict[str, Path] = {}
    left_out: list[str] = []
    inodes: dict[tuple[int, int], set[str]] = {}
    num_links: dict[tuple[int, int], int] = {}
    for name, path in _walk(folder, folder):
        if _is_hidden(name) or (path.is_symlink() and _is_hidden(_target(path, folder))):
            choices = [choice for choice in chosen if name == choice or name.startswith(f"{choice}/")]
            chosen.update(dict.fromkeys(choices, True))
            if not choices:
                left_out.append(name)
                continue
        status = _status(path, folder)
        if stat.S_ISDIR(status.st_mode):
            left_out.append(name)
            continue
        files[name] = path
        if place := _target(path, folder):
            inode = (status.st_dev, status.st_ino)
            inodes.setdefault(inode, set()).add(place)
            num_links[inode] = status.st_nlink
    for choice, is_there in chosen.items():
        if not is_there:
            raise ValueError(f"`include`: {str(folder)!r} has no file {choice!r}, or none that is else left out")
    for inode, places in inodes.items():
        if num_links[inode] > len(places) and not hard_links:
            raise ValueError(
                f"{str(folder / min(places))!r} has another name outside of {str(folder)!r} (it is a hard link), and "
                "may be a file of yours that does not belong there; copy it, or pass `hard_links=True` (--hard-links)"
            )
    return files, left_out


def _walk(folder: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """Everything but folders, and links to folders; without what is never sent."""
    with os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = place / entry.name
            name = path.relative_to(folder).as_posix()
            is_folder = entry.is_dir(follow_symlinks=False)
            compared = f"{name}/" if is_folder or entry.is_symlink() else name
            if entry.name in _NEVER or any(fnmatch.fnmatchcase(compared, pattern) for pattern in _NOT_FOR_THE_HUB):
                continue
            if is_folder:
                yield from _walk(folder, path)
            else:
                yield name, path


def _is_hidden(name: str) -> bool:
    *folders, file = name.split("/")
    return any(part.startswith(".") for part in folders) or (file.startswith(".") and file not in _HARMLESS)


def _target(path: Path, folder: Path) -> str:
    """The resolved path of a file or link, relative to the folder; "" if it is outside."""
    target, root = os.path.realpath(path), os.path.realpath(folder)
    return Path(target).relative_to(root).as_posix() if Path(target).is_relative_to(root) else ""


def _status(path: Path, folder: Path) -> os.stat_result:
    """The status of a regular file, or of a folder that a link leads to."""
    try:
        status = path.stat()
    except OSError as error:
        if path.is_symlink():
            raise ValueError(f"{str(path)!r} is a link that leads nowhere ({error.strerror}); remove it") from None
        raise
    refuse_link_outwards(path, folder)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError(f"{str(path)!r} is neither a file nor a folder; remove it")
    return status
