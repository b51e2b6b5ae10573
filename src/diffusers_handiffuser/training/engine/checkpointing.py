"""Checkpoint folders `checkpoint-<step>` that exist complete or not at all.

A checkpoint is written to `checkpoint-<step>.tmp`, flushed to the disk and renamed when complete; older ones are
deleted only after that, and are renamed before they are deleted. What a killed run left half-written is never read,
and is deleted when the run is resumed.
"""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ...utils.atomic_files import errors_name
from ...utils.messages import reason_of

STATE_NAME = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]*)")
_HALF_WRITTEN = re.compile(r"checkpoint-[0-9]+(\.old)?\.tmp")


def list_checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = []
    for path in Path(output_dir).glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match and (path / STATE_NAME).is_file():
            found.append((int(match.group(1)), path))
    return [path for _, path in sorted(found)]


def write_checkpoint(
    output_dir: str | os.PathLike,
    state: dict,
    write: Callable[[Path], None],
    total_limit: int | None = None,
    is_main: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> Path:
    """Writes `checkpoint-<state["step"]>`: what `write(folder)` puts there, and `state` as JSON.

    `total_limit` complete checkpoints are kept, the newest ones. Of several processes all call this; `wait` lets each
    wait for the others, and one is the main one. Raises an `OSError` that names the part that cannot be written.
    """
    path = Path(output_dir) / f"checkpoint-{state['step']}"
    temporary = path.with_name(f"{path.name}.tmp")
    if is_main:
        _remove(temporary)
        temporary.mkdir(parents=True)
    wait()
    try:
        with errors_name(path, temporary):
            write(temporary)
            wait()
            if is_main:
                (temporary / STATE_NAME).write_text(json.dumps(state, indent=2))
                _flush(temporary)
    except OSError:
        if is_main:
            _remove(temporary)  # it may be what filled the disk
        raise
    if is_main:
        if os.path.lexists(path):
            os.replace(path, _doomed(path))
        os.replace(temporary, path)
        tidy(output_dir, total_limit)
    wait()
    return path


def tidy(output_dir: str | os.PathLike, total_limit: int | None = None) -> None:
    """Deletes all complete checkpoints but the newest `total_limit`, and what killed runs have left half-written."""
    for old in list_checkpoints(output_dir)[:-total_limit] if total_limit is not None else ():
        os.replace(old, _doomed(old))
    for rest in Path(output_dir).glob("checkpoint-*.tmp"):
        if _HALF_WRITTEN.fullmatch(rest.name):
            _remove(rest)


def _doomed(path: Path) -> Path:
    """A free name under which a checkpoint is no checkpoint any more."""
    doomed = path.with_name(f"{path.name}.old.tmp")
    _remove(doomed)
    return doomed


def _remove(path: Path) -> None:
    """Deletes a folder, or a file or link in its place; the target of a link stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Flushes a folder and its files to disk, so that a power failure leaves no name without content."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_state(checkpoint: str | os.PathLike) -> dict:
    """What `write_checkpoint` stored as `state`: `step`, `seconds` and `ema`.

    Raises a `ValueError` that names the file if it does not hold them.
    """
    path = Path(checkpoint) / STATE_NAME
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        step, seconds, ema = state["step"], state["seconds"], state["ema"]
        if type(step) is not int or not 0 <= step < _MAX_STEP:
            raise ValueError(f"`step` must be a whole number from 0, got {step!r}")
        if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
            raise ValueError(f"`seconds` must be a number from 0, got {seconds!r}")
        if not isinstance(ema, dict) or not all(isinstance(entry, dict) for entry in ema.values()):
            raise ValueError("`ema` must hold the state of each average")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else reason_of(error)
        raise ValueError(f"Cannot resume from {str(path)!r}: {reason}.") from None
    return state


_MAX_STEP = 2**53
"""The largest integer that all JSON readers agree on."""


def find_checkpoint(output_dir: str | os.PathLike, resume_from: str | None) -> Path | None:
    """The folder for `--resume_from_checkpoint`: a path, a name inside `output_dir`, or "latest".

    "latest" with no complete checkpoint is None: the run starts from the beginning.
    """
    if resume_from is None:
        return None
    if resume_from == "latest":
        return next(reversed(list_checkpoints(output_dir)), None)
    for path in (Path(resume_from), Path(output_dir) / resume_from):
        if (path / STATE_NAME).is_file():
            return path
    raise FileNotFoundError(f"`resume_from_checkpoint`: {resume_from} is not a complete checkpoint folder")
