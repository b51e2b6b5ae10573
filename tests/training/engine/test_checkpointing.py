"""Checkpoints exist complete or not at all, and work is never without one."""

import contextlib
import json
import os
import shutil
import signal

import pytest

from diffusers_handiffuser.training.engine import checkpointing
from diffusers_handiffuser.training.engine.checkpointing import (
    STATE_NAME,
    find_checkpoint,
    list_checkpoints,
    read_state,
    tidy,
    write_checkpoint,
)


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

    with contextlib.suppress(Died):
        write_checkpoint(tmp_path, {"step": 2}, write, total_limit=1)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_while_it_writes(tmp_path):
    def write(folder):
        (folder / "unet").mkdir()
        (folder / "unet" / "weights").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    write_checkpoint(tmp_path, {"step": 9}, put("nine"))
    child = os.fork()
    if child == 0:
        try:
            write_checkpoint(tmp_path, {"step": 10}, write)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10.tmp", "checkpoint-9"]
    assert find_checkpoint(tmp_path, "latest").name == "checkpoint-9"
    write_checkpoint(tmp_path, {"step": 10}, put("ten"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    assert [path.name for path in (tmp_path / "checkpoint-10").iterdir()] == ["weights", STATE_NAME]


class TestOddNeighbours:
    """Whatever else stands in the output folder neither counts as a checkpoint, nor is deleted, nor is in the way."""

    ODD = ("checkpoint-", "checkpoint--1", "checkpoint-1e3", "checkpoint-007", "checkpoint-\u0663", "checkpoint-5 ")

    def test_strange_names_are_no_checkpoints(self, tmp_path):
        write_checkpoint(tmp_path, {"step": 2}, put("two"))
        for name in (*self.ODD, "checkpoint-notes.tmp", "checkpoint-5.bak"):
            shutil.copytree(tmp_path / "checkpoint-2", tmp_path / name)
        (tmp_path / "checkpoint-99999999999999999999").mkdir()
        (tmp_path / "checkpoint-8").write_text("a file")
        (tmp_path / "checkpoint-7").symlink_to("checkpoint-7")
        before = set(os.listdir(tmp_path))
        assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-2"]
        write_checkpoint(tmp_path, {"step": 3}, put("three"), total_limit=1)
        assert set(os.listdir(tmp_path)) == before - {"checkpoint-2"} | {"checkpoint-3"}

    @pytest.mark.parametrize("name", [f"checkpoint-{name}" for name in ("3", "3.tmp", "3.old.tmp", "2.old.tmp")])
    @pytest.mark.parametrize("kind", ["file", "link to a folder", "link to nothing", "folder"])
    def test_what_stands_in_the_place_of_one(self, tmp_path, name, kind):
        precious = tmp_path / "elsewhere" / "precious"
        precious.parent.mkdir()
        precious.write_text("mine")
        output_dir = tmp_path / "out"
        write_checkpoint(output_dir, {"step": 2}, put("two"))
        place = output_dir / name
        if kind == "file":
            place.write_text("")
        elif kind == "folder":
            shutil.copytree(precious.parent, place)
        else:
            place.symlink_to(precious.parent if kind == "link to a folder" else "nothing")
        write_checkpoint(output_dir, {"step": 3}, put("three"), total_limit=1)
        assert os.listdir(output_dir) == ["checkpoint-3"]
        assert sorted(os.listdir(output_dir / "checkpoint-3")) == [STATE_NAME, "weights"]
        assert precious.read_text() == "mine"

    def test_a_checkpoint_that_was_moved_and_linked(self, tmp_path):
        """Counts, and when its turn comes the link goes and the folder stays."""
        write_checkpoint(tmp_path / "out", {"step": 1}, put("one"))
        os.rename(tmp_path / "out" / "checkpoint-1", tmp_path / "moved")
        (tmp_path / "out" / "checkpoint-1").symlink_to(tmp_path / "moved")
        assert find_checkpoint(tmp_path / "out", "latest").name == "checkpoint-1"
        write_checkpoint(tmp_path / "out", {"step": 2}, put("two"), total_limit=1)
        tidy(tmp_path / "out")
        assert os.listdir(tmp_path / "out") == ["checkpoint-2"] and (tmp_path / "moved" / "weights").is_file()


class TestState:
    STATE = {"step": 7, "seconds": 1.5, "ema": {}}

    def test_comes_back(self, tmp_path):
        assert read_state(write_checkpoint(tmp_path, self.STATE, put("seven"))) == self.STATE

    @pytest.mark.parametrize(
        "change",
        [{"step": value} for value in (-1, 1.0, True, "7", None, 2**60, [7])]
        + [{"seconds": value} for value in (-1, "1", None, True, float("nan"), float("inf"))]
        + [{"ema": value} for value in (None, [], {"unet": 1})],
    )
    def test_wrong_values(self, tmp_path, change):
        (tmp_path / STATE_NAME).write_text(json.dumps({**self.STATE, **change}))
        with pytest.raises(
            ValueError, match=rf"Cannot resume from '.*{STATE_NAME}': `{next(iter(change))}` must"
        ) as caught:
            read_state(tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"[" * 10**5, b"\xff", b'{"step": 1}'])
    def test_no_state(self, tmp_path, content):
        (tmp_path / STATE_NAME).write_bytes(content)
        with pytest.raises(ValueError, match=f"Cannot resume from '.*{STATE_NAME}'") as caught:
            read_state(tmp_path)
        assert "\n" not in str(caught.value)
