"""The code blocks of every page run as they stand, in the order of the page, in one folder."""

import json
import re
import shlex

import pytest
from pages import DOCS, blocks

from diffusers_handiffuser.cli import main
from diffusers_handiffuser.evaluation.judges.studio_judge import STUDIO_FEATURES

ELSEWHERE = {DOCS / "training.md", *(DOCS / "recipes").glob("*.md")}
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page not in ELSEWHERE and blocks(page)]


def run_line(line: str, capsys) -> None:
    """Runs a `handiffuser` command; of one that names a `$PLACE` of the reader's, looks its options up."""
    command, *arguments = shlex.split(line)
    if command != "handiffuser":
        assert command in ("pip", "python"), line
        return
    if "$" not in line:
        assert main(arguments) == 0, capsys.readouterr().err
        return
    with pytest.raises(SystemExit):
        main([arguments[0], "--help"])
    assert set(re.findall(r"--[\w-]+", line)) <= set(re.findall(r"--[\w-]+", capsys.readouterr().out)), line


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page, quick_mini, tmp_path, monkeypatch, capsys):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets cache")
    monkeypatch.chdir(tmp_path)
    for number, (language, code) in enumerate(blocks(page)):
        if language == "python":
            exec(compile(code, f"block {number} of {page.name}", "exec"), {})
        elif language == "bash":
            for line in code.replace("\\\n", " ").splitlines():
                run_line(line, capsys)
    if page.stem == "evaluation":
        check_reports(tmp_path)


def check_reports(folder):
    """Of the data's own images, the distance to themselves is 0 and the hands are the captions'."""
    for name in ("report", "ceiling", "from_python"):
        files = {path.name for path in (folder / name).iterdir()}
        assert files == {"report.json", "report.md", "cases.json", "grid.png"}
    ceiling = json.loads((folder / "ceiling" / "report.json").read_text())["estimates"]
    assert abs(ceiling["fidelity"]["fid"]["value"]) < 1e-6 and ceiling["stage_1"]["gesture"]["value"] > 0.7


def test_accuracy_of_the_judge_is_that_of_its_weights():
    stated = json.loads((STUDIO_FEATURES / "accuracy.json").read_text())["accuracy"]
    page = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+) \| ([01]\.\d{2} \[[^|]*) \|$", page, re.M))
    written = {
        name: f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}], n = {found['n']}"
        for name, found in stated.items()
    }
    assert rows == written
