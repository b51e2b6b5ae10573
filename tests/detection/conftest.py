"""The body and hands that are known."""

import sys
from pathlib import Path

import pytest

from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.body_model import procedural_body

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))


@pytest.fixture(scope="session")
def body() -> HandBodyModel:
    return procedural_body()


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Around every test here."""
