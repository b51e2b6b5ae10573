"""CONTRIBUTING.md draws the rooms that are enforced, and names the sessions that there are."""

import ast
import re
import tomllib

import yaml
from pages import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_architecture_is_the_enforced_one():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [[layer.split(" | ") for layer in found["layers"]] for found in contracts if "layers" in found]
    (drawing,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S)
    rows = [re.split(r" {3,}", line.strip()) for line in drawing.splitlines() if re.search(r"\w", line)]
    assert [row[: len(layer)] for row, layer in zip(rows, layers, strict=True)] == layers


def test_sessions_are_those_of_nox():
    functions = [
        node for node in ast.parse((ROOT / "noxfile.py").read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    sessions = {function.name for function in functions if function.decorator_list}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]["nox"]["strategy"]["matrix"]["session"]) == sessions
    (listed,) = re.findall(r"`nox -s (.*?)\.", PAGE.replace("\n", " "))
    assert set(re.findall(r"\w+", listed)) == sessions
