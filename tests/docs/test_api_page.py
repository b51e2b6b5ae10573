import subprocess
import sys
from pathlib import Path

import diffusers_handiffuser

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_docstrings_say():
    done = subprocess.run([sys.executable, ROOT / "tools" / "api_page.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, "run `python tools/api_page.py`\n" + done.stderr


def test_every_public_class_is_on_it():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    classes = [name for name in diffusers_handiffuser.__all__ if name not in ("MINI", "ModelMixin", "__version__")]
    assert classes and all(f"\n## {name}\n" in page for name in classes)
