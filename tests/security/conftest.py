"""Valid files of every kind that is read, small enough to be damaged thousands of times."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "hands")]

from valid_files import READERS, make_models  # noqa: E402


@pytest.fixture(scope="session")
def valid_files(tmp_path_factory) -> dict[str, bytes]:
    """The content of a valid file for each reader of `valid_files.READERS`."""
    folder = tmp_path_factory.mktemp("valid")
    return {name: reader.write(folder) for name, reader in READERS.items()}


@pytest.fixture(scope="session")
def stored_models(tmp_path_factory) -> dict[str, Path]:
    """Folders with each of the package's models, tiny."""
    folder = tmp_path_factory.mktemp("models")
    models = make_models()
    for name, model in models.items():
        model.save_pretrained(folder / name)
    return {name: folder / name for name in models}


@pytest.fixture(scope="session")
def stored_pipeline(make_pipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines") / "pipeline"
    pipe = make_pipe()
    pipe.save_pretrained(folder)
    assert all(torch.isfinite(value).all() for value in pipe.unet.state_dict().values())
    return folder


@pytest.fixture
def pipeline_folder(stored_pipeline, tmp_path) -> Path:
    """A copy of `stored_pipeline`."""
    shutil.copytree(stored_pipeline, tmp_path / "a pipeline")
    return tmp_path / "a pipeline"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Whatever a test reads, no file called `canary` may appear."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "canary").exists()
