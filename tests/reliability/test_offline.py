"""Without a network, from a checkout that cannot be written to, and in folders with any name."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import diffusers_handiffuser
from diffusers_handiffuser import HanDiffuserPipeline, HandParams
from diffusers_handiffuser.cli import main

CONTRACT = Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"
STRANGE = ["with spaces", "größe 手のひら 🖐", "a'b\"c %20&$HOME;#", "-dash"]

# What a program may ask of the system is audited by Python itself, whichever library asks.
CHECK = """
import os, sys
written = []

def audit(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(f"network: {event} {arguments}")
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(os.path.abspath(os.fsdecode(path)))
    # Those relative to an open folder clear up in it.
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link") and arguments[-1] == -1:
        written.append(os.path.abspath(os.fsdecode(arguments[0])))

sys.addaudithook(audit)
import torch
from diffusers import DiffusionPipeline
import diffusers_handiffuser
from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandBodyModel, HandParams
from diffusers_handiffuser.cli import main

def written_outside(*allowed):
    return [path for path in written if not path.startswith((*allowed, os.devnull))]

output, *standard = sys.argv[1:]
for loader in (HanDiffuserPipeline, DiffusionPipeline):
    pipe = loader.from_pretrained(MINI)
pipe.set_progress_bar_config(disable=True)
out = pipe("a right hand making a fist", num_inference_steps=1, num_hand_inference_steps=1)
HandBodyModel.procedural()(out.hand_params)
assert not written_outside(*standard), written_outside(*standard)

out.images[0].save(os.path.join(output, "picture.png"))
out.hand_params.save(os.path.join(output, "hands.safetensors"))
HandParams.load(os.path.join(output, "hands.safetensors"))
pipe.save_pretrained(os.path.join(output, "saved"))
steps = ["--steps", "1", "--hand-steps", "1", "--seed", "0"]
assert main(["generate", "a fist", "-o", os.path.join(output, "x.png"), *steps]) == 0
assert main(["hands", "a left fist", "-o", os.path.join(output, "h.glb"), "--hand-steps", "4", "--seed", "0"]) == 0
assert main(["data", "make", os.path.join(output, "data"), "--num", "1", "--size", "32"]) == 0
assert not written_outside(output, *standard), written_outside(output, *standard)
print("fine")
"""


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_default_use_needs_no_network_and_writes_nothing_else(tmp_path):
    """In a new process, from a copy of the package without write permissions, in a folder with a strange name.

    Torch makes the folder of its compiler's cache when it is imported, and Python tries out where temporary files go.
    """
    package = Path(diffusers_handiffuser.__file__).parent
    checkout = tmp_path / "check out 手"
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(package, checkout / "src" / package.name, ignore=ignore)
    for path in [*checkout.rglob("*"), checkout]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = contents(checkout)
    folders = {name: tmp_path / name for name in ("home", "temporary", "here", "cache", "output")}
    for folder in folders.values():
        folder.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_", "DIFFUSERS_"))}
    environment = {
        **kept,
        "HOME": str(folders["home"]),
        "TMPDIR": str(folders["temporary"]),
        "TORCHINDUCTOR_CACHE_DIR": str(folders["cache"]),
        "PYTHONPATH": str(checkout / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *(str(folders[name]) for name in ("output", "temporary", "cache"))],
        env=environment,
        cwd=folders["here"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    try:
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "fine"
        assert contents(checkout) == before and len(before) > 100
        for name in ("home", "temporary", "here", "cache"):
            assert not list(folders[name].rglob("*")), name
        made = {path.name for path in folders["output"].iterdir()}
        assert made == {
            *("picture.png", "hands.safetensors", "saved", "data", "h.glb"),
            *("x.png", "x.hands.safetensors", "x.preview.png"),
        }
    finally:
        for path in [checkout, *checkout.rglob("*")]:
            path.chmod(0o755)


class TestStrangeNames:
    @pytest.fixture(params=STRANGE)
    def folder(self, request, tmp_path, monkeypatch):
        folder = tmp_path / request.param
        folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    def test_save_and_load(self, folder):
        pipe = HanDiffuserPipeline.from_pretrained(CONTRACT)
        pipe.save_pretrained(folder / "saved as" / folder.name)
        loaded = HanDiffuserPipeline.from_pretrained(folder / "saved as" / folder.name)
        pictures = []
        for each in (pipe, loaded):
            each.set_progress_bar_config(disable=True)
            steps = {"num_inference_steps": 2, "num_hand_inference_steps": 2}
            pictures.append(each("a", generator=torch.Generator().manual_seed(0), output_type="np", **steps).images)
        assert np.array_equal(*pictures)

    def test_hands(self, folder):
        hands = HandParams.zeros(2)
        for suffix in ("safetensors", "json"):
            path = folder / f"{folder.name}.{suffix}"
            hands.save(path)
            assert len(HandParams.load(path)) == 2

    def test_command_line(self, folder):
        shutil.copytree(CONTRACT, folder / "model")
        # A name that starts with a dash is given as a path, as everywhere.
        name = f"./{folder.name}"
        hand_options = ["--hand-steps", "2", "--seed", "0", "--model", str(folder / "model")]
        options = ["--steps", "2", *hand_options]
        assert main(["generate", "a hand", "-o", f"{name}.png", *options]) == 0
        assert Image.open(f"{name}.png").size == (16, 16)
        hands = f"{name}.hands.safetensors"
        assert main(["generate", "a hand", "-o", f"{name} again.png", "--hands", hands, *options]) == 0
        assert Path(f"{name}.png").read_bytes() == Path(f"{name} again.png").read_bytes()
        for suffix in ("json", "obj", "glb", "png"):
            assert main(["hands", "two hands", "-o", f"{name} h.{suffix}", *hand_options]) == 0
            assert Path(f"{name} h.{suffix}").stat().st_size > 100

    def test_data(self, folder):
        name = f"./{folder.name}"
        assert main(["data", "make", name, "--num", "1", "--size", "32"]) == 0
        (row,) = (json.loads(line) for line in Path(name, "metadata.jsonl").read_text().splitlines())
        assert Image.open(Path(name, row["file_name"])).size == (32, 32)
        assert main(["data", "check", name]) == 0
