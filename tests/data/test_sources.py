import io
import json

import pytest
import torch
from data_samples import NUM_SHARDS, make_picture, make_row, write_tar

from diffusers_handiffuser.data import RowError, check_dataset, find_shards, open_dataset, stream_dataset


def test_splits(parquet_dir):
    assert len(find_shards(parquet_dir)) == NUM_SHARDS
    with pytest.raises(ValueError, match="`split` must be one of train, got 'test'"):
        find_shards(parquet_dir, split="test")


def png(number: int) -> bytes:
    file = io.BytesIO()
    make_picture(number).save(file, "PNG")
    return file.getvalue()


def columns(number: int) -> bytes:
    return json.dumps(make_row(number)).encode()


def stream_in_workers(path):
    return list(torch.utils.data.DataLoader(stream_dataset(path), batch_size=None, num_workers=1))


class TestArchives:
    @pytest.mark.parametrize("read", [open_dataset, lambda path: list(stream_dataset(path)), stream_in_workers])
    def test_a_row_without_json_is_named(self, tmp_path, read):
        path = tmp_path / "x.tar"
        for name, shown in (("b.png", "png"), ("b.two  spaces.png", "two  spaces.png"), ("b.a\nb", r"a\\nb")):
            write_tar(
                path, {"a.json": columns(0), "a.png": png(0), name: png(1), "c.json": columns(2), "c.png": png(2)}
            )
            with pytest.raises(RowError, match=f"x.tar, row 1: has no .json beside {shown}"):
                read(path)

    def test_the_image_is_the_member_with_the_suffix_of_one(self, tmp_path):
        """Among maps and masks of the same sample, wherever they stand."""
        others = {"a.depth.png": png(1), "a.mask.PNG": png(2), "a.npy": b"array", "a.meta.json": b"{}"}
        for suffix in ("png", "PNG", "Jpeg"):
            for members in ({**others, f"a.{suffix}": png(3)}, {f"a.{suffix}": png(3), **others}):
                write_tar(tmp_path / "x.tar", {"a.json": columns(0), **members})
                for row in (next(iter(stream_dataset(tmp_path / "x.tar"))), open_dataset(tmp_path / "x.tar")):
                    picture = row.picture if hasattr(row, "text") else row.picture(0)
                    assert picture.read() == png(3), (suffix, list(members))

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            (["a.jpg", "a.depth.png", "a.png"], "x.tar, row 0: `image` may be any of .jpg, .png: keep one"),
            (
                ["a.mask.png", "a.depth.png"],
                r"x.tar, row 0: `image` is none of .mask.png, .depth.png: its whole suffix",
            ),
        ],
    )
    def test_an_image_is_never_guessed(self, tmp_path, members, message):
        write_tar(tmp_path / "x.tar", {"a.json": columns(0), **{name: png(1) for name in members}})
        for read in (open_dataset, lambda path: list(stream_dataset(path))):
            with pytest.raises(RowError, match=message):
                read(tmp_path / "x.tar")
        assert [problem.column for problem in check_dataset(find_shards(tmp_path / "x.tar")[0].rows()).problems] == [
            "image"
        ]

    def test_other_members_make_no_image(self, tmp_path):
        write_tar(tmp_path / "x.tar", {"a.json": columns(0), "a.npy": b"array", "a.cls": b"3", "a.txt": b"a caption"})
        (row,) = stream_dataset(tmp_path / "x.tar")
        assert row.picture is None and row.text == "a caption"
