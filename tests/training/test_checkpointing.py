"""Checkpoints exist complete or not at all, and work is never without one."""

import os
import shutil

import pytest

from diffusers_handiffuser.training import checkpointing
from diffusers_handiffuser.training.checkpointing import find_checkpoint, list_checkpoints, write_checkpoint


def put(text):
    return lambda folder: (folder / "weights").write_text(text)


def test_latest_ignores_what_is_half_written(tmp_path):
    write_checkpoint(tmp_path, {"step": 9}, put("nine"))
    for name in ("checkpoint-20.tmp", "checkpoint-30", "checkpoint-40.old.tmp", "checkpoint-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-20.tmp/trainer_state.json").write_text('{"step": 20}')
    (tmp_path / "checkpoint-50").write_text("a file")
    assert find_checkpoint(tmp_path, "latest") == tmp_path / "checkpoint-9"
    write_checkpoint(tmp_path, {"step": 10}, put("ten"))
    assert find_checkpoint(tmp_path, "latest").name == "checkpoint-10"  # by number, not by name
    assert not list(tmp_path.glob("*.tmp"))


def test_failing_to_write_leaves_the_old_ones(tmp_path):
    def write(folder):
        (folder / "half").write_text("")
        raise OSError("disk full")

    write_checkpoint(tmp_path, {"step": 1}, put("one"))
    with pytest.raises(OSError):
        write_checkpoint(tmp_path, {"step": 2}, write, total_limit=1)
    assert find_checkpoint(tmp_path, "latest").name == "checkpoint-1"
    assert find_checkpoint(tmp_path / "empty", "latest") is None


@pytest.mark.parametrize("dies_at", range(4))
def test_old_ones_go_only_after_the_new_one_is_complete(tmp_path, monkeypatch, dies_at):
    """Whichever renaming or deletion is the last that happens, there is a complete checkpoint."""
    write_checkpoint(tmp_path, {"step": 1}, put("one"))
    done = []

    class Died(BaseException):
        pass

    def counted(function):
        def call(*args, **kwargs):
            if len(done) == dies_at:
                raise Died
            done.append(function.__name__)
            return function(*args, **kwargs)

        return call

    def write(folder):
        put("two")(folder)
        monkeypatch.setattr(checkpointing.os, "replace", counted(os.replace))
        monkeypatch.setattr(checkpointing.shutil, "rmtree", counted(shutil.rmtree))

    try:
        write_checkpoint(tmp_path, {"step": 2}, write, total_limit=1)
    except Died:
        pass
    monkeypatch.undo()
    assert len(done) == dies_at or dies_at > 3
    latest = find_checkpoint(tmp_path, "latest")
    assert (latest / "weights").read_text() == ("one" if not done else "two")
    assert all((path / "weights").is_file() for path in list_checkpoints(tmp_path))


def test_writing_one_again_replaces_it(tmp_path):
    for text in ("first", "second"):
        write_checkpoint(tmp_path, {"step": 3}, put(text))
    assert (tmp_path / "checkpoint-3/weights").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
