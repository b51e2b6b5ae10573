"""One set of versions in the README, in `requirements/`, and as lower bounds in pyproject.toml."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import diffusers_handiffuser

ROOT = Path(__file__).parents[1]
SETS = ("oldest", "middle", "newest")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_readme_tells_of_each_set():
    rows = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    (head,) = [number for number, row in enumerate(cells) if row[:2] == ["", "diffusers"]]
    libraries = cells[head][1:]
    for name, row in zip(SETS, cells[head + 2 : head + 5], strict=True):
        assert row[1:] == [pins(name)[library] for library in libraries], name


def test_the_oldest_set_is_the_lower_bounds():
    extras = PROJECT["optional-dependencies"]
    requirements = [Requirement(text) for text in [*PROJECT["dependencies"], *extras["train"]]]
    bounds = {each.name: re.search(r">=([\d.]+)", str(each.specifier)) for each in requirements}
    oldest = pins("oldest")
    for name, bound in bounds.items():
        if bound and name != "torch":  # older ones are allowed, but untested
            assert re.fullmatch(rf"{re.escape(bound[1])}(\.0)*", oldest[name]), name


def test_each_set_is_within_the_bounds():
    for name in SETS:
        for requirement in map(Requirement, PROJECT["dependencies"]):
            version = pins(name).get(requirement.name)
            assert version is None or version in requirement.specifier, (name, requirement)


def test_the_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == diffusers_handiffuser.__version__
