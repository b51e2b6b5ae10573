"""Lines of the documents are short, and the files and extras that they name exist."""

import re
import tomllib

from pages import ROOT

DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "experiments").glob("*.md"),
    *(ROOT / "tools").rglob("*.md"),
    ROOT / "model_cards" / "handiffuser-mini.md",
]
WIDTH = 100
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPORTS = [*(ROOT / "model_cards").rglob("*.json"), *(ROOT / "experiments").rglob("*.json")]
_FILE = re.compile(r"`((?:benchmarks|examples|tests|tools)/[a-z0-9_/.-]+)`")


def test_lines_are_short():
    """Rows of tables, which cannot be broken, may be longer."""
    long = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)} columns"
        for path in DOCUMENTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > WIDTH and not line.lstrip().startswith("|")
    ]
    assert not long, "\n".join(long)


def test_files_that_they_name_exist():
    named = [(path, name) for path in DOCUMENTS for name in _FILE.findall(path.read_text(encoding="utf-8"))]
    missing = [f"{path.relative_to(ROOT)}: {name}" for path, name in named if not (ROOT / name).exists()]
    assert named and not missing, "\n".join(missing)


def test_the_package_is_installed_from_a_clone():
    """It is not published: no document gives another source, or an extra that there is not."""
    sources = {".", *(f".[{extra}]" for extra in PROJECT["optional-dependencies"]), "torch"}
    commands = [
        (path, command)
        for path in DOCUMENTS
        for command in re.findall(r"pip install (?:-e )?([^\s`]+)", path.read_text(encoding="utf-8"))
    ]
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path, name in commands if name.strip('"') not in sources]
    assert len(commands) > 10 and not wrong, "\n".join(wrong)


def test_commands_of_reports_name_no_folder_of_a_machine():
    """They can be repeated anywhere."""
    commands = [
        found for path in REPORTS for found in re.findall(r'"command": "(.*)"', path.read_text(encoding="utf-8"))
    ]
    assert commands
    assert [command for command in commands if re.search(r"(?:^|[\s=])(?:/|~|[A-Za-z]:\\)", command)] == []
