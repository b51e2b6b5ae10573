"""Atomic writes: to a temporary path, then renamed.

A full disk, a signal or a fault in the middle of writing leaves what was there before as it was.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from safetensors import SafetensorError

from .contained_paths import refuse_outside

TEMPORARY_PREFIX = ".saving-"
_TEMPORARY_FILE = re.compile(r"\..*\.(?:(?P<process>[0-9a-f]{8}-\d+)-)?[\d-]+\.tmp(?:\.[^.]*)?", re.DOTALL)
_TEMPORARY_FOLDER = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}(?:(?P<process>[0-9a-f]{{8}}-\d+)-)?\w+")
_SECONDS_TO_KEEP = 24 * 3600
_WEIGHTS = re.compile(r"(.+?)(-\d{5}-of-\d{5})?\.safetensors")
_WEIGHTS_INDEX = re.compile(r"(.+)\.safetensors\.index(\.[^.]+)?\.json")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_in_use: set[Path] = set()
_tidied: set[Path] = set()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a name beside `path`, with its suffix, to write to; `path` is replaced by it at the end.

    Raises an `OSError` that names the file: what is there is no file (a FIFO, a device), or it cannot be written.
    """
    path = Path(path)
    refuse_special_file(path)
    tidy_once(path.parent)
    with errors_name(path), write_then_rename(temporary_path(path), path) as temporary:
        yield temporary


@contextlib.contextmanager
def write_then_rename(temporary: Path, path: Path) -> Iterator[Path]:
    """Yields `temporary` to write to, for a format whose unfinished files have a name of their own.

    At the end it replaces `path`; after an error it is removed.
    """
    with _used(temporary):
        try:
            temporary.unlink(missing_ok=True)
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """The name that a thread of this process writes to before it is renamed to `path`."""
    return path.with_name(f".{path.stem}.{_process()}-{threading.get_ident()}.tmp{path.suffix}")


def refuse_special_file(path: str | os.PathLike) -> None:
    """Raises an `OSError` if there is a FIFO, a device or a socket, which a new file would take the place of."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(f"{os.fspath(path)!r} is no file but a FIFO, a device or a socket; nothing is written to it")


@contextlib.contextmanager
def atomic_write_dir(folder: str | os.PathLike) -> Iterator[Path]:
    """Yields an empty folder inside `folder` to write to; its files take their places in `folder` at the end.

    Other files in `folder` stay, but for weights of the same name in more or fewer shards, which loaders would take
    for the new ones. What cannot be renamed in one step is a folder: a process that is killed during the renaming,
    which needs no room on the disk, leaves some new and some old files.

    What killed processes have left behind, in this folder or as files, is removed after a day, and at once if
    this process wrote it. Raises an `OSError` that names the place of what cannot be written, and a `ValueError` if a
    folder inside is a link that leads out: its files would be replaced where they are.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    tidy(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{_process()}-", dir=folder))
    try:
        with _used(temporary), errors_name(folder, temporary):
            yield temporary
        written: dict[Path, set[str]] = {}
        files = sorted(filter(Path.is_file, temporary.rglob("*")), key=lambda path: path.suffix == ".json")
        for path in files:
            target = folder / path.relative_to(temporary)
            refuse_special_file(target)
            refuse_outside(target.parent, folder)
        for path in files:
            target = folder / path.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            written.setdefault(target.parent, set()).add(target.name)
        for place, names in written.items():
            _remove_superseded(place, names)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):  # it holds what was saved
                folder.rmdir()


@contextlib.contextmanager
def errors_name(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Makes an `OSError` that names the file of what a full disk raises while one is written.

    Args:
        path (`Path`): what is written: a file, or a folder, of which the part is named that was written last.
        temporary (`Path`, *optional*): where a folder is written first.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) and error.filename is None else None
        if isinstance(error, SafetensorError) and (found := _OS_ERROR.search(str(error))):
            number = int(found[1])
        elif isinstance(error, RuntimeError) and "inline_container.cc" in str(error):  # torch does not say why
            number = errno.ENOSPC if _is_full(path) else errno.EIO
        if number is None:
            raise
        latest = path if temporary is None else path / _latest_part(temporary)
        shown = Path(*(part for part in latest.parts if not part.startswith(TEMPORARY_PREFIX)))
        raise OSError(number, os.strerror(number), str(shown)) from error


def _latest_part(temporary: Path) -> Path:
    """The folder inside, or the folder itself, in which something was made last."""
    folders = [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]
    return max(folders, key=lambda path: (path.stat().st_mtime_ns, len(path.parts))).relative_to(temporary)


def _is_full(path: Path) -> bool:
    place = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(place).free < 2**20


@contextlib.contextmanager
def _used(temporary: Path) -> Iterator[None]:
    _in_use.add(temporary.absolute())
    try:
        yield
    finally:
        _in_use.discard(temporary.absolute())


def _process() -> str:
    """Names this process: its number and, as other machines and containers may use the same folder, its machine."""
    machine = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{zlib.crc32(machine.encode()):08x}-{os.getpid()}"


def tidy_once(folder: Path) -> None:
    """As `tidy`, but in each folder once in a process: it may hold very many files, each of which is saved alone."""
    if folder.absolute() not in _tidied:
        _tidied.add(folder.absolute())
        tidy(folder)


def tidy(folder: Path) -> None:
    """Removes temporary paths that killed processes left in a folder.

    These are the ones older than a day, and those of an earlier process with this one's number on this machine.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _TEMPORARY_FILE.fullmatch(path.name) or _TEMPORARY_FOLDER.fullmatch(path.name)
        if match is None or path.absolute() in _in_use:
            continue
        with contextlib.suppress(OSError):  # another process was faster, or it is not ours to remove
            status = path.lstat()
            if match["process"] != _process() and time.time() - status.st_mtime < _SECONDS_TO_KEEP:
                continue
            if stat.S_ISDIR(status.st_mode) and path.name.startswith(TEMPORARY_PREFIX):
                shutil.rmtree(path, ignore_errors=True)
            elif stat.S_ISREG(status.st_mode):
                path.unlink()


def _remove_superseded(folder: Path, written: Collection[str]) -> None:
    families = {match[1] for match in map(_WEIGHTS.fullmatch, written) if match}
    for path in folder.iterdir():
        weights, index = _WEIGHTS.fullmatch(path.name), _WEIGHTS_INDEX.fullmatch(path.name)
        family = weights[1] if weights else f"{index[1]}{index[2] or ''}" if index else None
        if family in families and path.name not in written:
            path.unlink()
