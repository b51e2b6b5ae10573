import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from data_samples import is_upright, make_row, phone_photo, write_tar
from PIL import Image

from diffusers_handiffuser.data import HandDataset, open_dataset, stream_dataset
from diffusers_handiffuser.data.geometry import hands_in_square
from diffusers_handiffuser.data.rows import hand_features
from diffusers_handiffuser.hands import HandParams


def read_rows(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def change_row(folder, number, **changes):
    rows = read_rows(folder)
    rows[number].update(changes)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rows_arrive_as_written(data_dir):
    dataset = HandDataset(data_dir, need_images=True)
    rows = read_rows(data_dir)
    assert dataset.texts == [row["text"] for row in rows]
    for name in HandParams.FIELDS:
        written = torch.tensor([row[name] for row in rows])
        assert torch.equal(getattr(dataset.hand_params, name), written), name
    assert len(HandDataset(data_dir, max_rows=3)) == 3


def test_rows_without_images_are_legal_for_stage_1_only(data_dir):
    change_row(data_dir, 5, file_name=None)
    assert HandDataset(data_dir).image_paths[5] is None
    with pytest.raises(ValueError, match=r"row 5: neither `file_name` nor `image`"):
        HandDataset(data_dir, need_images=True)
    change_row(data_dir, 5, image="images/000005.png")
    assert HandDataset(data_dir, need_images=True).image_paths[5].name == "000005.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"betas": [0.0] * 9}, r"row 2: `betas` must be a list of 10 numbers, but has shape \(9,\)"),
        ({"betas": ["thin"] * 10}, r"row 2: `betas` must be a list of 10 numbers"),
        ({"camera": [float("nan"), 0, 0]}, r"row 2: `camera` holds a value that is not finite"),
        ({"camera": [-1.0, 0, 0]}, r"row 2: `camera` must have a positive scale"),
        ({"hand_visible": [0.5, 1]}, r"row 2: `hand_visible` must be two of true and false"),
        ({"text": None}, r"row 2: `text` must be a string, but is NoneType"),
        ({"file_name": 7}, r"row 2: `file_name` must be a path"),
    ],
)
def test_a_bad_row_is_named(data_dir, changes, message):
    change_row(data_dir, 2, **changes)
    with pytest.raises(ValueError, match=message):
        HandDataset(data_dir)


def test_missing_field_file_folder_and_broken_lines_are_named(data_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        HandDataset(tmp_path / "nowhere")
    (data_dir / "images/000004.png").write_bytes(b"not an image")
    dataset = HandDataset(data_dir, need_images=True)
    with pytest.raises(ValueError, match=r"row 4: cannot read image .*4\.png"):
        dataset.load_image(4, 16)
    (data_dir / "images/000004.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"row 4: image .*4\.png not found"):
        HandDataset(data_dir, need_images=True)
    rows = read_rows(data_dir)
    del rows[1]["betas"]
    (data_dir / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="row 1: `betas` is missing"):
        HandDataset(data_dir)
    (data_dir / "metadata.jsonl").write_text('{"text": "cut of')
    with pytest.raises(ValueError, match="row 0: not a line of JSON"):
        HandDataset(data_dir)
    (data_dir / "metadata.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no rows"):
        HandDataset(data_dir)


def test_images_are_the_centred_square_over_the_shorter_side(data_dir):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(data_dir / "images/000000.png")
    assert (HandDataset(data_dir).load_image(0, 20) == 255).all()


def test_square_hand_params_are_those_of_the_rows(data_dir, body):
    Image.fromarray(np.zeros((16, 33, 3), np.uint8)).save(data_dir / "images/000003.png")
    dataset = HandDataset(data_dir)
    hands = dataset.square_hand_params([3, 0, 5], body)
    expected = hands_in_square(dataset.hand_params[[3, 0, 5]], [(33, 16), (16, 16), (16, 16)], body)
    for name in HandParams.FIELDS:
        assert torch.equal(getattr(hands, name), getattr(expected, name)), name
    assert not torch.equal(hands.camera[0], dataset.hand_params.camera[3])
    assert torch.equal(hands.camera[1:], dataset.hand_params.camera[[0, 5]])


def test_image_cache_is_found_again(data_dir, tmp_path):
    dataset = HandDataset(data_dir, need_images=True)
    cached = dataset.images(16, tmp_path / "cache")
    assert np.array_equal(cached, dataset.images(16)) and cached.dtype == np.uint8
    (path,) = (tmp_path / "cache").iterdir()
    stamp = path.stat().st_mtime_ns
    assert np.array_equal(dataset.images(16, tmp_path / "cache"), cached)
    assert path.stat().st_mtime_ns == stamp
    change_row(data_dir, 0, text="something else")
    assert HandDataset(data_dir, need_images=True).fingerprint != dataset.fingerprint


class TestOtherForms:
    """What was written in one form and read in another is the same."""

    def compare(self, dataset, reference, first=0):
        assert dataset.texts == reference.texts
        for name in HandParams.FIELDS:
            ours, theirs = getattr(dataset.hand_params, name), getattr(reference.hand_params, name)
            assert torch.equal(ours[first:], theirs[first:]), name
        assert np.array_equal(dataset.images(16), reference.images(16))
        assert np.array_equal(dataset.load_image(3, 8), reference.load_image(3, 8))

    def test_parquet_beside_images(self, data_dir):
        import datasets

        reference = HandDataset(data_dir, need_images=True)
        datasets.Dataset.from_list(read_rows(data_dir)).to_parquet(data_dir / "metadata.parquet")
        (data_dir / "metadata.jsonl").unlink()
        dataset = HandDataset(data_dir, need_images=True)
        self.compare(dataset, reference)
        assert dataset.image_paths == reference.image_paths

    def test_parquet_shards(self, parquet_dir, data_dir):
        dataset = open_dataset(parquet_dir, need_images=True)
        self.compare(dataset, HandDataset(data_dir))
        assert len(open_dataset(parquet_dir, max_rows=3)) == 3
        assert open_dataset(str(parquet_dir / "*-00001-of-*.parquet")).texts == dataset.texts[4:8]

    def test_webdataset_archives(self, webdataset_dir, data_dir, parquet_dir):
        dataset = open_dataset(webdataset_dir, need_images=True)
        self.compare(dataset, HandDataset(data_dir), first=1)
        assert (dataset.hand_params.betas[0] == 0).all() and (dataset.hand_params.betas[1:] != 0).all()
        assert dataset.fingerprint != open_dataset(parquet_dir).fingerprint  # the first row has other betas

    def test_a_map_style_table_of_ones_own(self, parquet_dir):
        import datasets

        table = datasets.Dataset.from_parquet(str(next(parquet_dir.iterdir())))
        dataset = HandDataset.from_datasets(table.remove_columns("image"))
        assert dataset.texts == table["text"][:]
        with pytest.raises(ValueError, match="the data set, row 1: the row has no image"):
            dataset.load_image(1, 8)
        with pytest.raises(ValueError, match="row 0: neither `file_name` nor `image` names an image"):
            HandDataset.from_datasets(table.remove_columns("image"), need_images=True)

    def test_a_bad_row_is_named(self, parquet_dir):
        import datasets

        path = parquet_dir / "train-00000-of-00004.parquet"
        row = datasets.Dataset.from_parquet(str(path))[1] | {"betas": [0.0] * 9}
        features = hand_features() | {"betas": datasets.List(datasets.Value("float32"))}
        datasets.Dataset.from_list([row], features=datasets.Features(features)).to_parquet(path)
        with pytest.raises(ValueError, match=r"train-00000-of-00004.parquet, row 0: `betas` must be"):
            open_dataset(path)

    def test_splits_are_folders(self, data_dir):
        (data_dir / "test").mkdir()
        (data_dir / "test/metadata.jsonl").write_text(json.dumps(read_rows(data_dir)[2] | {"file_name": None}) + "\n")
        assert len(open_dataset(data_dir)) == 14
        assert len(open_dataset(data_dir, split="test")) == 1
        with pytest.raises(ValueError, match="`split` 'dev': .* has no folder of that name"):
            open_dataset(data_dir, split="dev")

    def test_folders_with_names_that_mean_something_to_datasets(self, data_dir, parquet_dir, monkeypatch, tmp_path):
        (tmp_path / "csv").mkdir()
        (tmp_path / "unrelated.csv").write_text("a,b\n1,2\n")
        for file in parquet_dir.glob("**/*.parquet"):
            (tmp_path / "csv" / file.name).write_bytes(file.read_bytes())
        monkeypatch.chdir(tmp_path)
        assert len(open_dataset("csv")) == len(open_dataset(parquet_dir))

    def test_nothing_there(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=r"empty is neither a folder with a metadata.jsonl, nor Parquet"):
            open_dataset(tmp_path / "empty")


class TestPhonePhotos:
    """Images that are upright by their EXIF alone."""

    @pytest.fixture(params=["folder", "parquet beside images", "parquet", "webdataset", "imagefolder"])
    def source(self, request, tmp_path):
        import datasets

        row, path = make_row(0), tmp_path / "in"
        path.mkdir()
        if request.param == "parquet":
            stored = {**row, "image": {"bytes": phone_photo(), "path": None}}
            datasets.Dataset.from_list([stored], features=hand_features()).to_parquet(path / "x.parquet")
        elif request.param == "webdataset":
            write_tar(path / "x.tar", {"a.json": json.dumps(row).encode(), "a.jpg": phone_photo()})
        else:
            (path / "a.jpg").write_bytes(phone_photo())
            row["file_name"] = "a.jpg"
            if request.param == "parquet beside images":
                datasets.Dataset.from_list([row]).to_parquet(path / "metadata.parquet")
            else:
                (path / "metadata.jsonl").write_text(json.dumps(row))
        if request.param == "imagefolder":
            (path / "train").mkdir()
            (path / "a.jpg").rename(path / "train/a.jpg")
            (path / "metadata.jsonl").rename(path / "train/metadata.jsonl")
        return path

    def test_are_read_upright(self, source, tmp_path):
        dataset = open_dataset(source, need_images=True)
        (row,) = stream_dataset(source, need_images=True)
        for picture in (dataset.picture(0), row.picture):
            assert picture.size == picture.open().size == (16, 24)
            assert is_upright(picture.open().convert("L")) and is_upright(picture.square(16)[..., 0])
        assert is_upright(dataset.images(16, tmp_path / "cache")[0, ..., 0])

    def test_as_datasets_decodes_them(self, source):
        import datasets

        kinds = {".jsonl": "imagefolder", ".parquet": "parquet", ".tar": "webdataset"}
        file = next(file for file in sorted(source.rglob("*.*"), reverse=True) if file.suffix in kinds)
        if file.name == "metadata.parquet":
            pytest.skip("`datasets` takes it for a table of its own")
        files = {"data_dir": str(source)} if file.suffix == ".jsonl" else {"data_files": str(file)}
        table = datasets.load_dataset(kinds[file.suffix], split="train", **files)
        image = table[0]["jpg" if file.suffix == ".tar" else "image"]
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(open_dataset(source).picture(0).open()))

    def test_caches_of_images_that_lay_on_their_side_are_not_used(self, data_dir, tmp_path, monkeypatch):
        """Those of releases before images were turned, whose fingerprint was the hash of the rows alone."""
        dataset = HandDataset(data_dir)
        old = hashlib.sha256((data_dir / "metadata.jsonl").read_bytes()).hexdigest()[:16]
        assert dataset.fingerprint != old
        monkeypatch.setattr("diffusers_handiffuser.data.dataset.DECODING", b"")
        assert HandDataset(data_dir).fingerprint == old


def test_without_datasets_folders_are_read_and_all_else_says_what_to_install(data_dir, parquet_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert len(open_dataset(data_dir)) == 14
    for attempt in (lambda: open_dataset(parquet_dir), hand_features, lambda: stream_dataset(data_dir)):
        with pytest.raises(ImportError, match=r"needs Hugging Face datasets: pip install"):
            attempt()
