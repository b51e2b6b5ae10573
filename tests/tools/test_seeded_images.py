"""`tools/seeded_images.py`: what it calls equal, and what not."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "seeded_images.py"
    spec = importlib.util.spec_from_file_location("seeded_images", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arrays():
    hands = np.zeros(171, np.float32)
    hands[0] = math.pi
    points = np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)
    return {"image of x": np.full((2, 2, 3), 7, np.uint8), "hands of x": hands, "points of joints_3d": points}


@pytest.fixture
def exit_code(tool, arrays, tmp_path):
    """Of a comparison, after one array was changed."""
    np.savez(tmp_path / "stored.npz", **arrays)

    def compare(name: str, change, tolerance: int) -> int:
        return tool.compare({**arrays, name: change(arrays[name])}, tmp_path / "stored.npz", tolerance)

    return compare


def turned(radians: float):
    """A change of the first rotation, about its axis."""

    def change(hands):
        hands = hands.copy()
        hands[0] += radians
        return hands

    return change


@pytest.mark.parametrize(
    "name, change, exact, tolerant",
    [
        ("image of x", lambda image: image, 0, 0),
        ("image of x", lambda image: image + np.uint8(1), 1, 0),
        ("image of x", lambda image: image - np.uint8(2), 1, 1),
        ("image of x", lambda image: image[:1], 1, 1),
        ("image of x", lambda image: image.astype(np.float32), 1, 1),
        ("hands of x", turned(5e-6), 1, 0),
        ("hands of x", turned(-2 * math.pi), 1, 0),
        ("hands of x", turned(1e-3), 1, 1),
        ("hands of x", lambda hands: hands + np.float32(1e-4), 1, 1),
        ("points of joints_3d", lambda points: points + np.float32(5e-7), 1, 0),
        ("points of joints_3d", lambda points: points + np.float32(1e-4), 1, 1),
        ("points of joints_3d", lambda points: points * np.float32("nan"), 1, 1),
        ("points of joints_3d", lambda points: points * np.array([1, 1, -1], np.float32), 1, 1),
    ],
)
def test_what_is_equal(exit_code, name, change, exact, tolerant):
    assert (exit_code(name, change, 0), exit_code(name, change, 1)) == (exact, tolerant)


def test_other_names_differ(tool, arrays, tmp_path, capsys):
    np.savez(tmp_path / "stored.npz", **arrays)
    del arrays["image of x"]
    assert tool.compare({**arrays, "image of y": np.zeros(3, np.uint8)}, tmp_path / "stored.npz", 1) == 1
    printed = capsys.readouterr().out
    assert "image of x: missing" in printed and "image of y: not in the stored file" in printed


def test_what_it_draws(tool):
    """The first image, with its hands."""
    name, parts = next(tool.results())
    assert name == "text[0]" and {kind: (array.dtype, array.shape) for kind, array in parts.items()} == {
        "image": (np.uint8, (128, 128, 3)),
        "hands": (np.float32, (171,)),
    }
