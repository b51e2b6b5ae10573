"""A data set on the (stand-in) Hub, read by name in a process of its own, which sees nothing but that Hub."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_samples import NUM_ROWS
from stand_in_hub import REPO, Answer, Refusal, StandInHub, oid

SCRIPT = """
import sys

hosts = set()
sys.addaudithook(lambda event, arguments: event == "socket.getaddrinfo" and hosts.add(arguments[0]))

from diffusers_handiffuser.data import open_dataset, stream_dataset

for name in ("someone/parquet", "someone/tar", "someone/data"):
    rows = []
    for process in range(2):
        options = {"revision": "v1", "need_images": True, "process_index": process, "num_processes": 2}
        rows += stream_dataset(name, **options)
    print(*sorted(int(row.text.rpartition(" ")[2]) for row in rows))
    print(rows[0].where, rows[0].picture.square(16).shape)
    dataset = open_dataset(name, revision="v1", need_images=True)
    print(len(dataset), dataset.load_image(3, 16).shape)
for name in ("someone/nothing", "someone/hostile"):
    try:
        open_dataset(name)
    except (FileNotFoundError, ValueError) as error:
        print(error)
print(*hosts)
"""


class DatasetHub(StandInHub):
    """With what `datasets` asks: repositories of data sets, their files, and parts of files."""

    def _paths_info(self, match, query, body) -> Answer:
        wanted = re.findall(r"paths=([^&]*)", body.decode())
        repository = self.repositories[match["repo"]]
        files = repository.commits[repository.resolve(match["revision"])]
        entries = [
            {"type": "file", "path": path, "size": len(files[path]), "oid": oid(path, files[path])}
            for path in (name.replace("%2F", "/") for name in wanted)
            if path in files
        ]
        return Answer(entries)

    def _folder(self, match, query, body) -> Answer:
        """What lies in a folder of a repository, sub-folders as entries of their own unless asked to go into them."""
        repository, folder = self.repositories[match["repo"]], (match["folder"] or "").strip("/")
        entries = {}
        for path, content in sorted(repository.commits[repository.resolve(match["revision"])].items()):
            if folder and not path.startswith(f"{folder}/"):
                continue
            first = path[len(folder) :].strip("/").split("/")[0]
            inner = f"{folder}/{first}".strip("/")
            if inner != path:
                entries[inner] = {"type": "directory", "path": inner, "size": 0, "oid": oid(inner, b"")}
            if inner == path or query.get("recursive", ["False"])[0].lower() == "true":
                entries[path] = {"type": "file", "path": path, "size": len(content), "oid": oid(path, content)}
        return Answer(list(entries.values()))

    def _no_exports(self, match, query, body) -> Answer:
        raise Refusal(404, "EntryNotFound", "no exports here")

    _ROUTES = (
        (("POST",), f"/api/datasets/{REPO}/paths-info/(?P<revision>.+)", _paths_info),
        (("GET",), f"/api/datasets/{REPO}/tree/(?P<revision>[^/]+)(?P<folder>/.+)?", _folder),
        (("GET",), f"/api/datasets/{REPO}/(?P<rest>parquet|compat.*|xet.*)", _no_exports),
        *(
            (methods, pattern.replace("/api/models/", "/api/datasets/"), route)
            for methods, pattern, route in StandInHub._ROUTES
            if "/api/models/" in pattern
        ),
        *(
            (methods, "/datasets" + pattern, route)
            for methods, pattern, route in StandInHub._ROUTES
            if "/resolve/" in pattern
        ),
    )


@pytest.mark.slow
def test_read_by_name(parquet_dir, webdataset_dir, data_dir, tmp_path):
    (tmp_path / "hostile").mkdir()
    card = "---\nconfigs:\n- config_name: default\n  data_files: reference::file:///x/refs.json\n---\n"
    (tmp_path / "hostile/README.md").write_text(card)
    with DatasetHub() as hub:
        hub.put_folder("someone/hostile", tmp_path / "hostile")
        for folder in (parquet_dir, webdataset_dir, data_dir):
            hub.put_folder(f"someone/{folder.name}", folder)
            hub.put_folder(f"someone/{folder.name}", folder, branch="v1")
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, (numbers, first, dataset) in (("parquet", lines[:3]), ("tar", lines[3:6]), ("data", lines[6:9])):
        assert numbers == " ".join(map(str, range(NUM_ROWS)))
        assert f"someone/{name}" in first and ", row 0" in first and "(16, 16, 3)" in first
        assert dataset == f"{NUM_ROWS} (16, 16, 3)"
    assert "there is no folder 'someone/nothing' here, and no such data set on the Hub" in lines[9]
    assert "someone/hostile: a data file that its README.md names must be a path inside the folder" in lines[10]
    assert lines[11] == "127.0.0.1"
