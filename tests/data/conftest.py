"""Small data sets in every form: a folder, Parquet shards, WebDataset archives."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from data_samples import NUM_ROWS, NUM_SHARDS, change_rows, make_picture, make_row, write_tar

from diffusers_handiffuser.data import hand_features, write_dataset
from diffusers_handiffuser.hands import HandBodyModel
from diffusers_handiffuser.hands.body_model import procedural_body

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))


@pytest.fixture(scope="session")
def body() -> HandBodyModel:
    return procedural_body()


@pytest.fixture
def data_dir(tmp_path):
    write_dataset(tmp_path / "data", [(make_row(number), make_picture(number)) for number in range(NUM_ROWS)])
    return tmp_path / "data"


@pytest.fixture
def broken(data_dir):
    """`data_dir` with six problems in five of its rows."""
    (data_dir / "images/000009.png").unlink()
    (data_dir / "images/000008.png").write_bytes((data_dir / "images/000007.png").read_bytes()[:60])
    change_rows(
        data_dir,
        _1=lambda row: {**row, "betas": [0.0] * 9, "camera": [1.0, float("nan"), 0.0]},
        _3=lambda row: '{"text": "cut of',
        _5=lambda row: {**row, "camera": [1.0, 50.0, 0.0], "hand_visible": [False, True]},
    )
    return data_dir


@pytest.fixture
def parquet_dir(tmp_path):
    import datasets

    (tmp_path / "parquet").mkdir()
    rows = [{**make_row(number), "image": make_picture(number)} for number in range(NUM_ROWS)]
    table = datasets.Dataset.from_list(rows, features=hand_features())
    for shard in range(NUM_SHARDS):
        name = f"train-{shard:05d}-of-{NUM_SHARDS:05d}.parquet"
        table.shard(NUM_SHARDS, shard, contiguous=True).to_parquet(tmp_path / "parquet" / name)
    return tmp_path / "parquet"


@pytest.fixture
def webdataset_dir(tmp_path):
    (tmp_path / "tar").mkdir()
    for shard, numbers in enumerate(np.array_split(np.arange(NUM_ROWS), NUM_SHARDS)):
        members = {}
        for number in numbers.tolist():
            image = io.BytesIO()
            make_picture(number).save(image, "PNG")
            # Whole numbers first: the types of the first rows must not become those of all.
            row = make_row(number) | ({"betas": [0] * 10, "note": None} if number == 0 else {"note": [number]})
            members |= {
                f"rows/{number:06d}.json": json.dumps(row).encode(),
                f"rows/{number:06d}.png": image.getvalue(),
            }
        write_tar(tmp_path / "tar" / f"{shard}.tar", members)
    return tmp_path / "tar"


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    """Keeps the cache of `datasets` inside the test's folder, and its progress bars off."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets cache")
    datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Runs every test here on one thread."""
