"""Data sets of strangers: their pictures are plain files inside of them, and they unpack to what their size allows."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from damage import sparse_map_tar
from hostile import SOURCE
from valid_files import picture_bytes, some_hands

from diffusers_handiffuser.cli import main
from diffusers_handiffuser.data import HandDataset, find_shards, open_dataset, stream_dataset, write_row
from diffusers_handiffuser.data.rows import PictureError

HANDS = some_hands()[0]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process, or has FIFOs")


def row(**columns) -> dict:
    return write_row(HANDS, "a hand", **columns)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, beside a picture that is nobody's business."""
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(picture_bytes())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.png").write_bytes(picture_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def write_rows(folder: Path, *rows: dict) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, *rows: dict) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def read_all(name: Path | str) -> None:
    """By every way that there is."""
    open_dataset(name, need_images=True).load_image(0, 8)
    next(iter(stream_dataset(name, need_images=True))).picture.square(8)


def refusals(name: Path | str) -> list[str]:
    """What reading row 0 says in memory, as a stream, and in a check."""

    def in_memory():
        open_dataset(name, need_images=True).load_image(0, 8)

    def as_a_stream():
        next(iter(stream_dataset(name))).picture.square(8)

    said = []
    for read in (in_memory, as_a_stream):
        with pytest.raises((ValueError, OSError)) as caught:
            read()
        said.append(str(caught.value))
    assert all("\n" not in text for text in said)
    return said


class TestChainsOfFileSystems:
    """A JSON file of references is a file system to fsspec, and before 2026.6 its templates were programs."""

    @pytest.fixture
    def references(self, folder):
        program = "{{ cycler.__init__.__globals__.os.system('touch canary') }}"
        content = {"version": 1, "templates": {"u": program}, "refs": {"x.png": [f"{program}secret.png", 0, 9]}}
        (folder / "refs.json").write_text(json.dumps(content))
        yield f"reference::file://{folder}/refs.json"
        assert not Path("canary").exists() and not (folder / "canary").exists()

    @pytest.mark.parametrize("columns", [lambda path: {"image": {"path": path}}, lambda path: {"file_name": path}])
    def test_as_a_picture(self, folder, references, columns, capsys):
        write_rows(folder, row(**columns(references)))
        for said in refusals(folder):
            assert "metadata.jsonl, row 0: `" in said and "must be a path inside the folder" in said
        assert main(["data", "check", str(folder)]) == 1
        assert "must be a path inside the folder" in capsys.readouterr().out

    def test_in_parquet(self, folder, references):
        write_parquet(folder / "train.parquet", row(image={"path": references, "bytes": None}))
        for said in refusals(folder):
            assert "train.parquet, row 0: `image` must be a path inside the folder" in said

    @pytest.mark.parametrize("column", ["text", "betas"])
    def test_as_a_type_of_a_column(self, folder, references, column):
        """Parquet says itself which columns `datasets` decodes."""
        import pyarrow
        import pyarrow.parquet

        stored = row() | {column: {"path": references, "bytes": None}}
        table = pyarrow.Table.from_pylist([stored])
        features = {"info": {"features": {column: {"_type": "Image"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        pyarrow.parquet.write_table(table, folder / "train.parquet")
        for said in refusals(folder):
            assert f"row 0: `{column}` must be" in said

    @pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
    @pytest.mark.parametrize("key", ["path", "data_files", "data_dir"])
    def test_as_a_file_of_the_data_set(self, folder, references, name, key):
        write_parquet(folder / "train.parquet", row())
        files = {"path": [{"split": "train", "path": [references]}], "data_files": references, "data_dir": None}[key]
        config = {"config_name": "default", "data_files": files or "*.parquet"}
        config |= {"data_dir": references} if key == "data_dir" else {}
        text = json.dumps({"configs": [config]})  # which is YAML
        (folder / name).write_text(f"---\n{text}\n---\n" if name == "README.md" else text)
        for said in refusals(folder):
            assert f"a data file that its {name} names must be a path inside the folder" in said


class TestCards:
    @pytest.mark.parametrize("configs", [5, [5], [{}], {"a": 1}, [{"config_name": 5, "data_files": 7}], "x", [[[]]]])
    @pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
    def test_that_are_odd(self, folder, name, configs):
        write_parquet(folder / "train.parquet", row())
        text = json.dumps({"configs": configs})
        (folder / name).write_text(f"---\n{text}\n---\n" if name == "README.md" else text)
        for said in refusals(folder):
            assert str(folder) in said

    def test_that_list_files_of_the_data_set(self, folder):
        (folder / "parts").mkdir()
        write_parquet(folder / "parts/0.parquet", row(image={"bytes": picture_bytes(), "path": None}))
        card = "---\nconfigs:\n- config_name: default\n  data_files: parts/*.parquet\n---\n"
        (folder / "README.md").write_text(card)
        read_all(folder)

    def test_of_laughs_by_the_billion(self, folder):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
        text = "\n".join([*lines, "configs: [{config_name: default, data_files: *a9}]"])
        (folder / "README.md").write_text(f"---\n{text}\n---\n")
        start = time.monotonic()
        for said in refusals(folder):
            assert "a data file that its README.md names are more than" in said
        assert time.monotonic() - start < 20


class TestFilesElsewhere:
    @pytest.fixture(params=["rows", "rows that say image", "Parquet"])
    def write(self, request, folder):
        def write(path: str) -> None:
            if request.param == "Parquet":
                write_parquet(folder / "metadata.parquet", row(image={"path": path, "bytes": None}))
            else:
                write_rows(
                    folder, row(**({"file_name": path} if request.param == "rows" else {"image": {"path": path}}))
                )

        return write

    def test_a_picture_in_its_place(self, folder, write):
        (folder / "x.png").write_bytes(picture_bytes())
        write("x.png")
        read_all(folder)

    @pytest.mark.parametrize("target", ["../secret.png", "{absolute}"])
    def test_a_link_out_of_the_folder(self, folder, write, target):
        (folder / "x.png").symlink_to(target.format(absolute=folder.parent / "secret.png"))
        write("x.png")
        for said in refusals(folder):
            assert "row 0: cannot read image" in said and "x.png' is a link to a place outside" in said

    def test_a_folder_that_is_a_link(self, folder, write):
        (folder / "images").symlink_to("../elsewhere")
        write("images/secret.png")
        for said in refusals(folder):
            assert "images/secret.png' is a link to a place outside" in said

    def test_links_within_the_folder(self, folder, write):
        (folder / "images").mkdir()
        (folder / "images/x.png").write_bytes(picture_bytes())
        (folder / "y.png").symlink_to("images/x.png")
        (folder / "pictures").symlink_to("images")
        for path in ("y.png", "pictures/x.png"):
            write(path)
            read_all(folder)

    def test_a_loop_of_links(self, folder, write):
        (folder / "x.png").symlink_to("x.png")
        write("x.png")
        for said in refusals(folder):
            assert "row 0" in said and "x.png" in said

    @linux
    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
    def test_what_is_no_plain_file(self, folder, write, make):
        make(folder / "x.png")
        write("x.png")
        start = time.monotonic()
        for said in refusals(folder):
            assert "x.png is not a plain file" in said or "x.png' is a link to a place outside" in said
        assert time.monotonic() - start < 20

    def test_a_picture_of_more_than_a_picture_may_have(self, folder, write):
        with (folder / "x.png").open("wb") as file:
            file.truncate(2**28 + 1)
        write("x.png")
        for said in refusals(folder):
            assert "x.png has more than 268435456 bytes" in said

    def test_metadata_that_are_a_link(self, folder):
        write_rows(folder.parent / "elsewhere", row(file_name="secret.png"))
        (folder / "metadata.jsonl").symlink_to("../elsewhere/metadata.jsonl")
        for said in refusals(folder):
            assert "metadata.jsonl' is a link to a place outside" in said

    def test_a_split_that_is_a_link(self, folder):
        write_rows(folder.parent / "elsewhere", row(file_name="secret.png"))
        (folder / "train").symlink_to("../elsewhere")
        for said in refusals(folder):
            assert "train' is a link to a place outside" in said

    def test_a_shard_that_is_a_link(self, folder):
        write_parquet(folder.parent / "elsewhere/x.parquet", row())
        (folder / "train.parquet").symlink_to("../elsewhere/x.parquet")
        for said in refusals(folder):
            assert "train.parquet' is a link to a place outside" in said

    @linux
    def test_metadata_that_are_a_fifo(self, folder):
        os.mkfifo(folder / "metadata.jsonl")
        for said in refusals(folder):
            assert f"{folder}" in said

    def test_a_snapshot_in_the_cache_of_the_hub(self, folder):
        """Is made of links to blobs beside it, and of nothing else."""
        repository = folder / "datasets--someone--hands"
        snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
        (snapshot / "images").mkdir(parents=True)
        blobs.mkdir()
        (blobs / "1").write_bytes(picture_bytes())
        write_rows(blobs, row(file_name="images/x.png"))
        (snapshot / "images/x.png").symlink_to("../../../blobs/1")
        (snapshot / "metadata.jsonl").symlink_to("../../blobs/metadata.jsonl")
        read_all(snapshot)
        for path in blobs.iterdir():
            path.rename(folder.parent / "elsewhere" / path.name)
        blobs.rmdir()
        blobs.symlink_to(folder.parent / "elsewhere")
        for said in refusals(snapshot):
            assert "metadata.jsonl' is a link to a place outside" in said


class TestTables:
    """What a user has opened with `datasets`: rows name files anywhere on this machine."""

    def table(self, path):
        import datasets

        from diffusers_handiffuser.data import hand_features

        stored = row() | {"image": {"path": str(path), "bytes": None}}
        return datasets.Dataset.from_list([stored], features=hand_features())

    def test_pictures_lie_in_the_folders_that_are_named(self, folder):
        (folder / "x.png").write_bytes(picture_bytes())
        table = self.table(folder / "x.png")
        assert HandDataset.from_datasets(table, folders=[folder]).load_image(0, 8).shape == (8, 8, 3)
        with pytest.raises(ValueError, match="row 0: `image` names the file .*; `folders` says where"):
            HandDataset.from_datasets(table)
        for path in (folder.parent / "secret.png", "../secret.png", "/etc/hostname"):
            with pytest.raises(ValueError, match="row 0: `image` must be a path inside the folder"):
                HandDataset.from_datasets(self.table(path), folders=[folder])
        (folder / "y.png").symlink_to("../secret.png")
        with pytest.raises(PictureError, match="y.png' is a link to a place outside"):
            HandDataset.from_datasets(self.table(folder / "y.png"), folders=[folder])

    def test_columns_are_not_decoded(self, folder):
        import datasets

        table = datasets.Dataset.from_list([row()])
        with pytest.raises(ValueError, match="`text` claims to hold files of the type Image"):
            HandDataset.from_datasets(table.cast_column("text", datasets.Image()))

    def test_picture_folders_that_datasets_lists(self, folder):
        """`metadata.csv` is for `datasets` alone, which joins folder and name."""
        (folder / "x.png").write_bytes(picture_bytes())
        columns = row(file_name="x.png")
        lines = [",".join(columns), ",".join(json.dumps(value).replace(",", ";") for value in columns.values())]
        (folder / "metadata.csv").write_text("\n".join(lines))
        for said in refusals(folder):  # lists are no cells of CSV; what counts is that the picture was no problem
            assert "`global_orient` must be a list of 3 numbers" in said


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse_tar(size: int) -> bytes:
    """A member of the old GNU format that is one hole."""
    header = bytearray(member("0.png", 0, tarfile.GNUTYPE_SPARSE))
    header[386:398], header[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def pax_sparse_tar(size: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("0.png")
        info.size = 512
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
        archive.addfile(info, io.BytesIO(f"1\n{size}\n0\n".encode().ljust(512, b"\0")))
    return file.getvalue()


def packed(pack, *parts: bytes | int) -> bytes:
    """Bytes, and whole mebibytes of zeros, packed part by part."""
    zeros = pack.compress(bytes(2**20))
    return b"".join(zeros * (part // 2**20) if isinstance(part, int) else pack.compress(part) for part in parts)


def many_parts() -> bytes:
    return packed(gzip, *(part for n in range(3) for part in (member(f"0.{n}.png", 2**28), 2**28)))


def parquet_bytes(table, **options) -> bytes:
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, compression="zstd", **options)
    return file.getvalue()


def shared_text() -> bytes:
    """Half a megabyte of text that twenty thousand rows share."""
    import pyarrow

    places = pyarrow.array([0] * 20_000, pyarrow.int32())
    return parquet_bytes(pyarrow.table({"text": pyarrow.DictionaryArray.from_arrays(places, ["x" * 2**19])}))


def long_list() -> bytes:
    import pyarrow

    values = pyarrow.array([0.0], pyarrow.float32()).take(pyarrow.array([0] * 40_000_000, pyarrow.int8()))
    return parquet_bytes(pyarrow.table({"betas": pyarrow.ListArray.from_arrays([0, 40_000_000], values)}))


def plain_zeros() -> bytes:
    import pyarrow

    return parquet_bytes(pyarrow.table({"text": [bytes(2**29)]}), use_dictionary=False)


def one_text_in_a_list(wrap=lambda texts: texts) -> bytes:
    import pyarrow

    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, "int32"), ["x" * 2**19])
    return parquet_bytes(pyarrow.table({"notes": pyarrow.ListArray.from_arrays([0, 20_000], wrap(texts))}))


def one_text_in_a_map() -> bytes:
    import pyarrow

    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, "int32"), ["x" * 2**19])
    keys = pyarrow.array([str(number) for number in range(20_000)])
    return parquet_bytes(pyarrow.table({"notes": pyarrow.MapArray.from_arrays([0, 20_000], keys, texts)}))


def values_of_one_length() -> bytes:
    import pyarrow

    places = pyarrow.array([0] * 80, "int32")
    values = pyarrow.DictionaryArray.from_arrays(places, pyarrow.array([bytes(2**22)], pyarrow.binary(2**22)))
    return parquet_bytes(pyarrow.table({"notes": values}))


def in_a_struct(texts):
    import pyarrow

    return pyarrow.StructArray.from_arrays([texts], ["text"])


READ_LIMITED = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
import datasets, pyarrow.parquet
from diffusers_handiffuser.data import open_dataset
from diffusers_handiffuser.data.sources import Shard
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1200 * 2**20,) * 2)
for path in sys.argv[2:]:
    start, rows = time.process_time(), 0
    try:
        for row in Shard(path, "webdataset" if path.endswith("tar") else "parquet").rows():
            rows += 1
        print(f"{time.process_time() - start:.3f} {rows} rows")
    except ValueError as error:
        print(f"{time.process_time() - start:.3f} {error}")
"""
BOMBS = {
    "sparse": ("tar", lambda: sparse_tar(2**32), "0.png is stored as a sparse file"),
    "sparse by its head": ("tar", lambda: pax_sparse_tar(2**32), "0.png is stored as a sparse file"),
    "map of a sparse file": ("tar", sparse_map_tar, "0.png is stored as a sparse file"),
    "xz that asks for gigabytes": (
        "tar",
        lambda: lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1536 * 2**20}]),
        "Memory usage limit exceeded",
    ),
    "many parts of a row": ("tar", many_parts, "the row of 0.1.png has more than 268435456 bytes"),
    "JSON": ("tar", lambda: packed(gzip, member("0.json", 2**27), 2**27), "0.json has more than 16777216 bytes"),
    "head": (
        "tar",
        lambda: packed(gzip, member("././@LongLink", 2**30, tarfile.GNUTYPE_LONGNAME), 2**28),
        "the header of a member has more than 1048576 bytes",
    ),
    "bzip2": ("tar", lambda: packed(bz2, member("0.x", 2**26), 2**26, member("1", 2**40), 2**30), "1 has more"),
    "xz": ("tar", lambda: packed(lzma, member("0.x", 2**26), 2**26, member("1", 2**40), 2**30), "1 has more"),
    "nothing but zeros": (
        "tar",
        lambda: packed(gzip, *(p for n in range(5) for p in (member(f"{n}", 2**28), 2**28))),
        "it unpacks to more than 200 times its size",
    ),
    "a text for all": ("parquet", shared_text, "20000 rows"),
    "a long list": ("parquet", long_list, "it has more than 200 values for each of its bytes"),
    "one text in a list": ("parquet", one_text_in_a_list, "the texts of a row have more than 268435456 bytes"),
    "deep in a list": ("parquet", lambda: one_text_in_a_list(in_a_struct), "the texts of a row have more than"),
    "one text in a map": ("parquet", one_text_in_a_map, "the texts of a row have more than"),
    "values of one length": ("parquet", values_of_one_length, "it unpacks to more than 200 times its size"),
    "zeros": ("parquet", plain_zeros, "it unpacks to more than 200 times its size"),
}


@pytest.mark.slow
@linux
class TestBombs:
    """Small files that ask for much: in a process of its own, with 1.2 GiB beside the libraries."""

    @pytest.fixture(scope="module")
    def outcomes(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bombs")
        paths = []
        for number, (suffix, content, _) in enumerate(BOMBS.values()):
            paths.append(folder / f"bomb{number}.{suffix}")
            paths[-1].write_bytes(content())
            assert paths[-1].stat().st_size < 4 * 2**20
        arguments = [sys.executable, "-c", READ_LIMITED, SOURCE, *map(str, paths)]
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr[-2000:]
        return dict(zip(BOMBS, result.stdout.splitlines(), strict=True))

    @pytest.mark.parametrize("name", BOMBS)
    def test_is_refused(self, outcomes, name):
        seconds, _, message = outcomes[name].partition(" ")
        assert BOMBS[name][2] in message, message
        assert float(seconds) < 20


class TestTextsInMessages:
    def test_names_of_pictures(self, folder, capsys):
        write_rows(folder, row(file_name="a\nb\x1b]0;x\x07.png", source="\x1b[31m\nrow 1: fine"))
        for said in refusals(folder):
            assert said.isprintable() and r"a\nb\x1b]0;x\x07.png" in said
        assert main(["data", "check", str(folder)]) == 1
        assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())

    def test_sources(self, folder, capsys):
        write_rows(folder, row(source="\x1b[31m\nrow 1: fine"))
        main(["data", "check", str(folder)])
        assert r"\x1b[31m\nrow 1: fine: 1" in capsys.readouterr().out

    def test_of_datasets(self, folder):
        """A card that says other columns than there are: the reason has many lines."""
        (folder / "rows.json").write_text(json.dumps(row()) + "\n")
        card = {"dataset_info": {"features": [{"name": "image", "dtype": "image"}]}}
        (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
        for said in refusals(folder):
            assert said.startswith(f"Cannot read {folder}: ")


class TestColumnsOfParquet:
    def test_lists_maps_and_structs_of_texts(self, folder):
        import pyarrow
        import pyarrow.parquet

        from diffusers_handiffuser.data.parquet import read_parquet

        rows = [
            {"tags": ["a", None], "names": [("k", "v"), ("l", None)], "deep": {"in": [{"text": "b"}]}, "id": b"12"},
            {"tags": [], "names": [], "deep": {"in": None}, "id": None},
            {"tags": None, "names": None, "deep": None, "id": b"34"},
        ]
        text = pyarrow.string()
        schema = {
            "tags": pyarrow.list_(text),
            "names": pyarrow.map_(text, text),
            "deep": pyarrow.struct({"in": pyarrow.list_(pyarrow.struct({"text": text}))}),
            "id": pyarrow.binary(2),
        }
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows, pyarrow.schema(schema.items())), folder / "x.parquet"
        )
        with (folder / "x.parquet").open("rb") as file:
            assert list(read_parquet(file)) == rows


class TestRowsOfArchives:
    def test_may_hold_more_if_that_is_said(self, folder):
        content = json.dumps(row()).encode()
        with tarfile.open(folder / "x.tar", "w") as archive:
            for name, part in (("0.json", content), ("0.png", picture_bytes())):
                info = tarfile.TarInfo(name)
                info.size = len(part)
                archive.addfile(info, io.BytesIO(part))
        limit = len(content) + len(picture_bytes())
        for size in (limit, limit - 1):
            options = {"max_row_bytes": size}
            if size == limit:
                assert len(open_dataset(folder, **options)) == len(list(stream_dataset(folder, **options))) == 1
            else:
                for read in (open_dataset, lambda *args, **options: list(stream_dataset(*args, **options))):
                    with pytest.raises(ValueError, match=f"x.tar: the row of 0.png has more than {size} bytes"):
                        read(folder, **options)

    @pytest.mark.parametrize("pack", [gzip.open, bz2.open, lzma.open])
    def test_are_read_from_packed_archives(self, folder, pack):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            info = tarfile.TarInfo("0.json")
            info.size = len(json.dumps(row()))
            archive.addfile(info, io.BytesIO(json.dumps(row()).encode()))
        with pack(folder / "x.tar", "wb") as target:
            target.write(file.getvalue())
        assert open_dataset(folder).texts == ["a hand"]

    def test_of_a_damaged_archive_are_named(self, folder):
        (folder / "x.tar").write_bytes(member("0.json", 4) + b"null".ljust(512, b"\0") + bytes(1024))
        for said in refusals(folder):
            assert said == f"{folder}/x.tar, row 0: must be a JSON object, but is a NoneType"
        (folder / "x.tar").write_bytes(struct.pack("<512s", b"x"))
        for said in refusals(folder):
            assert said.startswith(f"Cannot read {folder}/x.tar: ")


class TestCommands:
    def test_check_of_what_was_interrupted(self, folder, capsys):
        (folder / "images").mkdir()
        (folder / "images/000000.png").write_bytes(picture_bytes())
        (folder / "metadata.jsonl.123.tmp").touch()
        assert main(["data", "check", str(folder)]) == 2
        said = capsys.readouterr().err
        assert "metadata.jsonl.123.tmp: the writing of this data set was interrupted" in said
        assert "Traceback" not in said

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("/etc/hostname", "row 0: `file_name` must be a path inside the folder"),
            ("x.png", ".cache' is a link to a place outside"),
        ],
    )
    def test_training_on_what_leads_elsewhere(self, folder, path, reason):
        """Caches are written beside the rows that they are of."""
        (folder / ".cache").symlink_to("../elsewhere")
        (folder / "x.png").write_bytes(picture_bytes())
        write_rows(folder, *[row(file_name=path)] * 4)
        arguments = ["--train_data_dir", str(folder), "--output_dir", "out", "--max_train_steps", "1"]
        arguments += ["--num_validation_rows", "1", "--resolution", "16"]
        command = [sys.executable, "-m", "diffusers_handiffuser.training.vae", *arguments]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert result.returncode == 2 and reason in result.stderr and "Traceback" not in result.stderr
        assert [path.name for path in Path("elsewhere").iterdir()] == ["secret.png"]


def test_shards_of_a_folder_are_told_of_its_split(folder):
    write_parquet(folder / "train.parquet", row())
    assert [Path(shard.path).name for shard in find_shards(folder)] == ["train.parquet"]
