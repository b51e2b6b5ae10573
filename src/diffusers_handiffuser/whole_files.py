"""Files and folders that appear whole or not at all: written aside, then renamed.

A full disk, a signal or a fault in the middle of writing leaves what was there before as it was.
"""

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

ASIDE_PREFIX = ".saving-"
_WEIGHTS = re.compile(r"(.+?)(-\d{5}-of-\d{5})?\.safetensors")
_WEIGHTS_INDEX = re.compile(r"(.+)\.safetensors\.index(\.[^.]+)?\.json")


@contextlib.contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a name beside `path`, with its suffix, to write to; `path` is replaced by it at the end."""
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.tmp{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_aside(folder: str | os.PathLike) -> Iterator[Path]:
    """Yields an empty folder inside `folder` to write to; its files take their places in `folder` at the end.

    Other files in `folder` stay, but for weights of the same name in more or fewer shards, which loaders would take
    for the new ones. What cannot be renamed in one step is a folder: a process that is killed during the renaming,
    which needs no room on the disk, leaves some new and some old files.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE_PREFIX, dir=folder))
    try:
        yield aside
        written: dict[Path, set[str]] = {}
        for path in sorted(filter(Path.is_file, aside.rglob("*")), key=lambda path: path.suffix == ".json"):
            target = folder / path.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            written.setdefault(target.parent, set()).add(target.name)
        for place, names in written.items():
            _remove_superseded(place, names)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):  # it holds what was saved
                folder.rmdir()


def _remove_superseded(folder: Path, written: Collection[str]) -> None:
    families = {match[1] for match in map(_WEIGHTS.fullmatch, written) if match}
    for path in folder.iterdir():
        weights, index = _WEIGHTS.fullmatch(path.name), _WEIGHTS_INDEX.fullmatch(path.name)
        family = weights[1] if weights else f"{index[1]}{index[2] or ''}" if index else None
        if family in families and path.name not in written:
            path.unlink()
