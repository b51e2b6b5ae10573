"""The documentation site: built strictly, whole, and without anything that is fetched when it is read."""

import importlib
import pkgutil
import re
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

import diffusers_handiffuser

PACKAGES = ["diffusers_handiffuser"] + [
    module.name
    for module in pkgutil.walk_packages(diffusers_handiffuser.__path__, "diffusers_handiffuser.")
    if module.ispkg
]
_FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_nothing_is_fetched(site):
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    assert not {str(path): found for path, text in pages.items() if (found := _FETCHED.findall(text))}
    styles = [
        path
        for path in site.rglob("*.css")
        if re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text())
    ]
    assert not styles
    # The theme's script loads these from a CDN where a page asks for a diagram or a formula.
    assert not [path for path, text in pages.items() if 'class="mermaid"' in text or 'class="arithmatex"' in text]


@pytest.mark.slow
def test_signatures_made_at_run_time_and_the_notebook_are_on_it(site):
    pipelines = (site / "api" / "pipelines.html").read_text(encoding="utf-8")
    for name in ("__call__", "sample_hand_params"):
        assert f'id="diffusers_handiffuser.HanDiffuserPipeline.{name}"' in pipelines
    assert "hand_conditioning_scale" in pipelines and "HanDiffuserInpaintPipeline.from_pipe" in pipelines
    notebook = (site / "examples" / "quickstart.html").read_text(encoding="utf-8")
    assert notebook.count("quickstart-") > 5


def test_every_public_name_has_a_place():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    listed = set(re.findall(r"^::: ([\w.]+)", pages, re.M))
    # `members` of the top-level package, and a class of diffusers.
    listed |= {f"diffusers_handiffuser.{name}" for name in ("MINI", "__version__", "ModelMixin")}
    public = {
        package: names
        for package in PACKAGES
        if (names := getattr(importlib.import_module(package), "__all__", None)) is not None
    }
    assert {f"diffusers_handiffuser.{room}" for room in ("hands", "data", "studio", "evaluation")} < public.keys()
    missing = [
        f"{package}.{name}"
        for package, names in public.items()
        for name in names
        if not {f"{package}.{name}", f"diffusers_handiffuser.{name}"} & listed and f"{package}.{name}" not in PACKAGES
    ]
    assert not missing, f"no page under docs/api lists {', '.join(missing)}"
