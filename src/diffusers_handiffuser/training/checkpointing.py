"""Checkpoint folders `checkpoint-<step>` that exist complete or not at all.

A checkpoint is written to `checkpoint-<step>.tmp` and renamed when complete; older ones are deleted only after that.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

STATE_NAME = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def list_checkpoints(output_dir) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = []
    for path in Path(output_dir).glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match and (path / STATE_NAME).is_file():
            found.append((int(match.group(1)), path))
    return [path for _, path in sorted(found)]


def write_checkpoint(output_dir, state: dict, write: Callable[[Path], None], total_limit: int | None = None) -> Path:
    """Writes `checkpoint-<state["step"]>`: what `write(folder)` puts there, and `state` as JSON.

    `total_limit` complete checkpoints are kept, the newest ones.
    """
    path = Path(output_dir) / f"checkpoint-{state['step']}"
    aside = path.with_name(f"{path.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    (aside / STATE_NAME).write_text(json.dumps(state, indent=2))
    if path.exists():
        replaced = path.with_name(f"{path.name}.old.tmp")
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(path, replaced)
        os.replace(aside, path)
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        os.replace(aside, path)
    if total_limit is not None:
        for old in list_checkpoints(output_dir)[:-total_limit]:
            shutil.rmtree(old, ignore_errors=True)
    return path


def read_state(checkpoint) -> dict:
    return json.loads((Path(checkpoint) / STATE_NAME).read_text())


def find_checkpoint(output_dir, resume_from: str | None) -> Path | None:
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
