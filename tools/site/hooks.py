"""Hooks of the documentation site (`mkdocs.yml`).

Pages may link to any file of the repository by its relative path: what lies outside `docs/` is copied into the site,
and the links are rewritten. A notebook becomes a page with the images of `tools/site/draw_images.py`.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(\]\()([^)#\s:]+)(?=[)#])")
_CODE_BLOCK = re.compile(r"^( *```.*?^ *```)$", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside `docs/` that pages link to, and those that these link to in turn."""
    pages = [posixpath.join("docs", file.src_uri) for file in files.documentation_pages()]
    while pages:
        page = pages.pop()
        for target in _links(page, page_text(page)):
            if target.startswith("docs/") or files.get_file_from_path(site_path(target)) is not None:
                continue
            if target.endswith((".md", ".ipynb")):
                files.append(File.generated(config, site_path(target), content=page_text(target)))
                pages.append(target)
            else:
                files.append(File.generated(config, site_path(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links relative to the page's place in the site."""
    source = repository_path(page.file.src_uri)

    def rewrite(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        return link[1] + posixpath.relpath(site_path(target), posixpath.dirname(page.file.src_uri) or ".")

    parts = _CODE_BLOCK.split(markdown)
    return "".join(part if i % 2 else _LINK.sub(rewrite, part) for i, part in enumerate(parts))


def page_text(path: str) -> str:
    """Markdown of a page of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return notebook_as_markdown(path, json.loads(text)["cells"]) if path.endswith(".ipynb") else text


def notebook_as_markdown(path: str, cells: list[dict]) -> str:
    """Cells in their order; a code cell is followed by its image, if one was drawn."""
    parts = []
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        image = f"docs/images/{Path(path).stem}-{number:02d}.jpg"
        if (ROOT / image).is_file():
            parts.append(f"![Output of the cell]({posixpath.relpath(image, posixpath.dirname(path))})")
    return "\n\n".join(parts)


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site."""
    path = path.removeprefix("docs/")
    return path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path


def repository_path(src_uri: str) -> str:
    """The inverse of `site_path`."""
    for path in (f"docs/{src_uri}", src_uri, src_uri.removesuffix(".md") + ".ipynb"):
        if (ROOT / path).is_file():
            return path
    raise FileNotFoundError(f"No file of the repository is the page {src_uri}.")


def _links(page: str, text: str) -> list[str]:
    """Files of the repository that a page links to."""
    prose = "".join(_CODE_BLOCK.split(text)[::2])
    targets = [
        posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) for _, target in _LINK.findall(prose)
    ]
    return [target for target in targets if (ROOT / target).is_file()]
