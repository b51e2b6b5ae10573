"""`import diffusers_handiffuser` registers with diffusers and does nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffusers_handiffuser

CHECK = """
import builtins, contextlib, os, random, socket, sys
import numpy, torch
with contextlib.suppress(ImportError):
    import rich.style  # draws a number when it is imported; older libraries import it where it is installed
import diffusers, transformers

def refuse(*args, **kwargs):
    raise AssertionError("network")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
opened = builtins.open
def watch(file, mode="r", *args, **kwargs):
    assert not set(mode) & set("wax+"), f"{file} opened for writing"
    return opened(file, mode, *args, **kwargs)
builtins.open = watch

torch.manual_seed(3), numpy.random.seed(3), random.seed(3)
before = torch.get_rng_state(), numpy.random.get_state()[1].tolist(), random.getstate()
import diffusers_handiffuser
after = torch.get_rng_state(), numpy.random.get_state()[1].tolist(), random.getstate()
assert torch.equal(before[0], after[0]) and before[1:] == after[1:], "random state"

names = ("data", "repair", "studio", "training", "evaluation", "cli")
rooms = tuple(f"diffusers_handiffuser.{room}" for room in names)
lazy = [name for name in sys.modules if name.split(".")[0] == "smplx" or name.startswith(rooms)]
assert not lazy, lazy
assert diffusers.HanDiffuserPipeline is diffusers_handiffuser.HanDiffuserPipeline
print("fine")
"""


@pytest.mark.slow
def test_import_has_no_side_effects(tmp_path):
    source = Path(diffusers_handiffuser.__file__).parents[1]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "fine"
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_public_names():
    assert set(diffusers_handiffuser.__all__) <= set(dir(diffusers_handiffuser))
    assert isinstance(diffusers_handiffuser.MINI, str)
    assert diffusers_handiffuser.MINI.endswith(
        os.path.join("diffusers_handiffuser", "checkpoints", "handiffuser-mini")
    )


@pytest.mark.parametrize("name", ["data", "evaluation", "repair", "studio", "training"])
def test_lazy_rooms(name):
    assert getattr(diffusers_handiffuser, name).__name__ == f"diffusers_handiffuser.{name}"


def test_every_listed_name_is_there():
    for name in dir(diffusers_handiffuser):
        assert hasattr(diffusers_handiffuser, name)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        diffusers_handiffuser.nothing  # noqa: B018


def test_a_mistyped_name_suggests_the_right_one():
    import diffusers_handiffuser

    with pytest.raises(AttributeError, match="no attribute 'HanDifuserPipeline'; did you mean `HanDiffuserPipeline`"):
        _ = diffusers_handiffuser.HanDifuserPipeline
    with pytest.raises(AttributeError, match="no attribute 'zzzzz'$"):
        _ = diffusers_handiffuser.zzzzz
    assert not hasattr(diffusers_handiffuser, "__wrapped__")
