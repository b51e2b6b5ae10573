"""Errors of commands."""

import sys

import pytest

from diffusers_handiffuser.training import tokenizer
from diffusers_handiffuser.utils.command_line import load_function, run_as_command


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


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("finds_handz:f", "--detector 'finds_handz:f': there is no module 'finds_handz'"),
        ("finds_hands.py:find", "a module is named without .py; did you mean 'finds_hands:find'?"),
        ("finds_hands:fnd", "--detector 'finds_hands:fnd': finds_hands has no 'fnd'; did you mean 'find'?"),
        ("needs_more:f", "--detector 'needs_more:f': needs_more cannot be imported: No module named 'no_such_module'"),
        *((name, "--detector must be mediapipe or MODULE:FUNCTION, got ") for name in ("mediapip", ":find", "x:")),
    ],
)
def test_functions_that_there_are_not(name, named, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "finds_hands.py").write_text("def find(image):\n    return []\n")
    (tmp_path / "needs_more.py").write_text("import no_such_module\n")
    with pytest.raises((ValueError, ImportError)) as caught:
        load_function(name, "--detector", "mediapipe or ")
    assert named in str(caught.value)
    assert load_function("finds_hands:find", "--detector")(None) == []
