"""Every code block of docs/data.md runs as it stands, in the order of the page, in one folder."""

import re
import shlex
from pathlib import Path

import pytest

from diffusers_handiffuser.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data page")


def test_there_are_blocks():
    assert {language for language, _ in BLOCKS} == {"python", "bash"} and len(BLOCKS) > 8


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, folder, monkeypatch, capsys):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets cache")
    monkeypatch.chdir(folder)
    language, code = BLOCKS[number]
    if language == "python":
        exec(compile(code, f"block {number} of {PAGE.name}", "exec"), {})
        return
    for line in code.splitlines():
        command, *arguments = shlex.split(line)
        assert command == "handiffuser"
        assert main(arguments) == 0, capsys.readouterr().err


def test_what_the_page_promises(folder):
    if not (folder / "mocap").exists():
        pytest.skip("the blocks did not run")
    written = {path.parent.name for path in folder.glob("*/metadata.jsonl")}
    assert written == {"studio", "mine", "curated", "chosen", "estimated", "mocap"}
    assert (folder / "studio.png").is_file() and len(list((folder / "shards").iterdir())) == 4
