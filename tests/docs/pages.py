"""Code blocks of the documentation's pages."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(<!-- not run:[^>]*-->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block, but for those marked `<!-- not run: REASON -->`."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, code) for mark, language, code in found if not mark]
