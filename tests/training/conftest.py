"""A data set of a few small images, and the tokenizer and VAE folders that trainers start from."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from stage_2 import stable_diffusion

NUM_ROWS = 14


def random_row(number: int) -> dict:
    numbers = np.random.default_rng(number)
    row = {
        "text": f"a {('left', 'right')[number % 2]} hand, number {number}",
        "global_orient": [3.1416, 0.0, 0.0],
        "body_pose": (0.1 * numbers.normal(size=63)).tolist(),
        "left_hand_pose": (0.3 * numbers.normal(size=45)).tolist(),
        "right_hand_pose": (0.3 * numbers.normal(size=45)).tolist(),
        "betas": numbers.normal(size=10).tolist(),
        "camera": [1.2, 0.1, -0.2],
        "hand_visible": [number % 2 == 0, number % 2 == 1],
        "source": "test",
        "crop": None,
    }
    return row


def write_rows(folder, rows) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_data(folder):
    """A folder of `NUM_ROWS` rows with images."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(NUM_ROWS):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"images/{number}.png")
        rows.append({"file_name": f"images/{number}.png", **random_row(number)})
    write_rows(folder, rows)
    return folder


@pytest.fixture(scope="session")
def make_data():
    return write_data


@pytest.fixture
def data_dir(tmp_path):
    return write_data(tmp_path / "data")


@pytest.fixture
def tokenizer_dir(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def vae_dir(picture_components, tmp_path):
    picture_components["vae"].save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


@pytest.fixture(autouse=True)
def as_trainers_want_it(one_thread, fresh_accelerator):
    """Around every test here."""


@pytest.fixture
def same_tree():
    """Asserts that the tensors in two checkpoint folders are equal bit for bit."""

    def compare(first, second):
        from safetensors.torch import load_file

        files = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
        assert files and files == sorted(path.relative_to(second) for path in second.rglob("*.safetensors"))
        for name in files:
            ours, theirs = load_file(first / name), load_file(second / name)
            assert ours.keys() == theirs.keys()
            for key in ours:
                assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"
        states = [torch.load(folder / "optimizer.bin", weights_only=True)["state"] for folder in (first, second)]
        assert states[0].keys() == states[1].keys()
        for number, state in states[0].items():
            for key, value in state.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][number][key])), (number, key)

    return compare


@pytest.fixture
def sd_dir(picture_components, clip_text_model, tmp_path):
    """A Stable Diffusion pipeline that every fixture's owner may train."""
    stable_diffusion(picture_components, clip_text_model).save_pretrained(tmp_path / "sd")
    return tmp_path / "sd"
