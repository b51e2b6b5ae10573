"""Parsing needs neither torch nor the rest of the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import diffusers_handiffuser

CLI = Path(diffusers_handiffuser.__file__).parent / "cli"

CHECK = """
import sys
from types import ModuleType

package = ModuleType("diffusers_handiffuser")  # without what its __init__ imports
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package

from diffusers_handiffuser.cli import build_parser

args = build_parser().parse_args(["generate", "a hand", "-o", "x.png"])
assert args.output == "x.png" and callable(args.run)
ours = {name for name in sys.modules if name.startswith("diffusers_handiffuser.")}
others = {name for name in ours if not name.startswith("diffusers_handiffuser.cli")}
assert not others, others
assert not {"torch", "diffusers", "transformers", "numpy"} & sys.modules.keys()
"""


def test_parses_without_the_package():
    result = subprocess.run([sys.executable, "-c", CHECK, str(CLI.parent)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_modules_import_the_standard_library_alone(path):
    foreign = []
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            names = [alias.name.partition(".")[0] for alias in statement.names]
            foreign += [name for name in names if name not in sys.stdlib_module_names]
        elif isinstance(statement, ast.ImportFrom):
            root = (statement.module or "").partition(".")[0]
            if statement.level > 1 or (statement.level == 0 and root not in sys.stdlib_module_names):
                foreign.append(f"{'.' * statement.level}{statement.module}")
    assert not foreign
