"""Every code block of the README runs as it stands: the first command in a shell, all else in this process.

The bundled checkpoint takes fewer steps by default there.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diffusers_handiffuser.cli import main

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


def test_first_command_leaves_three_files(tmp_path):
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(
        COMMANDS[0], cwd=tmp_path, env=environment, shell=True, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"peace.png", "peace.hands.safetensors", "peace.preview.png"}


def test_other_commands(tmp_path, monkeypatch, capsys, one_thread, fresh_accelerator):
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) > 1
    for command in COMMANDS[1:]:
        program, *arguments = shlex.split(command)
        if program == "handiffuser":
            assert main(arguments) == 0, f"{command}\n{capsys.readouterr().err}"
        else:
            monkeypatch.setattr(sys, "argv", arguments[1:])
            try:
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
            except SystemExit as end:
                assert not end.code, f"{command}\n{capsys.readouterr().err}"


def test_python_blocks(quick_mini, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert PYTHON
    for number, code in enumerate(PYTHON):
        exec(compile(code, f"Python block {number} of README.md", "exec"), {})
