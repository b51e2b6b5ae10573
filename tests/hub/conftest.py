"""The stand-in Hub as the Hub of this process, and saved pipelines in both layouts to put there."""

import sys
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, hf_api
from releases import close_session
from transformers.utils import hub as hub_of_transformers

sys.path.insert(0, str(Path(__file__).parent))

from stand_in_hub import StandInHub

LAYOUTS = ("plain", "flagship")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hub, and an empty cache; huggingface_hub in this process talks to it."""
    with StandInHub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        for module in (constants, file_download):  # the second has it before huggingface_hub 1.0
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        monkeypatch.setattr(hub_of_transformers, "_hf_api", None, raising=False)  # made at first use, and kept
        monkeypatch.setattr(hub_of_transformers, "_is_offline_mode", False, raising=False)  # before transformers 5
        for name, value in server.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        close_session()
        yield server
    close_session()


@pytest.fixture(scope="session")
def layouts(make_pipe, tmp_path_factory) -> dict[str, Path]:
    """Folders with the same pipeline in the two layouts."""
    folders = {name: tmp_path_factory.mktemp("layouts") / name for name in LAYOUTS}
    for name, folder in folders.items():
        pipe = make_pipe()
        pipe.register_for_remote_code(name == "flagship")
        pipe.save_pretrained(folder, card={"training_data": "Three rows."})
    return folders


@pytest.fixture(params=["folder", "hub"])
def publish(request, tmp_path):
    """Returns what to pass to `from_pretrained` for a folder: the folder, or the id it was put under on the Hub."""
    if request.param == "folder":
        return str
    server = request.getfixturevalue("hub")

    def put(folder: Path) -> str:
        server.put_folder(f"someone/{folder.name}", folder)
        return f"someone/{folder.name}"

    return put


@pytest.fixture
def code_cache(monkeypatch, tmp_path):
    """Where diffusers copies loader code to."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
