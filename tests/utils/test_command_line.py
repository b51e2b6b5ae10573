"""Errors of commands."""

import sys

import pytest

from diffusers_handiffuser.training import tokenizer
from diffusers_handiffuser.utils.command_line import run_as_command


def test_bad_files_become_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["tokenizer", "--train_data_dir", str(tmp_path / "none"), "--output_dir", "out"])
    with pytest.raises(SystemExit) as exit_info:
        run_as_command(tokenizer.main)
    printed = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert printed.startswith("error: there is no folder ") and "none" in printed and printed.count("\n") == 1

    sys.argv.append("--debug")
    with pytest.raises(FileNotFoundError):
        run_as_command(tokenizer.main)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["trainer"])
    with pytest.raises(ZeroDivisionError):
        run_as_command(broken)
