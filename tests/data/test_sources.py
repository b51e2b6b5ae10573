import tarfile

import pytest
from data_samples import NUM_SHARDS

from diffusers_handiffuser.data import RowError, find_shards, stream_dataset


def test_splits(parquet_dir):
    assert len(find_shards(parquet_dir)) == NUM_SHARDS
    with pytest.raises(ValueError, match="`split` must be one of train, got 'test'"):
        find_shards(parquet_dir, split="test")


def test_archives_without_json_are_named(webdataset_dir, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(webdataset_dir / "0.tar", "000.bin")
    with pytest.raises(RowError, match=r"x.tar, row 0: has no .json beside bin"):
        list(stream_dataset(tmp_path / "x.tar"))
