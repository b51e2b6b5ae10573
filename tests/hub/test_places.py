"""Names of what is not there: no folder of this machine, and a Hub that cannot be reached."""

import sys

import pytest
from huggingface_hub import constants
from releases import close_session

from diffusers_handiffuser import HanDiffuserPipeline, TextHandEncoder
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.data import open_dataset
from diffusers_handiffuser.hub.places import hub_unreachable, looks_like_a_path
from diffusers_handiffuser.training.engine.options import DataOptions
from diffusers_handiffuser.training.engine.sources import open_rows

_ASKED: list = []
sys.addaudithook(lambda event, arguments: event == "socket.connect" and _ASKED.append(arguments))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Nobody listens where the Hub should be. Yields the attempts to connect."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub cache"))
    close_session()
    _ASKED.clear()
    yield _ASKED
    close_session()


@pytest.mark.parametrize(
    ("name", "is_path"),
    [("nothere", False), ("someone/model", False), ("nothere/", True), ("./x", True), ("a b", True), ("a/b/c", True)],
)
def test_what_can_be_a_hub_id(name, is_path):
    assert looks_like_a_path(name) is is_path


LOADERS = {
    "pipeline": HanDiffuserPipeline.from_pretrained,
    "model": TextHandEncoder.from_pretrained,
    "stable diffusion": HanDiffuserPipeline.from_stable_diffusion,
    "data set": open_dataset,
}


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_the_hub_is_asked_once(load, no_network, capfd):
    with pytest.raises(OSError, match=r"there is no folder 'nothere' here, and the Hub cannot be reached: ") as caught:
        load("nothere")
    assert "\n" not in str(caught.value) and "Retrying" not in capfd.readouterr().err
    assert 1 <= len(no_network) <= 2  # httpx itself may try a refused connection again, at once


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_what_is_no_hub_id_is_not_asked_for(load, no_network):
    with pytest.raises(OSError, match=r"there is no folder 'nothere/' here; wanted"):
        load("nothere/")
    assert not no_network


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "a hand", "-o", "x.png", "--model", "nothere/"),
        ("evaluate", "--natural", "--output", "out", "--model", "nothere/"),
        ("evaluate", "--data", "nothere/", "--output", "out"),
        ("data", "check", "nothere/"),
        ("data", "curate", "nothere/", "out"),
    ],
    ids=" ".join,
)
def test_commands(command, no_network, capsys):
    assert main(command) == 2
    assert "there is no folder 'nothere/' here; " in capsys.readouterr().err and not no_network


def test_a_folder_of_a_trainer_is_no_hub_id(no_network):
    with pytest.raises(FileNotFoundError, match="--train_data_dir: there is no folder 'nothere' here; --dataset_name"):
        open_rows(DataOptions(train_data_dir="nothere"))
    assert not no_network


def test_without_datasets_installed(no_network, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="^there is no folder 'nothere' here; .* needs Hugging Face datasets"):
        open_dataset("nothere")


def test_offline_mode_and_the_cache_come_first(no_network, monkeypatch, tmp_path):
    (tmp_path / "hub cache/models--someone--cached").mkdir(parents=True)
    assert hub_unreachable("someone/cached") is None and hub_unreachable("someone/other")
    no_network.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_unreachable("someone/other") is None and not no_network


def test_what_the_hub_answers(hub):
    assert hub_unreachable("someone/nothing") is None
    with pytest.raises(OSError, match="there is no folder 'someone/nothing' here, and the Hub says: "):
        HanDiffuserPipeline.from_pretrained("someone/nothing")
