"""Links of huggingface_hub's cache, real ones and others."""

import os
import shutil
from pathlib import Path

import pytest
from hostile import WEIGHTS, load_model, refused

pytestmark = pytest.mark.usefixtures("canary")


class TestCaches:
    """Links from a cached snapshot to its blobs are no links out of a checkpoint; what only looks so is one."""

    BLOB = "a" * 64

    @pytest.fixture
    def cached(self, stored_models, tmp_path):
        """A model as huggingface_hub caches it: its files are links to blobs."""
        repository = tmp_path / "cache" / "models--someone--model"
        snapshot = repository / "snapshots" / ("c" * 40)
        shutil.copytree(stored_models["text_to_hand_params"], snapshot)
        (repository / "blobs").mkdir()
        (repository / "refs").mkdir()
        os.replace(snapshot / WEIGHTS, repository / "blobs" / self.BLOB)
        (snapshot / WEIGHTS).symlink_to(Path("..", "..", "blobs", self.BLOB))
        return snapshot

    def test_is_read(self, cached, tmp_path):
        assert load_model("text_to_hand_params")(cached) is not None
        os.replace(tmp_path / "cache", tmp_path / "another disk")
        (tmp_path / "cache").symlink_to(tmp_path / "another disk")
        assert load_model("text_to_hand_params")(cached) is not None

    def test_blobs_shared_by_repositories(self, cached, tmp_path):
        """As huggingface_hub 2 does when told to."""
        own, shared = cached.parents[1] / "blobs" / self.BLOB, tmp_path / "cache" / "blobs" / "aa" / self.BLOB
        shared.parent.mkdir(parents=True)
        os.replace(own, shared)
        own.symlink_to(Path("..", "..", "blobs", "aa", self.BLOB))
        assert load_model("text_to_hand_params")(cached) is not None
        os.replace(tmp_path / "cache" / "blobs", tmp_path / "elsewhere")
        (tmp_path / "cache" / "blobs").symlink_to(tmp_path / "elsewhere")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_blobs_that_are_a_link(self, cached, tmp_path):
        os.replace(cached.parents[1] / "blobs", tmp_path / "secrets")
        (cached.parents[1] / "blobs").symlink_to(tmp_path / "secrets")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_a_blob_that_is_a_link(self, cached, tmp_path):
        own = cached.parents[1] / "blobs" / self.BLOB
        os.replace(own, tmp_path / "secret")
        own.symlink_to(tmp_path / "secret")
        refused(load_model("text_to_hand_params"), cached, "is a link to a place outside of")

    def test_a_folder_that_is_no_cache(self, cached, tmp_path):
        os.replace(cached.parents[1], tmp_path / "home")
        refused(
            load_model("text_to_hand_params"), tmp_path / "home" / "snapshots" / cached.name, "is a link to a place"
        )
