"""The body and hands that are known."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.body_model import procedural_body

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))


@pytest.fixture(scope="session")
def body() -> HandBodyModel:
    return procedural_body()


@pytest.fixture(scope="session")
def photos() -> Path:
    """A folder of photographs with `expected.json`, and MediaPipe to find their hands."""
    if "HANDIFFUSER_PHOTOS" not in os.environ:
        pytest.skip("HANDIFFUSER_PHOTOS names no folder of photographs")
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("needs the extra `detect`")
    return Path(os.environ["HANDIFFUSER_PHOTOS"])


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Around every test here."""
