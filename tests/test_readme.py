"""Every code block of the README runs as it stands: Python in a process of its own, `handiffuser` lines in a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.rpartition("&& ")[2]
    for language, code in BLOCKS
    if language == "bash"
    for line in code.replace("\\\n", " ").splitlines()
    if line.rpartition("&& ")[2].startswith(("handiffuser ", "python -m diffusers_handiffuser"))
]

pytestmark = pytest.mark.slow


def run(arguments, folder, shell=False):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, shell=shell, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def test_there_are_blocks():
    assert PYTHON and COMMANDS


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block(number, tmp_path):
    run([sys.executable, "-c", PYTHON[number]], tmp_path)


def test_commands_in_their_order(tmp_path):
    for command in COMMANDS:
        run(command, tmp_path, shell=True)
    assert {"peace.png", "peace.hands.safetensors", "peace.preview.png"} <= {p.name for p in tmp_path.iterdir()}
