"""The scripts of `experiments/`, which import each other as they do when one of them is run, and data for them."""

import sys
from pathlib import Path

import pytest

from diffusers_handiffuser.studio import make_dataset

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="session", autouse=True)
def experiment_scripts():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in {path.stem for path in FOLDER.glob("*.py")}:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def studio_data(tmp_path_factory):
    """Folders of eight rows to train on and six to test on, images of 16 pixels."""
    folder = tmp_path_factory.mktemp("studio")
    for split, number in (("train", 8), ("test", 6)):
        make_dataset(folder / split, number, split, size=16, progress=False)
    return folder


@pytest.fixture(autouse=True)
def as_trainers_want_it(one_thread, fresh_accelerator):
    """Around every test here."""
