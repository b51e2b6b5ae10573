"""No file of the package is longer than a reader takes in at once."""

from pathlib import Path

import diffusers_handiffuser

MAX_LINES = 450


def test_modules_are_short():
    modules = list(Path(diffusers_handiffuser.__file__).parent.rglob("*.py"))
    assert len(modules) > 150
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    long = {name: length for name, length in lengths.items() if length > MAX_LINES}
    assert not long, f"longer than {MAX_LINES} lines: {long}"
