"""Loading from a folder and from the Hub, in both layouts, by every class and with every option that users pass."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoModel, AutoPipelineForImage2Image, AutoPipelineForText2Image, DiffusionPipeline
from huggingface_hub import constants
from releases import DTYPE, close_session, ignores_proxies, knows_dtype, same_tokens
from safetensors.torch import load_file
from stand_in_hub import StandInHub

import diffusers_handiffuser
from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserPipeline,
    HandParams,
    TextHandEncoder,
    TextToHandParamsModel,
)

OWN_MODELS = {
    "text_encoder": TextHandEncoder,
    "text_to_hand_params": TextToHandParamsModel,
    "body_model": HandBodyModel,
}


def draw(pipe) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    return pipe("a hand", generator=torch.Generator().manual_seed(0), output_type="np").images


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return same_tokens(files)


class TestAfterImport:
    def test_bare_class_loads_the_plain_layout(self, publish, layouts, pipe):
        name = publish(layouts["plain"])
        for loader in (DiffusionPipeline, AutoPipelineForText2Image):
            loaded = loader.from_pretrained(name)
            assert type(loaded) is HanDiffuserPipeline
        assert np.array_equal(draw(loaded), draw(pipe))
        assert type(AutoPipelineForImage2Image.from_pretrained(name)) is HanDiffuserImg2ImgPipeline

    def test_bare_class_asks_for_trust_in_loader_code(self, publish, layouts):
        with pytest.raises(ValueError, match="trust_remote_code"):
            DiffusionPipeline.from_pretrained(publish(layouts["flagship"]))

    @pytest.mark.parametrize("layout", ["plain", "flagship"])
    def test_own_class_needs_no_trust(self, publish, layouts, layout, pipe, tmp_path, recwarn):
        loaded = HanDiffuserPipeline.from_pretrained(publish(layouts[layout]))
        assert type(loaded.text_encoder) is TextHandEncoder
        assert np.array_equal(draw(loaded), draw(pipe))

        loaded.save_pretrained(tmp_path / "again")
        assert contents(tmp_path / "again") == contents(layouts["plain"])
        assert type(DiffusionPipeline.from_pretrained(tmp_path / "again")) is HanDiffuserPipeline

    @pytest.mark.parametrize("layout", ["plain", "flagship"])
    def test_component_passed_in_or_left_out(self, publish, layouts, layout, pipe, code_cache):
        name, mine = publish(layouts[layout]), pipe.text_encoder
        changes = {"text_encoder": mine, "text_to_hand_params": None}
        for loaded in (
            HanDiffuserPipeline.from_pretrained(name, **changes),
            DiffusionPipeline.from_pretrained(name, trust_remote_code=True, **changes),
        ):
            assert loaded.text_encoder is mine and loaded.text_to_hand_params is None
            assert type(loaded.body_model) is HandBodyModel

    @pytest.mark.parametrize("layout", ["plain", "flagship"])
    def test_each_model_alone(self, publish, layouts, layout, pipe):
        repository = publish(layouts[layout])
        for name, model_class in OWN_MODELS.items():
            model = model_class.from_pretrained(repository, subfolder=name, use_safetensors=True)
            for key, value in getattr(pipe, name).state_dict().items():
                assert torch.equal(value, model.state_dict()[key])
            if layout == "plain":
                assert type(AutoModel.from_pretrained(repository, subfolder=name)) is model_class


WITHOUT_IMPORT = """
import json, sys
from diffusers import DiffusionPipeline

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "diffusers_handiffuser":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def outcome(name, **kwargs):
    try:
        return type(DiffusionPipeline.from_pretrained(name, **kwargs)).__module__
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"

names, results = json.loads(sys.argv[1]), {}
sys.meta_path.insert(0, Missing())
for package in ("missing", "installed"):
    for layout in ("plain", "flagship"):
        for place, name in names[layout].items():
            for trust in (False, True):
                key = f"{package} {layout} {place} {'trusted' if trust else 'bare'}"
                results[key] = outcome(name, trust_remote_code=trust)
                assert package == "installed" or "diffusers_handiffuser" not in sys.modules
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Missing)]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def without_import(layouts, tmp_path_factory):
    """What `DiffusionPipeline.from_pretrained` does in a process that imports diffusers and nothing else."""
    home = tmp_path_factory.mktemp("home")
    with StandInHub() as server:
        names = {}
        for layout, folder in layouts.items():
            server.put_folder(f"someone/{layout}", folder)
            names[layout] = {"folder": str(folder), "hub": f"someone/{layout}"}
        source = Path(diffusers_handiffuser.__file__).parents[1]
        path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
        result = subprocess.run(
            [sys.executable, "-c", WITHOUT_IMPORT, json.dumps(names)],
            env={**os.environ, **server.environment(home), "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["folder", "hub"])
class TestWithoutImport:
    def test_loader_code_works_when_trusted(self, without_import, place):
        loaded = without_import[f"installed flagship {place} trusted"]
        assert loaded == "diffusers_handiffuser.pipelines.pipeline_handiffuser"

    @pytest.mark.parametrize("package", ["missing", "installed"])
    def test_loader_code_needs_trust(self, without_import, place, package):
        assert "trust_remote_code" in without_import[f"{package} flagship {place} bare"]

    def test_loader_code_says_what_to_install(self, without_import, place):
        message = without_import[f"missing flagship {place} trusted"]
        assert message.startswith(
            "ImportError: This checkpoint needs diffusers_handiffuser: pip install . (in a clone"
        )

    @pytest.mark.parametrize("trust", ["bare", "trusted"])
    def test_plain_layout_cannot_load(self, without_import, place, trust):
        assert "Error: " in without_import[f"missing plain {place} {trust}"]


class TestOptions:
    @pytest.mark.parametrize(
        ("loader", "option"),
        [
            *((HanDiffuserPipeline, option) for option in ("dtype", "torch_dtype")),
            pytest.param(DiffusionPipeline, "dtype", marks=knows_dtype),
            (DiffusionPipeline, "torch_dtype"),
        ],
    )
    def test_dtype(self, publish, layouts, loader, option):
        loaded = loader.from_pretrained(publish(layouts["plain"]), **{option: torch.float16})
        for name in ("unet", "vae", "text_encoder", "text_to_hand_params", "hand_text_encoder"):
            assert next(getattr(loaded, name).parameters()).dtype == torch.float16, name
        assert loaded.body_model.template.dtype == torch.float32
        assert loaded.text_encoder.basis_points.dtype == torch.float32

    def test_dtype_by_component(self, publish, layouts):
        dtypes = {"unet": torch.bfloat16, "default": torch.float16}
        loaded = HanDiffuserPipeline.from_pretrained(publish(layouts["plain"]), dtype=dtypes)
        assert loaded.unet.dtype == torch.bfloat16 and loaded.vae.dtype == torch.float16

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    @pytest.mark.parametrize("device_map", ["balanced", "cpu"])
    def test_device_map(self, publish, layouts, loader, device_map, pipe):
        layout = "flagship" if loader is HanDiffuserPipeline else "plain"
        loaded = loader.from_pretrained(publish(layouts[layout]), device_map=device_map)
        assert np.array_equal(draw(loaded), draw(pipe))

    @pytest.mark.parametrize("device_map", ["auto", "balanced", "cpu", {"": "cpu"}], ids=str)
    def test_device_map_of_each_model(self, layouts, pipe, device_map):
        for name, model_class in OWN_MODELS.items():
            model = model_class.from_pretrained(layouts["plain"], subfolder=name, device_map=device_map)
            for key, value in getattr(pipe, name).state_dict().items():
                assert torch.equal(value, model.state_dict()[key])
        hands = HandParams.zeros(1)
        assert torch.equal(model(hands).joints_3d, pipe.body_model(hands).joints_3d)

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_variant(self, publish, pipe, layouts, tmp_path, loader):
        folder = tmp_path / "variants"
        HanDiffuserPipeline.from_pretrained(layouts["plain"], dtype=torch.float16).save_pretrained(
            folder, variant="fp16"
        )
        assert (folder / "text_encoder" / "diffusion_pytorch_model.fp16.safetensors").is_file()
        name = publish(folder)
        loaded = loader.from_pretrained(name, variant="fp16", **{DTYPE: torch.float16})
        assert loaded.unet.dtype == torch.float16
        for key, value in pipe.text_to_hand_params.named_parameters():
            assert torch.equal(loaded.text_to_hand_params.state_dict()[key], value.half())
        for part, model_class in OWN_MODELS.items():
            model_class.from_pretrained(name, subfolder=part, variant="fp16")
        with pytest.raises(OSError):
            loader.from_pretrained(name)

    def test_shards_of_a_variant(self, publish, layouts, tmp_path, pipe):
        folder = tmp_path / "shards"
        HanDiffuserPipeline.from_pretrained(layouts["plain"]).save_pretrained(
            folder, variant="ema", max_shard_size="60KB"
        )
        for name in ("text_encoder", "text_to_hand_params", "unet"):
            assert len(list((folder / name).glob("diffusion_pytorch_model.ema-0*.safetensors"))) > 1, name
        loaded = HanDiffuserPipeline.from_pretrained(publish(folder), variant="ema")
        for name in ("text_encoder", "text_to_hand_params", "unet", "vae", "hand_text_encoder", "body_model"):
            for key, value in getattr(pipe, name).state_dict().items():
                assert torch.equal(getattr(loaded, name).state_dict()[key], value), (name, key)
        loaded.save_pretrained(tmp_path / "again", variant="ema", max_shard_size="60KB")
        assert contents(tmp_path / "again") == contents(folder)

    def test_revision(self, hub, layouts, make_pipe, tmp_path):
        make_pipe(default_num_inference_steps=7).save_pretrained(tmp_path / "other")
        hub.put_folder("someone/two", layouts["plain"])
        hub.put_folder("someone/two", tmp_path / "other", branch="tuned")
        for loader in (HanDiffuserPipeline, DiffusionPipeline):
            assert loader.from_pretrained("someone/two").config.default_num_inference_steps == 2
            tuned = loader.from_pretrained("someone/two", revision="tuned")
            assert tuned.config.default_num_inference_steps == 7
        with pytest.raises(OSError, match="nowhere"):
            HanDiffuserPipeline.from_pretrained("someone/two", revision="nowhere")

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_use_safetensors(self, publish, layouts, tmp_path, loader):
        loader.from_pretrained(publish(layouts["plain"]), use_safetensors=True)
        pipe = HanDiffuserPipeline.from_pretrained(layouts["plain"])
        pipe.save_pretrained(tmp_path / "no pickles", safe_serialization=False)
        assert not [path for path in (tmp_path / "no pickles").rglob("*") if path.suffix in (".bin", ".pt")]
        loader.from_pretrained(tmp_path / "no pickles", use_safetensors=True)

    @ignores_proxies
    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_proxies_are_ignored_with_a_warning(self, hub, layouts, loader):
        """huggingface_hub takes them from the environment alone, and says so wherever they are given."""
        hub.put_folder("someone/behind", layouts["plain"])
        proxies = {"http": "http://localhost:9", "https": "http://localhost:9"}
        with pytest.warns(UserWarning, match="`proxies` argument is ignored"):
            assert loader.from_pretrained("someone/behind", proxies=proxies).unet is not None
        with pytest.warns(UserWarning, match="`proxies` argument is ignored"):
            HandBodyModel.from_pretrained(
                "someone/behind", subfolder="body_model", proxies=proxies, force_download=True
            )

    def test_from_the_cache_without_network(self, hub, layouts, monkeypatch, pipe):
        hub.put_folder("someone/cached", layouts["plain"])
        HanDiffuserPipeline.from_pretrained("someone/cached")
        hub.take_requests()
        for loader in (HanDiffuserPipeline, DiffusionPipeline):
            assert np.array_equal(draw(loader.from_pretrained("someone/cached", local_files_only=True)), draw(pipe))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        close_session()
        assert np.array_equal(draw(HanDiffuserPipeline.from_pretrained("someone/cached")), draw(pipe))
        assert hub.requests == []


def test_every_file_has_a_suffix(layouts):
    """`variant=` takes a file without a dot in a component's folder for a model of one, and fails."""
    for folder in layouts.values():
        assert all("." in path.name for path in folder.rglob("*") if path.is_file())


class TestParts:
    """Pipelines that hold a part of the whole."""

    def test_stage_1_alone(self, publish, make_pipe, tmp_path, pipe):
        picture = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
        make_pipe(**dict.fromkeys(picture)).save_pretrained(tmp_path / "stage_1")
        loaded = HanDiffuserPipeline.from_pretrained(publish(tmp_path / "stage_1"))
        loaded.set_progress_bar_config(disable=True)
        assert loaded.unet is None and loaded.text_encoder is None
        first, second = (
            p.sample_hand_params("a hand", hand_generator=torch.Generator().manual_seed(0)) for p in (pipe, loaded)
        )
        assert torch.equal(first.full_pose, second.full_pose)
        loaded.save_pretrained(tmp_path / "again")
        assert contents(tmp_path / "again") == contents(tmp_path / "stage_1")

    @pytest.fixture
    def licensed(self, publish, make_pipe, tmp_path):
        """A body that must not be passed on, and the name of a checkpoint made with it."""
        body = HandBodyModel.procedural()
        body.register_to_config(licensed=True, sha256="0" * 64)
        make_pipe(body_model=body).save_pretrained(tmp_path / "licensed")
        return body, publish(tmp_path / "licensed")

    def test_another_body_in_place_of_a_licensed_one(self, licensed):
        body, name = licensed
        assert HanDiffuserPipeline.from_pretrained(name, body_model=body).body_model is body
        other = HandBodyModel.procedural()
        with pytest.raises(ValueError, match=f"SHA-256 {other.config.sha256}.*check_body_model=False"):
            HanDiffuserPipeline.from_pretrained(name, body_model=other)
        loaded = HanDiffuserPipeline.from_pretrained(name, body_model=other, check_body_model=False)
        assert loaded.body_model is other
        assert HanDiffuserPipeline.from_pretrained(name, body_model=None).body_model is None

    @pytest.mark.parametrize("loader", [DiffusionPipeline, AutoPipelineForText2Image, AutoPipelineForImage2Image])
    def test_another_body_by_the_classes_of_diffusers(self, licensed, loader, tmp_path):
        body, name = licensed
        assert loader.from_pretrained(name, body_model=body).body_model is body
        other = HandBodyModel.procedural()
        with pytest.raises(ValueError, match=f"SHA-256 {other.config.sha256}.*`body_sha256=None`"):
            loader.from_pretrained(name, body_model=other)
        loaded = loader.from_pretrained(name, body_model=other, body_sha256=None)
        assert loaded.body_model is other
        loaded.save_pretrained(tmp_path / "free")
        assert loader.from_pretrained(tmp_path / "free", body_model=body).body_model is body

    def test_what_it_was_made_with_goes_along(self, licensed, make_pipe):
        """Through pipelines without a body and of another task, and to Stable Diffusion's weights."""
        body, name = licensed
        pipe = HanDiffuserImg2ImgPipeline.from_pipe(HanDiffuserPipeline.from_pretrained(name, body_model=None))
        other = HandBodyModel.procedural()
        with pytest.raises(ValueError, match="SHA-256"):
            HanDiffuserPipeline.from_pipe(pipe, body_model=other)
        assert HanDiffuserPipeline.from_pipe(pipe, body_model=body).body_model is body
        assert HanDiffuserPipeline.from_pipe(pipe, body_model=other, body_sha256=None).body_model is other


class TestErrors:
    def test_of_the_hub_in_one_line(self, hub, tmp_path):
        hub.put_folder("someone/empty", tmp_path / "nothing")
        for name in ("someone/absent", "someone/empty"):
            with pytest.raises(OSError, match=name) as caught:
                HanDiffuserPipeline.from_pretrained(name)
            assert "\n" not in str(caught.value)

    def test_stable_diffusion_on_the_hub(self, hub, tmp_path):
        (tmp_path / "sd").mkdir()
        index = {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
        (tmp_path / "sd" / "model_index.json").write_text(json.dumps(index))
        hub.put_folder("someone/sd", tmp_path / "sd")
        with pytest.raises(ValueError, match="from_stable_diffusion"):
            HanDiffuserPipeline.from_pretrained("someone/sd")

    def test_pickles_on_the_hub(self, hub, layouts, tmp_path):
        shutil.copytree(layouts["plain"], tmp_path / "pickled")
        for path in (tmp_path / "pickled").rglob("*.safetensors"):
            name = "pytorch_model" if path.stem == "model" else path.stem
            torch.save(load_file(path), path.with_name(f"{name}.bin"))
            path.unlink()
        hub.put_folder("someone/pickled", tmp_path / "pickled")
        with pytest.raises(OSError, match="someone/pickled.*convert them to safetensors"):
            HanDiffuserPipeline.from_pretrained("someone/pickled")
        with pytest.raises((OSError, ValueError), match="someone/pickled"):
            TextHandEncoder.from_pretrained("someone/pickled", subfolder="text_encoder")


class TestHostileRepositories:
    """What is downloaded is checked as what lies in a folder: before it is read, and by name."""

    @pytest.fixture
    def repository(self, layouts, publish, tmp_path):
        """A folder to change, and a function that publishes it."""
        folder = tmp_path / "hostile"
        shutil.copytree(layouts["plain"], folder)
        return folder, lambda: publish(folder)

    @staticmethod
    def make_index(folder: Path, shard: str) -> None:
        path = next(folder.glob("*.safetensors"))
        tensors = load_file(path)
        torch.save(tensors, folder / "evil.bin")
        places = dict.fromkeys(tensors, path.name) | {max(tensors): shard}
        content = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / f"{path.stem}.safetensors.index.json").write_text(json.dumps(content))

    @pytest.mark.parametrize("component", ["unet", "hand_text_encoder", "text_encoder"])
    @pytest.mark.parametrize("shard", ["evil.bin", "../vae/diffusion_pytorch_model.safetensors"])
    def test_indices(self, repository, component, shard):
        folder, put = repository
        self.make_index(folder / component, shard)
        with pytest.raises((ValueError, OSError), match="names the weights") as caught:
            HanDiffuserPipeline.from_pretrained(put())
        assert "hostile" in str(caught.value) and "\n" not in str(caught.value)

    @pytest.mark.parametrize("component", OWN_MODELS)
    def test_indices_of_models_alone(self, repository, component):
        folder, put = repository
        self.make_index(folder / component, "evil.bin")
        with pytest.raises((ValueError, OSError), match="names the weights"):
            OWN_MODELS[component].from_pretrained(put(), subfolder=component)

    @pytest.mark.parametrize("component", ["unet", "hand_text_encoder"])
    def test_adapters_and_pipelines(self, repository, component):
        folder, put = repository
        index = json.loads((folder / "model_index.json").read_text())
        index[component] = ["diffusers", "DiffusionPipeline"]
        (folder / "model_index.json").write_text(json.dumps(index))
        with pytest.raises((ValueError, OSError), match=f"`{component}` is .*; wanted a model"):
            HanDiffuserPipeline.from_pretrained(put())

    @pytest.mark.parametrize(
        ("component", "key"),
        [
            ("unet", "cross_attention_dim"),
            ("text_encoder", "hand_hidden_size"),
            ("text_to_hand_params", "hidden_size"),
        ],
    )
    def test_configs_that_ask_for_much(self, repository, component, key):
        folder, put = repository
        path = folder / component / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: 2**22}))
        name = put()
        with pytest.raises((ValueError, OSError), match=f"the config of `{component}` asks for a model much larger"):
            HanDiffuserPipeline.from_pretrained(name)
        if component in OWN_MODELS:
            with pytest.raises(
                (ValueError, OSError), match=f"the config of `{component}` asks for a model much larger"
            ):
                OWN_MODELS[component].from_pretrained(name, subfolder=component)
