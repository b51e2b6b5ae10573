"""Files for `custom_pipeline=` that derive a pipeline from one of this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import DiffusionPipeline
from diffusers.utils import dynamic_modules_utils

import diffusers_handiffuser
from diffusers_handiffuser import HanDiffuserPipeline
from diffusers_handiffuser.hub.custom_pipelines import prefer_defined_pipelines

CONTRACT = Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"
IMPORT = "from diffusers_handiffuser import HanDiffuserPipeline"
MINE = """

class {name}({base}):
    def twice(self, prompt):
        return self(prompt), self(prompt)
"""


def mine(name: str = "MyPipeline", base: str = "HanDiffuserPipeline") -> str:
    return MINE.format(name=name, base=base)


@pytest.fixture
def load(code_cache, tmp_path):
    """Loads the stored checkpoint with a file of code."""

    def load(code: str, loader=HanDiffuserPipeline, name: str = "pipeline"):
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        return loader.from_pretrained(CONTRACT, custom_pipeline=str(path), trust_remote_code=True)

    yield load
    for name in [name for name in sys.modules if name.startswith("diffusers_modules")]:
        del sys.modules[name]


@pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
class TestOneClassIsDefined:
    @pytest.mark.parametrize("imports", [IMPORT, f"{IMPORT}, HanDiffuserImg2ImgPipeline", f"{IMPORT} as Base"])
    def test_beside_imported_ones(self, load, loader, imports):
        base = "Base" if " as " in imports else "HanDiffuserPipeline"
        pipe = load(imports + mine(base=base), loader)
        assert type(pipe).__name__ == "MyPipeline" and isinstance(pipe, HanDiffuserPipeline)
        pipe.set_progress_bar_config(disable=True)
        assert len(pipe.twice("a")) == 2

    def test_files_of_one_name_one_after_another(self, load, loader):
        """diffusers runs them in one module, where the names of the first remain."""
        for name in ("First", "Second"):
            assert type(load(IMPORT + mine(name), loader)).__name__ == name


def test_an_import_alone(load):
    assert type(load(IMPORT, DiffusionPipeline)) is HanDiffuserPipeline


@pytest.mark.parametrize(
    "code",
    [IMPORT + mine("A") + mine("B"), f"{IMPORT}, HanDiffuserImg2ImgPipeline"],
    ids=["two of its own", "two imported"],
)
def test_what_diffusers_refuses_is_refused(load, code):
    with pytest.raises(ValueError, match="Multiple classes"):
        load(code)


BARE = """
from diffusers import DiffusionPipeline

class Bare(DiffusionPipeline):
    def __init__(self, unet):
        super().__init__()
        self.register_modules(unet=unet)
"""


def test_a_file_that_imports_nothing_of_ours(load):
    pipe = load(BARE, DiffusionPipeline)
    assert type(pipe).__name__ == "Bare" and list(pipe.components) == ["unet"]


def test_the_loader_code_of_a_saved_pipeline(load, layouts):
    code = (layouts["flagship"] / "pipeline.py").read_text()
    assert type(load(code, DiffusionPipeline)) is HanDiffuserPipeline
    assert type(load(code + mine(), DiffusionPipeline)).__name__ == "MyPipeline"


def test_asked_for_twice_is_done_once():
    before = dynamic_modules_utils.find_pipeline_class
    prefer_defined_pipelines()
    assert dynamic_modules_utils.find_pipeline_class is before


@pytest.mark.slow
def test_without_an_import_before(tmp_path):
    """The file itself is the first to import the package."""
    (tmp_path / "mine.py").write_text(IMPORT + mine())
    code = (
        "import sys; from diffusers import DiffusionPipeline\n"
        "pipe = DiffusionPipeline.from_pretrained(sys.argv[1], custom_pipeline='mine.py', trust_remote_code=True)\n"
        "print(type(pipe).__name__)\n"
    )
    source = str(Path(diffusers_handiffuser.__file__).parents[1])
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(CONTRACT)],
        env={**environment, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1:] == ["MyPipeline"], done.stderr
