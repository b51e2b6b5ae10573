"""Every code block of docs/evaluation.md runs as it stands, in one folder; lines that name a place of the reader's are
parsed."""

import json
import re
import shlex
from pathlib import Path

import pytest

from diffusers_handiffuser.cli import _parser, main
from diffusers_handiffuser.evaluation.judges.studio_judge import STUDIO_FEATURES

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation page")


def test_there_are_blocks():
    assert [language for language, _ in BLOCKS] == ["bash", "python", "bash"]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    language, code = BLOCKS[number]
    if language == "python":
        exec(compile(code, f"block {number} of {PAGE.name}", "exec"), {})
        return
    for line in code.splitlines():
        command, *arguments = shlex.split(line)
        if "$" not in line:
            assert command == "handiffuser" and main(arguments) == 0, capsys.readouterr().err
        elif command == "handiffuser":
            assert _parser().parse_args(arguments).detector


def test_what_the_page_promises(folder):
    if not (folder / "from_python").exists():
        pytest.skip("the blocks did not run")
    files = set(re.findall(r"^\| `([\w.]+)` \|", TEXT, re.M)) & {"report.json", "report.md", "cases.json", "grid.png"}
    assert len(files) == 4
    for name in ("report", "ceiling", "from_python"):
        assert {path.name for path in (folder / name).iterdir()} == files
    ceiling = json.loads((folder / "ceiling" / "report.json").read_text())["estimates"]
    assert abs(ceiling["fidelity"]["fid"]["value"]) < 1e-6 and ceiling["stage_1"]["gesture"]["value"] > 0.7


def test_accuracy_is_that_of_the_weights():
    stated = json.loads((STUDIO_FEATURES / "accuracy.json").read_text())["accuracy"]
    rows = dict(re.findall(r"^\| (\w+) \| ([01]\.\d{2} \[[^|]*) \|$", TEXT, re.M))
    written = {
        name: f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}], n = {found['n']}"
        for name, found in stated.items()
    }
    assert rows == written
