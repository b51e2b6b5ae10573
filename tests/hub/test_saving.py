"""Uploads to the stand-in Hub: by pipelines, by each model and by the command line; failures, and what is refused."""

import json
import os
import pickle
import re
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, ModularPipeline
from huggingface_hub import constants, snapshot_download
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserModularPipeline,
    HanDiffuserPipeline,
    TextHandEncoder,
    TextToHandParamsModel,
)
from diffusers_handiffuser.cli import main
from diffusers_handiffuser.hub import saving as sharing
from diffusers_handiffuser.hub.licensed_bodies import refuse_licensed_bodies
from diffusers_handiffuser.hub.saving import push_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "hands"))

REPO = "someone/hands"


def uploads(requests) -> list[str]:
    return [path for method, path in requests if method == "PUT"]


@pytest.fixture
def licensed_file(tmp_path) -> Path:
    """As it were a user's file: the arrays differ from our own body's."""
    path = HandBodyModel.procedural().to_smplx(tmp_path / "body.npz")
    arrays = dict(np.load(path))
    arrays["v_template"] = arrays["v_template"] * 1.01
    np.savez(path, **arrays)
    return path


@pytest.fixture
def licensed_body(licensed_file) -> HandBodyModel:
    body = HandBodyModel.from_smplh(licensed_file)
    assert body.config.licensed
    return body


class TestPipeline:
    def test_comes_back_as_it_was(self, hub, pipe):
        commit = pipe.push_to_hub(REPO)
        assert commit.oid in hub.repositories[REPO].commits and hub.message(REPO) == "Upload HanDiffuserPipeline"
        assert not hub.repositories[REPO].private
        for loader in (HanDiffuserPipeline, DiffusionPipeline):
            loaded = loader.from_pretrained(REPO)
            for key, value in pipe.text_encoder.state_dict().items():
                assert torch.equal(value, loaded.text_encoder.state_dict()[key])
        card = hub.files(REPO)["README.md"].decode()
        assert f"# {REPO}" in card and f'from_pretrained("{REPO}")' in card

    def test_private_branch_and_message(self, hub, pipe):
        pipe.push_to_hub(REPO, private=True, revision="tuned", commit_message="Fingers")
        assert hub.repositories[REPO].private
        assert hub.message(REPO, "tuned") == "Fingers" and "model_index.json" not in hub.files(REPO)
        assert HanDiffuserPipeline.from_pretrained(REPO, revision="tuned").text_encoder is not None
        pipe.push_to_hub(REPO, revision="tuned", card={"limits": "Many."})
        assert "Many." not in hub.files(REPO, "tuned")["README.md"].decode()

    def test_pull_request(self, hub, pipe):
        pipe.push_to_hub(REPO)
        before = hub.files(REPO)
        pipe.register_to_config(default_num_inference_steps=9)
        commit = pipe.push_to_hub(REPO, create_pr=True)
        assert commit.pr_revision == "refs/pr/1" and hub.files(REPO) == before
        loaded = HanDiffuserPipeline.from_pretrained(REPO, revision="refs/pr/1")
        assert loaded.config.default_num_inference_steps == 9

    def test_variant_shards_and_loader_code(self, hub, pipe):
        pipe.register_for_remote_code()
        pipe.push_to_hub(REPO, variant="fp16", max_shard_size="60KB")
        files = hub.files(REPO)
        assert "unet/diffusion_pytorch_model.safetensors.index.fp16.json" in files and "pipeline.py" in files
        assert HanDiffuserPipeline.from_pretrained(REPO, variant="fp16").unet is not None

    def test_while_saving(self, hub, pipe, tmp_path):
        pipe.save_pretrained(
            tmp_path / "hands", push_to_hub=True, private=True, commit_message="Saved", create_pr=True
        )
        assert hub.repositories[REPO].private and hub.message(REPO, "refs/pr/1") == "Saved"
        assert hub.files(REPO, "refs/pr/1")["README.md"] == (tmp_path / "hands" / "README.md").read_bytes()

    def test_a_card_that_is_there_stays(self, hub, pipe, tmp_path):
        (tmp_path / "README.md").write_text("Mine.")
        hub.put_folder(REPO, tmp_path)
        pipe.push_to_hub(REPO)
        assert hub.files(REPO)["README.md"] == b"Mine." and "unet/config.json" in hub.files(REPO)


class TestModels:
    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "body_model"])
    def test_push_and_load(self, hub, pipe, name):
        model = getattr(pipe, name)
        model.push_to_hub(REPO, private=True, revision="r", commit_message="One part", max_shard_size="5GB")
        assert hub.repositories[REPO].private and hub.message(REPO, "r") == "One part"
        assert set(hub.files(REPO, "r")) == {
            ".gitattributes",
            "README.md",
            "config.json",
            "diffusion_pytorch_model.safetensors",
        }
        assert "library_name: diffusers" in hub.files(REPO, "r")["README.md"].decode()
        loaded = type(model).from_pretrained(REPO, revision="r")
        for key, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[key])
        commit = model.push_to_hub(REPO, create_pr=True, subfolder="part")
        assert commit.pr_revision == "refs/pr/1" and "part/config.json" in hub.files(REPO, "refs/pr/1")
        type(model).from_pretrained(REPO, revision="refs/pr/1", subfolder="part")

    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "body_model"])
    def test_while_saving(self, hub, pipe, tmp_path, name):
        """By the same upload as `push_to_hub`: with our card, on a branch, and without what is not for the Hub."""
        model, folder = getattr(pipe, name), tmp_path / "part"
        (folder / "checkpoint-5").mkdir(parents=True)
        (folder / "checkpoint-5" / "optimizer.bin").write_bytes(b"x")
        model.save_pretrained(
            folder, push_to_hub=True, repo_id=REPO, private=True, revision="r", card={"limits": "Thumbs."}
        )
        files = hub.files(REPO, "r")
        assert hub.repositories[REPO].private and hub.message(REPO, "r") == f"Upload {type(model).__name__}"
        assert "checkpoint-5/optimizer.bin" not in files and "config.json" not in hub.files(REPO)
        card = files["README.md"].decode()
        assert "Thumbs." in card and f'{type(model).__name__}.from_pretrained("{REPO}")' in card
        assert type(model).from_pretrained(REPO, revision="r") is not None

    def test_without_a_push_no_card_is_written(self, pipe, tmp_path):
        pipe.text_encoder.save_pretrained(tmp_path / "a")
        assert not (tmp_path / "a" / "README.md").exists()
        pipe.text_encoder.save_pretrained(tmp_path / "b", card={"limits": "Thumbs."})
        assert "Thumbs." in (tmp_path / "b" / "README.md").read_text()

    def test_config_alone(self, hub, pipe, tmp_path, licensed_file):
        """diffusers' own way of uploading a config ends in our upload."""
        pipe.text_encoder.save_config(str(tmp_path / "c"), push_to_hub=True, repo_id=REPO)
        assert set(hub.files(REPO)) == {".gitattributes", "config.json"}
        shutil.copy(licensed_file, tmp_path / "c")
        with pytest.raises(ValueError, match="licensed body must not be uploaded"):
            pipe.text_encoder.save_config(str(tmp_path / "c"), push_to_hub=True, repo_id=REPO)


class TestSubfolder:
    @pytest.mark.parametrize("name", ["text_encoder", "pipeline"])
    def test_the_card_stands_at_the_top(self, hub, pipe, name, monkeypatch):
        model = pipe if name == "pipeline" else getattr(pipe, name)
        model.push_to_hub(REPO, subfolder="parts/first")
        files = hub.files(REPO)
        assert "README.md" in files and "parts/first/README.md" not in files
        code = files["README.md"].decode().split("```python\n")[1].split("```")[0]
        names = {}
        exec(code, names)
        assert "parts/first" in code and ("image" in names) == (name == "pipeline")

    def test_a_card_that_is_there_stays(self, hub, pipe, tmp_path):
        (tmp_path / "README.md").write_text("Mine.")
        hub.put_folder(REPO, tmp_path)
        pipe.push_to_hub(REPO, subfolder="second")
        files = hub.files(REPO)
        assert files["README.md"] == b"Mine." and "second/README.md" not in files
        assert "second/model_index.json" in files

    @pytest.mark.parametrize("subfolder", ["../x", "/x"])
    def test_is_within_the_repository(self, hub, pipe, subfolder):
        with pytest.raises(ValueError, match="`subfolder` must be a folder within the repository"):
            pipe.push_to_hub(REPO, subfolder=subfolder)
        assert hub.requests == []


class TestModular:
    @pytest.mark.parametrize("way", ["push_to_hub", "save_pretrained"])
    def test_comes_back(self, hub, pipe, tmp_path, way):
        pipe.save_pretrained(tmp_path / "plain")
        modular = ModularPipeline.from_pretrained(tmp_path / "plain")
        modular.load_components()
        if way == "push_to_hub":
            modular.push_to_hub(REPO, card={"limits": "Thumbs."})
        else:
            modular.save_pretrained(tmp_path / "m", push_to_hub=True, repo_id=REPO, card={"limits": "Thumbs."})
        files = hub.files(REPO)
        card = files["README.md"].decode()
        assert "Thumbs." in card and f'HanDiffuserPipeline.from_pretrained("{REPO}")' in card
        assert str(tmp_path).encode() not in files["modular_model_index.json"]
        loaded = ModularPipeline.from_pretrained(REPO)
        loaded.load_components()
        assert type(loaded) is HanDiffuserModularPipeline
        for key, value in pipe.text_encoder.state_dict().items():
            assert torch.equal(value, loaded.text_encoder.state_dict()[key])
        assert type(DiffusionPipeline.from_pretrained(REPO)) is HanDiffuserPipeline


class TestResume:
    @pytest.mark.parametrize("method, part", [("POST", "/commit/main"), ("PUT", "/lfs/")])
    def test_goes_on_where_it_ended(self, hub, pipe, method, part):
        hub.fail_once(method, part)
        with pytest.raises(OSError, match=f"Cannot push to '{REPO}'") as caught:
            pipe.push_to_hub(REPO)
        assert "\n" not in str(caught.value)
        assert "model_index.json" not in hub.files(REPO)
        sent = set(hub.large_files)
        assert sent, "some files arrived"
        hub.take_requests()

        pipe.push_to_hub(REPO)
        assert not [path for path in uploads(hub.take_requests()) if path.removeprefix("/lfs/") in sent]
        assert HanDiffuserPipeline.from_pretrained(REPO).unet is not None

    def test_second_push_sends_nothing(self, hub, pipe):
        pipe.push_to_hub(REPO)
        commits = len(hub.repositories[REPO].commits)
        hub.take_requests()
        pipe.push_to_hub(REPO)
        assert not uploads(hub.take_requests()) and len(hub.repositories[REPO].commits) == commits

    def test_refusals_in_one_line(self, hub, pipe, monkeypatch):
        for name in ("a b", "a/b/c", ""):
            with pytest.raises(ValueError, match="`repo_id` must be a name on the Hub"):
                pipe.push_to_hub(name)
        assert hub.requests == []
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(OSError, match="offline"):
            pipe.push_to_hub(REPO)


class TestLicensedBody:
    def test_its_arrays_stay_here(self, hub, make_pipe, licensed_body):
        pipe = make_pipe(body_model=licensed_body)
        pipe.push_to_hub(REPO)
        licensed_body.push_to_hub("someone/body")
        assert {name for name in hub.files(REPO) if name.startswith("body_model")} == {"body_model/config.json"}
        assert set(hub.files("someone/body")) == {".gitattributes", "README.md", "config.json"}
        secret = licensed_body.template.numpy().tobytes()[:64]
        everything = list(hub.large_files.values())
        for repository in hub.repositories.values():
            everything += [content for files in repository.commits.values() for content in files.values()]
        assert not any(secret in content for content in everything)
        assert licensed_body.config.sha256 in hub.files(REPO)["body_model/config.json"].decode()

        card = hub.files(REPO)["README.md"].decode()
        assert licensed_body.config.sha256 in card and "body_model=HandBodyModel.from_smplh(PATH)" in card
        assert HanDiffuserPipeline.from_pretrained(REPO, body_model=licensed_body).body_model is licensed_body

    def test_files_that_are_refused(self, hub, pipe, tmp_path, monkeypatch):
        """Whatever ends up in the folder that is uploaded."""
        save_pretrained = HanDiffuserPipeline.save_pretrained

        def with_arrays(self, folder, **kwargs):
            save_pretrained(self, folder, **kwargs)
            config = Path(folder) / "body_model" / "config.json"
            config.write_text(config.read_text().replace('"licensed": false', '"licensed": true'))

        monkeypatch.setattr(HanDiffuserPipeline, "save_pretrained", with_arrays)
        with pytest.raises(ValueError, match="body_model.*licensed body must not be uploaded"):
            pipe.push_to_hub(REPO)
        assert hub.requests == []


class TestCommand:
    @pytest.fixture
    def folder(self, pipe, tmp_path):
        pipe.save_pretrained(tmp_path / "saved")
        return tmp_path / "saved"

    def test_uploads(self, hub, folder, capsys):
        (folder / "README.md").write_text("Mine.")
        assert main(["push", str(folder), REPO, "--private", "--commit-message", "By hand", "--revision", "r"]) == 0
        assert capsys.readouterr().out.strip() == f"{hub.url}/{REPO}"
        assert hub.repositories[REPO].private and hub.message(REPO, "r") == "By hand"
        files = {name: content for name, content in hub.files(REPO, "r").items() if name != ".gitattributes"}
        assert files == {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert main(["push", str(folder), REPO, "--create-pr"]) == 0
        assert capsys.readouterr().out.strip().endswith("/discussions/1")
        assert hub.files(REPO, "refs/pr/1")["README.md"] == b"Mine."

    def test_what_a_trainer_leaves_beside_its_result_stays_here(self, hub, folder):
        for name in ("checkpoint-5/optimizer.bin", "samples/1.png", "log.jsonl"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"x")
        assert main(["push", str(folder), REPO]) == 0
        assert "unet/config.json" in hub.files(REPO)
        assert not [name for name in hub.files(REPO) if name.startswith(("checkpoint", "samples", "log"))]

    def test_writes_a_card_where_there_is_none(self, hub, folder, capsys):
        (folder / "README.md").unlink()
        assert main(["push", str(folder), REPO]) == 0
        assert "fill in" in capsys.readouterr().err
        assert hub.files(REPO)["README.md"] == (folder / "README.md").read_bytes()

    def test_licensed_body_without_arrays(self, hub, make_pipe, licensed_body, tmp_path):
        make_pipe(body_model=licensed_body).save_pretrained(tmp_path / "licensed")
        assert main(["push", str(tmp_path / "licensed"), REPO]) == 0
        assert "body_model/config.json" in hub.files(REPO)

    def test_bad_input(self, hub, folder, tmp_path, capsys, licensed_file):
        def refused(*arguments) -> str:
            capsys.readouterr()
            assert main(["push", *map(str, arguments)]) == 2
            lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("handiffuser:")]
            assert len(lines) == 1 and REPO not in hub.repositories
            return lines[0]

        assert "no folder" in refused(tmp_path / "nothing", REPO)
        (tmp_path / "empty").mkdir()
        assert "model_index.json" in refused(tmp_path / "empty", REPO)
        assert "repo_id" in refused(folder, "not a name")

        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-10])
        assert "unet" in refused(folder, REPO)
        save_file({key: value * float("nan") for key, value in load_file_bytes(whole, tmp_path).items()}, weights)
        assert "not finite" in refused(folder, REPO)
        weights.write_bytes(whole)

        names = {"SMPLH_NEUTRAL.pkl": "name", "mano_v1_2.pkl": "name", "model.pkl": "arrays", "extra.npz": "arrays"}
        for name, key in names.items():
            if name.endswith(".npz"):
                shutil.copy(licensed_file, folder / name)
            else:
                (folder / name).write_bytes(
                    pickle.dumps({"v_template": 0, "J_regressor": 1} if key == "arrays" else 0)
                )
            message = refused(folder, REPO)
            assert name in message and key in message
            (folder / name).unlink()

        body = folder / "body_model" / "config.json"
        body.write_text(json.dumps({**json.loads(body.read_text()), "licensed": True}))
        assert "body_model/diffusion_pytorch_model.safetensors" in refused(folder, REPO)

    def test_refusal_by_the_hub(self, hub, folder, capsys):
        hub.fail_once("POST", "/api/repos/create", status=403)
        assert main(["push", str(folder), REPO]) == 2
        assert f"handiffuser: error: Cannot push to '{REPO}'" in capsys.readouterr().err


def load_file_bytes(content: bytes, tmp_path: Path) -> dict[str, torch.Tensor]:
    (tmp_path / "whole.safetensors").write_bytes(content)
    return load_file(tmp_path / "whole.safetensors")


def test_every_class_pushes_in_the_same_way():
    models = (TextHandEncoder, TextToHandParamsModel, HandBodyModel)
    for cls in (HanDiffuserPipeline, HanDiffuserModularPipeline, *models):
        for method in ("push_to_hub", "_upload_folder"):
            assert getattr(cls, method).__module__ == "diffusers_handiffuser.hub.saving", (cls, method)


def test_links_out_of_the_folder_are_not_followed(hub, pipe, tmp_path):
    """An upload would publish what they lead to; what is not uploaded may hold any."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    folder = tmp_path / "out"
    (folder / "samples").mkdir(parents=True)
    (folder / "samples" / "link").symlink_to(secret)
    (folder / "config.json").write_text("{}")
    (folder / "inside.json").symlink_to("config.json")
    push_folder(folder, "someone/links")
    (folder / "notes.txt").symlink_to(secret)
    with pytest.raises(ValueError, match="notes.txt' is a link to a place outside of"):
        push_folder(folder, "someone/links")


class TestWhatIsSent:
    """A folder may be a stranger's: its links and odd names must not publish what is somewhere else."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        (tmp_path / "secret").write_text("mine")
        folder = tmp_path / "out"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return folder

    def sent(self, hub, folder, **options) -> set[str]:
        push_folder(folder, REPO, **options)
        return set(hub.files(REPO)) - {".gitattributes"}

    def refused(self, hub, folder, name: str, **options) -> None:
        with pytest.raises(ValueError, match=re.escape(name)) as caught:
            push_folder(folder, REPO, **options)
        assert "\n" not in str(caught.value) and hub.requests == []

    @pytest.mark.parametrize("target", ["../secret", "/proc/self/environ", ".."])
    def test_links_outwards(self, hub, folder, target):
        (folder / "notes.txt").symlink_to(target)
        self.refused(hub, folder, "notes.txt' is a link to a place outside of")

    @pytest.mark.parametrize("target", ["loop", "nothing", "config.json/x"])
    def test_links_that_lead_nowhere(self, hub, folder, target):
        (folder / "loop").symlink_to(target)
        self.refused(hub, folder, "loop' is a link that leads nowhere")

    def test_links_to_folders_inside(self, hub, folder, caplog):
        (folder / "real").mkdir()
        (folder / "real" / "a.txt").write_text("a")
        (folder / "linked").symlink_to("real")
        assert self.sent(hub, folder) == {"config.json", "real/a.txt"}
        assert "Not uploaded: linked" in caplog.text

    def test_the_cache_of_huggingface_hub(self, hub, pipe, tmp_path):
        """Its snapshots are links to blobs: a downloaded checkpoint can be sent on."""
        pipe.push_to_hub(REPO)
        snapshot = Path(snapshot_download(REPO))
        assert (snapshot / "model_index.json").is_symlink()
        push_folder(snapshot, "someone/copy")
        assert hub.files("someone/copy").keys() == hub.files(REPO).keys()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
    def test_what_is_no_file(self, hub, folder):
        os.mkfifo(folder / "pipe")
        self.refused(hub, folder, "pipe' is neither a file nor a folder")
        (folder / "samples").mkdir()
        os.replace(folder / "pipe", folder / "samples" / "pipe")
        assert self.sent(hub, folder) == {"config.json"}
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(folder / "door"))
            hub.take_requests()
            self.refused(hub, folder, "door' is neither a file nor a folder")

    def test_hard_links(self, hub, folder):
        os.link(folder / "config.json", folder / "again.json")
        assert self.sent(hub, folder) == {"config.json", "again.json"}, "both names are inside"
        os.link(folder.parent / "secret", folder / "notes.txt")
        hub.take_requests()
        self.refused(hub, folder, "notes.txt' has another name outside of")
        assert self.sent(hub, folder, hard_links=True) == {"config.json", "again.json", "notes.txt"}

    def test_hard_links_where_a_link_leads(self, hub, folder):
        (folder / "logs").mkdir()
        os.link(folder.parent / "secret", folder / "logs" / "x")  # which is not sent, nor looked at
        (folder / "notes.txt").symlink_to("logs/x")
        self.refused(hub, folder, "logs/x' has another name outside of")
        (folder / "logs" / "x").unlink()
        (folder / "logs" / "x").write_text("a log")
        assert self.sent(hub, folder) == {"config.json", "notes.txt"}

    def test_hidden_files(self, hub, folder, caplog):
        for name in (".env", ".ssh/id_rsa", "unet/.netrc", ".git/config", ".gitignore", ".cache/huggingface/x"):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text("mine")
        (folder / "settings").symlink_to(".env")
        assert self.sent(hub, folder) == {"config.json", ".gitignore"}
        assert "Not uploaded: .env, .ssh/id_rsa, settings, unet/.netrc" in caplog.text
        assert {".env", ".ssh/id_rsa"} < self.sent(hub, folder, include=[".env", ".ssh/"])
        hub.take_requests()
        for name in (".envs", ".git/config", "../secret", "config.json"):
            self.refused(hub, folder, f"has no file {name!r}", include=[name])

    def test_hidden_files_by_the_command(self, hub, pipe, tmp_path):
        pipe.save_pretrained(tmp_path / "saved")
        (tmp_path / "saved" / ".env").write_text("A=1")
        os.link(tmp_path / "saved" / "model_index.json", tmp_path / "another name")
        assert main(["push", str(tmp_path / "saved"), REPO]) == 2 and hub.requests == []
        assert main(["push", str(tmp_path / "saved"), REPO, "--hard-links"]) == 0
        assert ".env" not in hub.files(REPO) and "model_index.json" in hub.files(REPO)
        assert main(["push", str(tmp_path / "saved"), REPO, "--hard-links", "--include", ".env"]) == 0
        assert hub.files(REPO)[".env"] == b"A=1"

    def test_a_file_that_comes_while_it_is_looked_at(self, hub, folder, licensed_file, monkeypatch):
        """What was not searched is not sent, and what was changed after it was searched neither."""

        def search(files):
            refuse_licensed_bodies(files)
            shutil.copy(licensed_file, folder / "body.npz")

        monkeypatch.setattr(sharing, "refuse_licensed_bodies", search)
        assert self.sent(hub, folder) == {"config.json"}
        (folder / "body.npz").write_bytes(b"x")
        with pytest.raises(OSError, match="'body.npz' changed while it was read"):
            push_folder(folder, REPO)
        assert "body.npz" not in hub.files(REPO)

    def test_names_of_folders(self, hub, folder):
        assert self.sent(hub, folder, subfolder="./a b//c.d/") == {"a b/c.d/config.json"}
        hub.take_requests()
        for name in (
            r"a\b",
            "C:/x",
            "c:",
            "con",
            "a/NUL.txt",
            "a.",
            "a /b",
            "a/../b",
            "..",
            "/a",
            "a\nb",
            "a*",
            "aux",
        ):
            self.refused(hub, folder, "`subfolder` must be a folder within the repository", subfolder=name)
