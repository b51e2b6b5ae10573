"""Rows that are computed in the loop: the same numbers as from the caches, threads, streams and where they stand."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from stage_2 import train

from diffusers_handiffuser import HandBodyModel
from diffusers_handiffuser.data import HandDataset, hand_features, open_dataset
from diffusers_handiffuser.training.engine.caches import cached_together
from diffusers_handiffuser.training.engine.images import ImageLoader
from diffusers_handiffuser.training.engine.options import LatentOptions
from diffusers_handiffuser.training.hand_params_to_image.rows import (
    BatchEncoder,
    CachedDataset,
    LiveDataset,
    cache_geometry,
    cache_latents,
    load_cached_rows,
    tokenize,
)


def losses(folder) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_without_caches_has_the_losses_of_one_with(data_dir, sd_dir, tmp_path):
    options = ("--pretrained_model_name_or_path", sd_dir, "--random_flip")
    train(data_dir, tmp_path / "cached", *options)
    assert (data_dir / ".cache").is_dir()
    shutil.rmtree(data_dir / ".cache")
    train(data_dir, tmp_path / "live", *options, "--no_cache", "--dataloader_num_workers", 2)
    assert not (data_dir / ".cache").exists()
    assert losses(tmp_path / "live") == pytest.approx(losses(tmp_path / "cached"), rel=1e-3)


def test_batches_are_those_of_the_caches(data_dir, picture_components, hand_components, tmp_path):
    dataset, accelerator = HandDataset(data_dir, need_images=True), Accelerator(cpu=True)
    vae, tokenizer = picture_components["vae"], picture_components["tokenizer"]
    encoder, body = hand_components["text_encoder"], HandBodyModel.procedural()
    arrays = {
        "latents": cache_latents(dataset, vae, 16, True, tmp_path, 4, accelerator),
        **cache_geometry(dataset, body, encoder, True, tmp_path, accelerator),
    }
    flipped = [text.replace("left", "?").replace("right", "left").replace("?", "right") for text in dataset.texts]
    ids = torch.stack([tokenize(tokenizer, dataset.texts), tokenize(tokenizer, flipped)])
    cached = CachedDataset(arrays, ids, "cpu", False)
    live = LiveDataset(dataset, BatchEncoder(vae, tokenizer, encoder, body, torch.device("cpu")), 16, num_workers=1)
    rows, mirror = np.array([3, 7, 0]), torch.tensor([True, False, True])
    ours, theirs = live.batch(rows, mirror, following=np.array([1])), cached.batch(rows, mirror)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.allclose(ours[name].float(), value.float(), atol=5e-3), name


class TestImagesThatAreNoSquare:
    """Row 0 shows its left hand beside the centred square of 33 x 16 pixels, row 1 its right hand within it."""

    @pytest.fixture
    def dataset(self, data_dir):
        lines = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
        for number in (0, 1):
            Image.fromarray(np.zeros((16, 33, 3), np.uint8)).save(data_dir / f"images/{number}.png")
        lines[0]["camera"] = [1.2, 0.6, -0.2]
        (data_dir / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return HandDataset(data_dir, need_images=True)

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_hands_outside_the_square_count_as_not_visible(
        self, dataset, picture_components, hand_components, tmp_path, mirrored
    ):
        vae, tokenizer = picture_components["vae"], picture_components["tokenizer"]
        encoder, body = hand_components["text_encoder"], HandBodyModel.procedural()
        options = LatentOptions(resolution=16, random_flip=True, encode_batch_size=4)
        cached = load_cached_rows(options, tmp_path, 0, dataset, vae, tokenizer, encoder, body, Accelerator(cpu=True))
        live = LiveDataset(dataset, BatchEncoder(vae, tokenizer, encoder, body, torch.device("cpu")), 16)
        rows, mirror = np.array([0, 1, 2]), torch.tensor([mirrored] * 3)
        own = dataset.hand_params[:3]
        assert own.hand_visible.tolist() == [[True, False], [False, True], [True, False]]
        joints = body(own).joints_2d
        assert joints[0, 0, :, 0].min() > 1 and joints[0, 0, :, 0].max() < 33 / 16
        for batch in (cached.batch(rows, mirror), live.batch(rows, mirror)):
            expected = torch.tensor([[False, False], [False, True], [True, False]])
            assert torch.equal(batch["hand_visible"], expected.flip(-1) if mirrored else expected)
            assert not batch["hand_bps"][0].any() and batch["hand_bps"][1].any()
            # The square begins at 8 pixels, half a pixel left of the middle one: 1/16 in [-1, 1].
            shift = torch.tensor([1 / 16, 0.0])
            shown = batch["hand_joints_2d"]
            shown = shown.flip(1) * torch.tensor([-1.0, 1.0]) if mirrored else shown
            assert (shown[:2] - (joints[:2] + shift)).abs().max() < 3e-3
            assert (shown[2] - joints[2]).abs().max() < 3e-3


def test_image_loader_reads_ahead_in_threads():
    seen = []

    def load(row, resolution):
        seen.append((row, threading.current_thread() is threading.main_thread()))
        return np.full((resolution, resolution, 3), row, np.uint8)

    with ImageLoader(load, 2, num_workers=1) as loader:
        assert loader.load([4, 5], [6]).shape == (2, 2, 2, 3)
        assert loader.load([6, 4], []).ravel()[::12].tolist() == [6, 4]
    assert seen == [(4, False), (5, False), (6, False), (4, False)]
    with ImageLoader(load, 2, num_workers=0) as loader:
        loader.load([1], [2])
    assert seen[4:] == [(1, True)]


class TestStreaming:
    OPTIONS = ("--streaming", "--shuffle_buffer", 5, "--num_validation_rows", 0)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_resumed_run_goes_on_with_the_next_row(self, data_dir, sd_dir, tmp_path, same_tree, workers):
        options = ("--pretrained_model_name_or_path", sd_dir, *self.OPTIONS, "--dataloader_num_workers", workers)
        train(data_dir, tmp_path / "whole", *options)
        assert not (data_dir / ".cache").exists()
        shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "killed/checkpoint-2")
        train(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")
        same_tree(tmp_path / "whole/checkpoint-4", tmp_path / "killed/checkpoint-4")
        position = [tmp_path / name / "checkpoint-4/stream-0.json" for name in ("whole", "killed")]
        assert position[0].read_text() == position[1].read_text()
        (tmp_path / "killed/checkpoint-4/stream-0.json").unlink()
        with pytest.raises(ValueError, match="stream-0.json is missing"):
            train(data_dir, tmp_path / "killed", *options, "--resume_from_checkpoint", "latest")

    def test_shards_with_rows_held_out_of_another_split(self, data_dir, sd_dir, tmp_path):
        datasets = pytest.importorskip("datasets")
        rows = [json.loads(line) for line in (data_dir / "metadata.jsonl").read_text().splitlines()]
        for row in rows:
            row["image"] = {"bytes": (data_dir / row.pop("file_name")).read_bytes(), "path": None}
        for split, part in (("train", rows[:10]), ("validation", rows[10:])):
            table = datasets.Dataset.from_list(part, features=hand_features())
            table.to_parquet(tmp_path / f"shards/{split}-00000-of-00001.parquet")
        assert len(open_dataset(tmp_path / "shards", "validation")) == 4
        train(tmp_path / "shards", tmp_path / "out", "--pretrained_model_name_or_path", sd_dir, "--streaming",
              "--validation_split", "validation", "--max_train_steps", 2)  # fmt: skip
        assert "validation_mse" in (tmp_path / "out/log.jsonl").read_text()
        assert (tmp_path / "out/samples/0000002-held-out.png").is_file()
        assert not list(tmp_path.rglob(".cache"))

    @pytest.mark.parametrize("option", ["--num_train_epochs", "--validation_epochs", "--max_train_samples"])
    def test_what_needs_the_number_of_rows_is_refused(self, data_dir, sd_dir, tmp_path, option, capsys):
        with pytest.raises(SystemExit):
            train(data_dir, tmp_path, "--pretrained_model_name_or_path", sd_dir, *self.OPTIONS, option, 1)
        assert f"--streaming does not know the number of rows: {option}" in capsys.readouterr().err


def test_dataset_name_comes_before_the_folder(data_dir, sd_dir, tmp_path):
    options = ("--pretrained_model_name_or_path", sd_dir, "--dataset_name", data_dir, "--max_train_steps", 1)
    train(tmp_path / "not there", tmp_path / "out", *options)
    assert (data_dir / ".cache").is_dir() and "`data`" in (tmp_path / "out/README.md").read_text()


def test_caches_can_be_made_alone(data_dir, sd_dir, tmp_path):
    train(data_dir, tmp_path / "out", "--pretrained_model_name_or_path", sd_dir, "--cache_only")
    names = {path.name.partition("-")[0] for path in (data_dir / ".cache").iterdir()}
    assert names == {"latents", "hand_rotations", "hand_bps", "hand_joints_2d", "hand_visible"}
    assert not (tmp_path / "out/checkpoint-2").exists() and not (tmp_path / "out/model_index.json").exists()


def test_caches_that_several_machines_would_write_are_refused(tmp_path, monkeypatch):
    accelerator = Accelerator(cpu=True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "0")  # of two machines with one process each, neither is whole
    with pytest.raises(ValueError, match="make the caches on one of them first .*--cache_only"):
        cached_together(tmp_path / "a.npy", (1, 2), np.float32, lambda array, rows: None, accelerator)


def test_cache_that_fails_half_way_leaves_nothing(tmp_path):
    def fill(array, rows):
        raise OSError("disk full")

    with pytest.raises(OSError):
        cached_together(tmp_path / "a.npy", (1, 2), np.float32, fill, Accelerator(cpu=True))
    assert not list(tmp_path.iterdir())
