"""Rows and images of a data set: paths out of its folder, wrong values, images that unpack to much."""

import itertools
import json
import struct

import pytest
from hostile import OTHER_FILES, naming, refused
from valid_files import picture_bytes

from diffusers_handiffuser import (
    HandParams,
)
from diffusers_handiffuser.data import HandDataset
from diffusers_handiffuser.data.rows import Picture, RowError, parse_row
from diffusers_handiffuser.data.sources import Shard

pytestmark = pytest.mark.usefixtures("canary")

STORED_PATHS = [
    *("/etc/hostname", "//server/share/x.png", "../secret.png", "images/../../secret.png", "images/../..", ".."),
    *("C:/x.png", "C:x.png", "C:\\x.png", "\\x.png", "\\\\server\\share\\x.png", "images\\..\\..\\x.png"),
    *("http://169.254.169.254/x", "s3://x/y", "file:///etc/hostname", "file://x.png", "hf://datasets/a/b@main/x.png"),
    *("reference::file:///x/refs.json", "reference::x.json", "simplecache::https://x/y", "zip://x.png::x.zip"),
    *("a\0b", "a\ud800b"),
]
"""What a row may not name as its picture."""


class TestRows:
    """What rows say of pictures, and of numbers. Their files are the matter of `test_hostile_datasets`."""

    @pytest.mark.parametrize(
        "columns",
        [
            lambda path: {"file_name": path},
            lambda path: {"image": path},
            lambda path: {"image": {"path": path}},
            lambda path: {"image": {"path": path, "bytes": None}},
        ],
    )
    def test_images_outside_of_the_folder(self, tmp_path, valid_files, columns):
        row = json.loads(valid_files["rows"].splitlines()[0])
        for path, folder in itertools.product(STORED_PATHS, (tmp_path, "hf://datasets/someone/data@main", None)):
            with naming((path, folder)), pytest.raises(RowError, match="must be a path"):
                parse_row(row | columns(path), "metadata.jsonl, row 0", folder)

    def test_rows_without_a_folder_bring_their_pictures(self, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0])
        with pytest.raises(RowError, match="names the file 'x.png', but these rows lie in no folder"):
            parse_row({**row, "file_name": "x.png"}, "row 0")

    def test_no_picture_as_datasets_stores_it(self, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0]) | {"image": {"bytes": None, "path": None}}
        assert parse_row(row, "row 0").picture is None

    @pytest.mark.parametrize("path", ["x.png", "images/a b.png", "12:30.png", "..x/y..png", "a..b", "日本.png", "-"])
    def test_names_that_are_legal(self, tmp_path, valid_files, path):
        row = json.loads(valid_files["rows"].splitlines()[0]) | {"file_name": path}
        assert parse_row(row, "row 0", tmp_path).picture.content == tmp_path / path

    @pytest.mark.parametrize("value", ["1.0", True, None, b"1", [0.0], {}])
    def test_what_is_no_number(self, valid_files, value):
        row = json.loads(valid_files["rows"].splitlines()[0])
        for name in HandParams.FIELDS:
            if name != "hand_visible" or value is not True:
                with pytest.raises(RowError, match=f"`{name}` must be"):
                    parse_row({**row, name: [value, *row[name][1:]]}, "row 0")

    def test_text_that_cannot_be_encoded(self, tmp_path, valid_files):
        row = json.loads(valid_files["rows"].splitlines()[0])
        (tmp_path / "metadata.jsonl").write_text(json.dumps({**row, "text": "a \ud800 hand"}))
        with pytest.raises(ValueError, match=r"row 0: `text` must be text that UTF-8 has, but is 'a \\ud800 hand'"):
            HandDataset(tmp_path)

    @pytest.mark.parametrize("value", [10**400, [10**400] * 10, "NaN", [[[]]], {"a": 1}, None, [None] * 10, b"x"])
    def test_odd_numbers(self, valid_files, value):
        row = json.loads(valid_files["rows"].splitlines()[0])
        with pytest.raises(RowError, match="`betas`"):
            parse_row({**row, "betas": value}, "row 0")

    def test_a_line_without_end(self, tmp_path):
        path = tmp_path / "metadata.jsonl"
        with path.open("wb") as file:
            file.write(b"[")
            file.truncate(2**24 + 1)
        with pytest.raises(ValueError, match="metadata.jsonl, row 0: the line has more than"):
            list(Shard(str(path), "jsonl").rows())

    def test_no_program_draws_pictures(self, tmp_path):
        """Of PostScript, Pillow asks Ghostscript for a picture."""
        path = tmp_path / "picture.png"
        path.write_bytes(OTHER_FILES["PostScript"])
        refused(lambda path: Picture("row 0", path).open(), path, "cannot identify image file")

    def test_bombs_of_pixels(self, tmp_path):
        import zlib

        header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        path = tmp_path / "picture.png"
        path.write_bytes(picture_bytes()[:8] + chunk + picture_bytes()[33:])
        refused(lambda path: Picture("row 0", path).open(), path, "decompression bomb")
