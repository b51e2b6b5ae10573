"""The stand-in Hub as the Hub of this process, and saved pipelines in both layouts to put there."""

import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, hf_api
from transformers.utils import hub as hub_of_transformers

sys.path.insert(0, str(Path(__file__).parent))

from stand_in_hub import StandInHub  # noqa: E402

# Before 1.0, huggingface_hub had sessions of requests rather than of httpx.
close_session = getattr(huggingface_hub, "close_session", None) or huggingface_hub.utils.reset_sessions

LAYOUTS = ("plain", "flagship")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hub, and an empty cache; huggingface_hub in this process talks to it."""
    with StandInHub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        monkeypatch.setattr(hub_of_transformers, "_hf_api", None, raising=False)  # made at first use, and kept
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
        return lambda folder: str(folder)
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
