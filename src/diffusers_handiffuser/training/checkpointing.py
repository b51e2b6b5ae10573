"""Checkpoint folders `checkpoint-<step>` that exist complete or not at all.

A checkpoint is written to `checkpoint-<step>.tmp`, flushed to the disk and renamed when complete; older ones are
deleted only after that, and are renamed before they are deleted. What a killed run left half-written is never seen,
and is deleted when the run goes on.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

STATE_NAME = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


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
    wait for the others, and one is the main one.
    """
    path = Path(output_dir) / f"checkpoint-{state['step']}"
    aside = path.with_name(f"{path.name}.tmp")
    if is_main:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    wait()
    try:
        write(aside)
        wait()
        if is_main:
            (aside / STATE_NAME).write_text(json.dumps(state, indent=2))
            _flush(aside)
    except OSError:
        if is_main:
            shutil.rmtree(aside, ignore_errors=True)  # of a full disk it may be what filled it
        raise
    if is_main:
        if path.exists():
            os.replace(path, _doomed(path))
        os.replace(aside, path)
        tidy(output_dir, total_limit)
    wait()
    return path


def tidy(output_dir: str | os.PathLike, total_limit: int | None = None) -> None:
    """Deletes all complete checkpoints but the newest `total_limit`, and what killed runs have left half-written."""
    for old in list_checkpoints(output_dir)[:-total_limit] if total_limit is not None else ():
        os.replace(old, _doomed(old))
    for rest in Path(output_dir).glob("checkpoint-*.tmp"):
        shutil.rmtree(rest, ignore_errors=True)


def _doomed(path: Path) -> Path:
    """A free name under which a checkpoint is no checkpoint any more."""
    doomed = path.with_name(f"{path.name}.old.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    return doomed


def _flush(folder: Path) -> None:
    """Waits until a folder's files are on the disk, so that not even a power failure leaves a name without content."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_state(checkpoint: str | os.PathLike) -> dict:
    return json.loads((Path(checkpoint) / STATE_NAME).read_text())


def find_checkpoint(output_dir: str | os.PathLike, resume_from: str | None) -> Path | None:
    """The folder that `--resume_from_checkpoint` means: None, a path, a name inside `output_dir`, or "latest".

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
