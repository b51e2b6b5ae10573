"""A disk that is full in the middle of saving: the old files stay whole, and nothing half-written stays."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image
from valid_files import NUM_VERTICES, fingertips_of, npz_bytes, small_body, some_hands

import diffusers_handiffuser
from diffusers_handiffuser import HandBodyModel, cli
from diffusers_handiffuser.cli.options import write_file
from diffusers_handiffuser.pipelines import pipeline_loading as hub
from diffusers_handiffuser.rendering.mesh_export import write_glb, write_obj
from diffusers_handiffuser.rendering.meshes import HandMesh
from diffusers_handiffuser.training.engine.checkpointing import list_checkpoints, write_checkpoint
from diffusers_handiffuser.training.engine.weights import save_model
from diffusers_handiffuser.utils.atomic_files import TEMPORARY_PREFIX, atomic_write, atomic_write_dir


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def full_disk(monkeypatch):
    """After `full_disk()` nothing gets more than a few bytes to the disk, whatever writes it."""
    import builtins
    import io

    import safetensors.torch

    def no_space(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class FullFile(io.FileIO):
        def write(self, data):
            super().write(bytes(data)[:16])
            no_space()

    def fill():
        opened = builtins.open

        def open_full(file, mode="r", *args, **kwargs):
            if ("w" not in mode and "x" not in mode) or not isinstance(file, (str, os.PathLike)):
                return opened(file, mode, *args, **kwargs)
            raw = FullFile(file, mode.replace("b", "").replace("t", "").replace("+", ""))
            return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8", write_through=True)

        for module in (builtins, io):
            monkeypatch.setattr(module, "open", open_full)
        for module in (safetensors.torch, diffusers_handiffuser.pipelines.pipeline_loading):
            monkeypatch.setattr(module, "save_file", no_space)

    return fill


TRIANGLE = HandMesh("a", torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), (1.0, 1.0, 1.0))
HANDS = {
    "safetensors": some_hands().save,
    "json": some_hands().save,
    "glb": some_hands()[0].to_glb,
    "html": lambda path: some_hands()[0].view_3d().save(path),
    "obj": lambda path: write_obj(path, [TRIANGLE]),
    "npz": lambda path: HandBodyModel.procedural().to_smplx(path),
    "png": lambda path: write_file(path, Image.new("RGB", (64, 64)).save),
}


@pytest.mark.parametrize("suffix", HANDS)
def test_single_files(tmp_path, full_disk, suffix):
    path = tmp_path / f"old.{suffix}"
    HANDS[suffix](path)
    before = contents(tmp_path)
    full_disk()
    with pytest.raises(OSError, match="No space left"):
        HANDS[suffix](path)
    assert contents(tmp_path) == before


def test_glb_of_a_mesh(tmp_path, full_disk):
    write_glb(tmp_path / "a.glb", [TRIANGLE])
    before = contents(tmp_path)
    full_disk()
    with pytest.raises(OSError, match="No space left"):
        write_glb(tmp_path / "a.glb", [TRIANGLE])
    assert contents(tmp_path) == before


class TestCheckpoints:
    def test_pipelines(self, pipe, tmp_path, full_disk):
        for save in (pipe.save_pretrained, lambda folder: hub.save_half(pipe, folder)):
            save(tmp_path / "old")
        before = contents(tmp_path)
        full_disk()
        for save in (pipe.save_pretrained, lambda folder: hub.save_half(pipe, folder)):
            for name in ("old", "new"):
                with pytest.raises(Exception, match="No space left"):
                    save(tmp_path / name)
                assert contents(tmp_path) == before and [p.name for p in tmp_path.iterdir()] == ["old"]

    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "body_model", "unet"])
    def test_models(self, pipe, tmp_path, full_disk, name):
        model = getattr(pipe, name)
        save_model(model, tmp_path / "old")
        before = contents(tmp_path)
        full_disk()
        with pytest.raises(OSError, match="No space left"):
            save_model(model, tmp_path / "old")
        assert contents(tmp_path) == before

    def test_of_trainers(self, tmp_path, full_disk):
        def write(folder):
            (folder / "weights").write_bytes(bytes(100))

        write_checkpoint(tmp_path, {"step": 1}, write)
        before = contents(tmp_path)
        full_disk()
        for step in (1, 2):
            with pytest.raises(OSError, match="No space left"):
                write_checkpoint(tmp_path, {"step": step}, write)
            assert contents(tmp_path) == before and [p.name for p in list_checkpoints(tmp_path)] == ["checkpoint-1"]
            assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]

    def test_more_and_fewer_shards(self, pipe, tmp_path):
        """What is left of an earlier save would be loaded in place of the new one."""
        model = pipe.text_to_hand_params
        for size in ("20KB", "10GB", "40KB"):
            model.save_pretrained(tmp_path, max_shard_size=size)
            assert not list(tmp_path.glob(".*"))
            loaded = type(model).from_pretrained(tmp_path)
            assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
            one_file = size == "10GB"
            assert (tmp_path / "diffusion_pytorch_model.safetensors").exists() is one_file
            assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").exists() is not one_file

    def test_other_files_stay(self, pipe, tmp_path):
        (tmp_path / "README.md").write_text("mine")
        (tmp_path / "unet").mkdir()
        (tmp_path / "unet" / "notes.txt").write_text("mine")
        (tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_text("another variant")
        pipe.save_pretrained(tmp_path)
        assert (tmp_path / "README.md").read_text() == (tmp_path / "unet" / "notes.txt").read_text() == "mine"
        assert (tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors").read_text() == "another variant"


LIMITED = """
import resource, signal, sys
from pathlib import Path
from diffusers_handiffuser import HandBodyModel, HandParams
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
body = HandBodyModel.from_smplh(folder / "body.npz", vertex_ids=eval(sys.argv[2]), licensed=False)
body.save_pretrained(folder / "body")
HandParams.zeros(8).save(folder / "hands.safetensors")
HandParams.zeros(8).save(folder / "hands.json")
before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
failed = 0
for save in (
    lambda: body.save_pretrained(folder / "body"),
    lambda: body.to_smplx(folder / "body.npz"),
    lambda: HandParams.zeros(9).save(folder / "hands.safetensors"),
    lambda: HandParams.zeros(9).save(folder / "hands.json"),
):
    try:
        save()
    except Exception as error:
        failed += "File too large" in str(error)
print(failed, before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()})
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files")
@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path):
    """No function is replaced here: the system refuses to write more than a kilobyte."""
    (tmp_path / "body.npz").write_bytes(npz_bytes(small_body()))
    source = str(Path(diffusers_handiffuser.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), repr(fingertips_of(NUM_VERTICES))],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.split() == ["4", "True"], result.stderr[-2000:]


class TestHelpers:
    def test_a_file_appears_when_it_is_whole(self, tmp_path):
        path = tmp_path / "a.txt"
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert not path.exists() and temporary.suffix == ".txt"
        assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]

    def test_a_folder_that_fails_is_not_there(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), atomic_write_dir(tmp_path / "new") as temporary:
            (temporary / "a").write_text("half")
            raise KeyboardInterrupt
        assert not (tmp_path / "new").exists()

    def test_a_file_in_place_of_the_folder(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError), atomic_write_dir(tmp_path / "file"):
            pass

    def test_hands_in_json_have_a_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr("diffusers_handiffuser.hands.params._MAX_JSON_BYTES", 1000)
        with pytest.raises(ValueError, match="too many for JSON; save as .safetensors"):
            some_hands().save(tmp_path / "hands.json")
        assert not os.listdir(tmp_path)


class TestNamesOfFiles:
    """What a full disk raises names the file, and is an `OSError` whatever wrote it."""

    def refused(self, folder: Path, save, place: Path) -> None:
        before = contents(folder)
        with pytest.raises(OSError) as caught:
            save()
        assert str(caught.value) == f"[Errno {errno.EFBIG}] File too large: {str(place)!r}"
        assert contents(folder) == before and not list(folder.rglob(".*"))

    @pytest.fixture
    def small_files(self, monkeypatch):
        """Inside the context, no file of this process may get larger: not that of pytest's own output either."""
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)

        @contextlib.contextmanager
        def limited(size: int):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        yield limited
        signal.signal(signal.SIGXFSZ, previous)

    @pytest.mark.parametrize("suffix", HANDS)
    def test_single_files(self, tmp_path, small_files, suffix):
        path = tmp_path / f"old.{suffix}"
        HANDS[suffix](path)
        with small_files(16):
            self.refused(tmp_path, lambda: HANDS[suffix](path), path)

    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "body_model", "unet"])
    def test_models(self, pipe, tmp_path, small_files, name):
        model = getattr(pipe, name)
        save_model(model, tmp_path / "old")
        with small_files(10_000):
            self.refused(tmp_path, lambda: save_model(model, tmp_path / "old"), tmp_path / "old")

    def test_pipelines(self, pipe, tmp_path, small_files):
        """The part that is written then."""
        pipe.save_pretrained(tmp_path / "old")
        hub.save_half(pipe, tmp_path / "half")
        sizes = {path.parent.name: path.stat().st_size for path in (tmp_path / "old").rglob("*.safetensors")}
        largest = max(sizes, key=sizes.get)
        with small_files(sizes[largest] - 1):
            self.refused(tmp_path, lambda: pipe.save_pretrained(tmp_path / "old"), tmp_path / "old" / largest)
            self.refused(tmp_path, lambda: hub.save_half(pipe, tmp_path / "half"), tmp_path / "half" / largest)

    def test_checkpoints_of_trainers(self, tmp_path, small_files):
        def state(folder):
            (folder / "unet").mkdir()
            safetensors.torch.save_file({"a": torch.zeros(100)}, folder / "unet" / "trained.safetensors")

        def optimizer(folder):
            torch.save({"a": torch.zeros(10_000)}, folder / "optimizer.bin")

        write_checkpoint(tmp_path, {"step": 1}, lambda folder: None)
        for step in (1, 2):
            place = tmp_path / f"checkpoint-{step}"
            with small_files(300):
                self.refused(tmp_path, partial(write_checkpoint, tmp_path, {"step": step}, state), place / "unet")
                with pytest.raises(OSError, match=rf"checkpoint-{step}'$"):
                    write_checkpoint(tmp_path, {"step": step}, optimizer)
            assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]

    def test_other_errors_stay_what_they_are(self, tmp_path):
        for error in (RuntimeError("CUDA out of memory"), OSError("no errno"), ValueError("x"), KeyError("x")):
            for temporary in (atomic_write(tmp_path / "a"), atomic_write_dir(tmp_path / "b")):
                with pytest.raises(type(error)) as caught, temporary:
                    raise error
                assert caught.value is error
        with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_write(tmp_path / "a"):
            (tmp_path / "elsewhere").read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
class TestNoFiles:
    """A FIFO or a device in the place of a file is neither replaced nor written to."""

    @pytest.fixture(params=["fifo", "link to a fifo", "link to a device"])
    def place(self, request, tmp_path):
        def make(name: str) -> Path:
            path = tmp_path / name
            if request.param == "link to a device":
                path.symlink_to(os.devnull)
            elif request.param == "fifo":
                os.mkfifo(path)
            else:
                os.mkfifo(tmp_path / "a fifo")
                path.symlink_to(tmp_path / "a fifo")
            return path

        return make

    @pytest.mark.parametrize("suffix", HANDS)
    def test_single_files(self, place, suffix):
        path = place(f"hands.{suffix}")
        before = path.lstat()
        with pytest.raises(OSError, match=rf"hands\.{suffix}' is no file but a FIFO, a device or a socket"):
            HANDS[suffix](path)
        assert path.lstat().st_ino == before.st_ino

    def test_folders(self, place, tmp_path):
        path = place("b")
        with pytest.raises(OSError, match="b' is no file but"), atomic_write_dir(tmp_path) as temporary:
            (temporary / "a").write_text("new")
            (temporary / "b").write_text("new")
        assert not (tmp_path / "a").exists() and path.exists()

    def test_links_out_of_a_folder(self, tmp_path):
        """Files of a folder that is a link would be replaced, and superseded weights removed, where it leads."""
        (tmp_path / "saved").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "model-00001-of-00002.safetensors").write_text("mine")
        (tmp_path / "saved" / "unet").symlink_to("../elsewhere")
        (tmp_path / "saved" / "vae").symlink_to("parts")
        (tmp_path / "saved" / "parts").mkdir()

        def save(*names):
            with atomic_write_dir(tmp_path / "saved") as temporary:
                for name in names:
                    (temporary / name).mkdir()
                    (temporary / name / "model.safetensors").write_text("new")

        with pytest.raises(ValueError, match="unet' is a link to a place outside of .*saved"):
            save("a", "unet")
        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["model-00001-of-00002.safetensors"]
        assert not (tmp_path / "saved" / "a").exists()
        save("vae")
        assert (tmp_path / "saved" / "parts" / "model.safetensors").read_text() == "new"

    @pytest.mark.parametrize("command", [["generate", "a fist"], ["hands", "a fist"]])
    def test_commands_say_so_before_any_work(self, place, command, capsys, monkeypatch):
        monkeypatch.setattr(cli.generate, "load_pipeline", None)
        path = place("hands.png")
        assert cli.main([*command, "-o", str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"handiffuser: error: '{path}' is no file but")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
class TestKilled:
    """A killed process's temporary files are removed by the next save, once nobody can be writing them any more."""

    @pytest.fixture
    def left(self, tmp_path) -> list[Path]:
        child = os.fork()
        if child == 0:
            try:
                with atomic_write_dir(tmp_path) as temporary, atomic_write(tmp_path / "hands.json") as file:
                    (temporary / "unet").mkdir()
                    (temporary / "unet" / "weights").write_text("half")
                    file.write_text("half")
                    os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        left = sorted(tmp_path.iterdir())
        assert left[0].name.startswith(".hands.") and left[1].name.startswith(TEMPORARY_PREFIX) and len(left) == 2
        return left

    def save(self, folder: Path) -> None:
        with atomic_write_dir(folder) as temporary:
            (temporary / "a").write_text("new")

    def test_after_a_day(self, tmp_path, left):
        self.save(tmp_path)
        assert all(path.exists() for path in left), "another process may be writing them"
        for path in left:
            os.utime(path, (0, time.time() - 25 * 3600))
        self.save(tmp_path)
        assert os.listdir(tmp_path) == ["a"]

    def test_of_a_file(self, tmp_path, left):
        for path in left:
            os.utime(path, (0, time.time() - 25 * 3600))
        some_hands().save(tmp_path / "b.json")
        assert os.listdir(tmp_path) == ["b.json"]

    def test_at_once_if_the_process_had_the_number_of_this_one(self, tmp_path, left):
        """As in a container, where it is always the same."""
        for path in left:
            os.rename(path, path.with_name(re.sub(r"([0-9a-f]{8})-\d+", rf"\1-{os.getpid()}", path.name)))
        self.save(tmp_path)
        assert os.listdir(tmp_path) == ["a"]

    def test_what_is_being_written_stays(self, tmp_path):
        with atomic_write(tmp_path / "b") as file, atomic_write_dir(tmp_path) as temporary:
            file.write_text("b")
            (temporary / "c").write_text("c")
            thread = threading.Thread(target=self.save, args=(tmp_path,))
            thread.start()
            thread.join()
            assert file.exists() and temporary.exists()
        assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]

    def test_hostile_names(self, tmp_path):
        """Links are not followed, and names that are only alike are somebody's files."""
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "precious").write_text("")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / f"{TEMPORARY_PREFIX}link").symlink_to(tmp_path / "theirs")
        (folder / f"{TEMPORARY_PREFIX}abc").mkdir()
        (folder / f"{TEMPORARY_PREFIX}abc" / "link").symlink_to(tmp_path / "theirs")
        (folder / ".notes.tmp").write_text("")
        (folder / ".b.12-34.tmp.json").mkdir()
        for path in folder.iterdir():
            os.utime(path, (0, 0), follow_symlinks=False)
        self.save(folder)
        assert (tmp_path / "theirs" / "precious").exists()
        assert sorted(os.listdir(folder)) == [".b.12-34.tmp.json", ".notes.tmp", f"{TEMPORARY_PREFIX}link", "a"]
