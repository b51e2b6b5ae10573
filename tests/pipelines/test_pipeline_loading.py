"""Saved pipelines: round trips, what stands in the files, half precision, and folders that cannot be loaded."""

import inspect
import json
import logging
import warnings
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import transformers
from diffusers import AutoPipelineForText2Image, DiffusionPipeline, StableDiffusionPipeline
from diffusers.pipelines import pipeline_loading_utils
from diffusers.pipelines import pipeline_utils as diffusers_pipeline_utils
from releases import LOADER_FUNCTIONS, same_tokens
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserPipeline,
    TextHandEncoder,
    TextToHandParamsModel,
    registration,
)
from diffusers_handiffuser.pipelines import pipeline_loading as hub

OWN_COMPONENTS = {
    "text_encoder": TextHandEncoder,
    "text_to_hand_params": TextToHandParamsModel,
    "body_model": HandBodyModel,
}


@pytest.fixture
def saved(pipe, tmp_path) -> Path:
    pipe.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def modules(pipe) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def draw(pipe) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    return pipe("a hand", generator=torch.Generator().manual_seed(0), output_type="np").images


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return same_tokens(files)


class TestRoundTrip:
    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline, AutoPipelineForText2Image])
    def test_bit_for_bit(self, pipe, saved, loader):
        loaded = loader.from_pretrained(saved)
        assert type(loaded) is HanDiffuserPipeline
        for name, module in modules(pipe).items():
            ours, theirs = module.state_dict(), getattr(loaded, name).state_dict()
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
        assert loaded.config.default_num_inference_steps == 2 and loaded.config.default_guidance_scale is None
        assert np.array_equal(draw(pipe), draw(loaded))

    @pytest.mark.parametrize("name", OWN_COMPONENTS)
    def test_each_model_alone(self, pipe, saved, name):
        model = OWN_COMPONENTS[name].from_pretrained(saved, subfolder=name)
        for key, value in getattr(pipe, name).state_dict().items():
            assert torch.equal(value, model.state_dict()[key])
        assert not model.training

    def test_saving_what_was_loaded_writes_the_same_bytes(self, saved, tmp_path):
        HanDiffuserPipeline.from_pretrained(saved).save_pretrained(tmp_path / "again")
        assert contents(saved) == contents(tmp_path / "again")

    def test_component_passed_or_left_out(self, pipe, saved):
        loaded = HanDiffuserPipeline.from_pretrained(saved, text_encoder=pipe.text_encoder, text_to_hand_params=None)
        assert loaded.text_encoder is pipe.text_encoder and loaded.text_to_hand_params is None

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    @pytest.mark.parametrize("name", ["text_encoder", "text_to_hand_params", "body_model", "hand_text_encoder"])
    def test_passed_component_is_used(self, pipe, saved, loader, name):
        mine = getattr(pipe, name)
        assert getattr(loader.from_pretrained(saved, **{name: mine}), name) is mine
        if name != "text_encoder":
            assert getattr(loader.from_pretrained(saved, **{name: None}), name) is None

    def test_from_a_stable_diffusion_pipeline(self, picture_components, clip_text_model, pipe, hands):
        stable_diffusion = StableDiffusionPipeline(
            **picture_components,
            text_encoder=clip_text_model,
            scheduler=pipe.scheduler,
            safety_checker=None,
            requires_safety_checker=False,
        )
        made = HanDiffuserPipeline.from_pipe(
            stable_diffusion, text_encoder=pipe.text_encoder, body_model=pipe.body_model
        )
        assert made.unet is pipe.unet and made.text_to_hand_params is None
        arguments = {"hand_params": hands[0], "num_inference_steps": 2, "output_type": "np"}
        ours, theirs = (p("a hand", generator=torch.Generator().manual_seed(0), **arguments) for p in (made, pipe))
        assert np.array_equal(ours.images, theirs.images)
        with pytest.raises(TypeError, match="from_clip"):
            HanDiffuserPipeline.from_pipe(stable_diffusion, text_encoder=clip_text_model)

    def test_without_optional_components(self, text_only_pipe, tmp_path):
        text_only_pipe.save_pretrained(tmp_path)
        loaded = DiffusionPipeline.from_pretrained(tmp_path)
        assert loaded.text_to_hand_params is None and loaded.body_model is None
        assert np.array_equal(draw(text_only_pipe), draw(loaded))


class TestUnsavedComponents:
    """diffusers warns of components that it leaves out."""

    @pytest.fixture
    def warned(self, monkeypatch):
        lines = []
        monkeypatch.setattr(diffusers_pipeline_utils.logger, "warning", lines.append)
        return lines

    def test_stage_1_alone_is_whole(self, make_pipe, warned, tmp_path):
        stage_2 = dict.fromkeys(("vae", "text_encoder", "tokenizer", "unet", "scheduler"))
        pipe = make_pipe(**stage_2)
        pipe.save_pretrained(tmp_path)
        assert not warned
        index = json.loads((tmp_path / "model_index.json").read_text())
        assert all(index[name] == [None, None] for name in stage_2)
        assert HanDiffuserPipeline._optional_components is pipe._optional_components

    def test_half_of_stage_2_is_not(self, make_pipe, warned, tmp_path):
        make_pipe(vae=None).save_pretrained(tmp_path)
        assert [line.split("=")[0] for line in warned] == ["self.vae"]


class TestLicensedBody:
    """It is not passed on: a config with its checksum is saved, and whoever loads brings the body along."""

    def test_is_asked_for(self, make_pipe, tmp_path):
        body = HandBodyModel.procedural()
        body.register_to_config(licensed=True)
        make_pipe(body_model=body).save_pretrained(tmp_path)
        assert [path.name for path in (tmp_path / "body_model").iterdir()] == ["config.json"]
        for loader in (HanDiffuserPipeline, DiffusionPipeline):
            with pytest.raises(ValueError, match="body_model="):
                loader.from_pretrained(tmp_path)
            assert loader.from_pretrained(tmp_path, body_model=body).body_model is body


class TestFiles:
    def test_index_names_the_package_and_not_its_modules(self, saved):
        index = json.loads((saved / "model_index.json").read_text())
        assert index["_class_name"] == "HanDiffuserPipeline"
        for name, model_class in OWN_COMPONENTS.items():
            assert index[name] == ["diffusers_handiffuser", model_class.__name__]

    @pytest.mark.parametrize("save", [HanDiffuserPipeline.save_pretrained, hub.save_half])
    def test_no_trace_of_the_machine(self, saved, tmp_path, save):
        save(HanDiffuserPipeline.from_pretrained(saved), tmp_path / "again")
        for path in (tmp_path / "again").rglob("*.json"):
            text = path.read_text()
            assert str(tmp_path) not in text and "name_or_path" not in text, path

    @pytest.mark.parametrize("name", OWN_COMPONENTS)
    def test_no_trace_of_the_machine_in_a_model_saved_alone(self, saved, tmp_path, name):
        model = OWN_COMPONENTS[name].from_pretrained(saved / name)
        model.save_pretrained(tmp_path / "alone")
        assert model.config["_name_or_path"] == saved / name
        assert contents(tmp_path / "alone") == contents(saved / name)
        assert "name_or_path" not in (tmp_path / "alone" / "config.json").read_text()

    def test_what_registration_relies_on(self):
        """diffusers' tables are not public interface: this fails when they move."""
        for function in LOADER_FUNCTIONS:
            source = inspect.getsource(getattr(pipeline_loading_utils, function))
            assert "LOADABLE_CLASSES" in source
        before = dict(pipeline_loading_utils.LOADABLE_CLASSES)
        registration.register_library()
        assert before == pipeline_loading_utils.LOADABLE_CLASSES
        assert diffusers.HanDiffuserPipeline is HanDiffuserPipeline


class TestLoaderCode:
    @pytest.fixture
    def flagship(self, pipe, tmp_path):
        pipe.register_for_remote_code()
        pipe.save_pretrained(tmp_path / "flagship")
        return tmp_path / "flagship"

    def test_files(self, flagship):
        index = json.loads((flagship / "model_index.json").read_text())
        assert index["_class_name"] == ["pipeline", "HanDiffuserPipeline"]
        assert "import HanDiffuserPipeline" in (flagship / "pipeline.py").read_text()
        assert "TextHandEncoder" in (flagship / "text_encoder" / "diffusers_handiffuser.py").read_text()
        assert not (flagship / "unet" / "diffusers_handiffuser.py").exists()

    def test_own_class_needs_no_trust(self, flagship, tmp_path, pipe):
        loaded = HanDiffuserPipeline.from_pretrained(flagship)
        assert np.array_equal(draw(pipe), draw(loaded))
        loaded.save_pretrained(tmp_path / "plain")
        assert type(DiffusionPipeline.from_pretrained(tmp_path / "plain")) is HanDiffuserPipeline

    def test_bare_class_with_trust(self, flagship, tmp_path, monkeypatch):
        monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
        monkeypatch.syspath_prepend(tmp_path / "modules")
        loaded = DiffusionPipeline.from_pretrained(flagship, trust_remote_code=True)
        assert type(loaded) is HanDiffuserPipeline


class TestHalf:
    @pytest.fixture
    def half(self, pipe, tmp_path):
        hub.save_half(pipe, tmp_path / "half")
        return tmp_path / "half"

    def test_tensors_are_half_but_for_the_body(self, pipe, half):
        for path in half.rglob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                dtypes = {key: file.get_tensor(key).dtype for key in file.keys()}
            measured = {key: dtypes.pop(key) for key in ("basis_points", "sample_mean", "sample_std") if key in dtypes}
            assert set(measured.values()) <= {torch.float32}
            wanted = torch.float32 if path.parent.name == "body_model" else torch.float16
            assert set(dtypes.values()) - {torch.int64, torch.int32, torch.uint8} == {wanted}, path
        assert all(module.dtype == torch.float32 for module in modules(pipe).values())

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_loads_as_float32_without_a_word(self, pipe, half, loader, capfd):
        handlers = [(logging.getLogger(name), logging.StreamHandler()) for name in ("diffusers", "transformers")]
        for logger, handler in handlers:
            logger.addHandler(handler)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loaded = loader.from_pretrained(half)
        finally:
            for logger, handler in handlers:
                logger.removeHandler(handler)
        shown = [line for line in capfd.readouterr().err.splitlines() if line and "Loading" not in line]
        assert not caught and not shown
        for name, module in modules(loaded).items():
            assert {value.dtype for value in module.parameters()} <= {torch.float32}, name
        for key, value in loaded.hand_text_encoder.state_dict().items():
            assert torch.equal(value, pipe.hand_text_encoder.state_dict()[key].half().float())
        assert np.isfinite(draw(loaded)).all()

    def test_loads_as_float16_when_asked(self, half):
        loaded = HanDiffuserPipeline.from_pretrained(half, dtype=torch.float16)
        for name, module in modules(loaded).items():
            assert module.dtype == torch.float16, name
            assert {value.dtype for value in module.parameters()} <= {torch.float16}, name
        assert loaded.dtype == torch.float16
        assert loaded.body_model.template.dtype == torch.float32

    def test_transformers_model_alone_loads_as_float32(self, half):
        model = transformers.CLIPTextModel.from_pretrained(half / "hand_text_encoder")
        assert model.dtype == torch.float32

    def test_pipeline_in_half_precision(self, pipe, tmp_path):
        hub.save_half(pipe, tmp_path / "a")
        hub.save_half(HanDiffuserPipeline.from_pretrained(tmp_path / "a", dtype=torch.float16), tmp_path / "b")
        assert HanDiffuserPipeline.from_pretrained(tmp_path / "b").hand_text_encoder.dtype == torch.float32

    def test_overflow_is_an_error(self, make_pipe, hand_components, tmp_path):
        import copy

        large = copy.deepcopy(hand_components["text_to_hand_params"])
        torch.nn.init.constant_(large.shape_out.bias, 1e6)
        with pytest.raises(ValueError, match="shape_out.bias"):
            hub.save_half(make_pipe(text_to_hand_params=large), tmp_path)


class TestErrors:
    @pytest.mark.parametrize(
        "name", ["/no/such/folder", "./no_such_folder", "~/no_such_folder", "a/b/c", "", "nothere/", "a b"]
    )
    def test_missing_folder(self, name):
        self.refuses(name, f"HanDiffuserPipeline: there is no folder {name!r} here; wanted a folder or a Hub id")

    def test_file(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"")
        self.refuses(tmp_path / "model.safetensors", "is a file")

    def test_empty_folder(self, tmp_path):
        self.refuses(tmp_path, "holds no model_index.json")

    @pytest.mark.parametrize(
        "text", ["", "[]", "not json", '{"_class_name": "DDPMPipeline", "unet": ["diffusers", "X"]}']
    )
    def test_foreign_index(self, tmp_path, text):
        (tmp_path / "model_index.json").write_text(text)
        self.refuses(tmp_path, "")

    def test_stable_diffusion_folder(self, picture_components, clip_text_model, pipe, tmp_path):
        StableDiffusionPipeline(
            **picture_components,
            text_encoder=clip_text_model,
            scheduler=pipe.scheduler,
            safety_checker=None,
            requires_safety_checker=False,
        ).save_pretrained(tmp_path)
        self.refuses(tmp_path, "StableDiffusionPipeline with the text encoder CLIPTextModel; wanted a TextHandEncoder")

    @pytest.mark.parametrize("name", ["no-such-repository", "nobody/no-such-repository"])
    def test_hub_without_network(self, name):
        self.refuses(name, name)

    @pytest.mark.parametrize("name, key", [("text_encoder", "null_embedding.weight"), ("unet", "conv_in.bias")])
    def test_missing_weights(self, saved, name, key):
        path = saved / name / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        del weights[key]
        save_file(weights, path)
        for loader in (HanDiffuserPipeline, DiffusionPipeline):
            with pytest.raises(ValueError, match=f"`{name}` has no weights for '{key}'"):
                loader.from_pretrained(saved)

    @pytest.mark.parametrize("name", ["unet", "text_encoder", "hand_text_encoder", "body_model"])
    def test_damaged_weights(self, saved, name):
        path = next((saved / name).glob("*.safetensors"))
        path.write_bytes(path.read_bytes()[:-100])
        self.refuses(saved, "")

    def test_missing_component_folder(self, saved):
        import shutil

        shutil.rmtree(saved / "unet")
        self.refuses(saved, "config.json")

    @staticmethod
    def refuses(folder, text: str) -> None:
        with pytest.raises((OSError, ValueError)) as caught:
            HanDiffuserPipeline.from_pretrained(folder)
        message = str(caught.value)
        assert text in message and str(folder) in message and "\n" not in message, message


def test_a_model_of_ours_alone_loads_by_auto_model(make_pipe, tmp_path):
    from diffusers import AutoModel

    pipe = make_pipe()
    for name in ("text_encoder", "text_to_hand_params", "body_model"):
        model = getattr(pipe, name)
        model.save_pretrained(tmp_path / name)
        assert type(AutoModel.from_pretrained(str(tmp_path / name))) is type(model)


class TestMistypedOption:
    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    @pytest.mark.parametrize(
        ("wrong", "right"), [("bodymodel", "body_model"), ("default_steps", "default_num_inference_steps")]
    )
    def test_suggests_the_right_one(self, make_pipe, tmp_path, loader, wrong, right):
        make_pipe().save_pretrained(tmp_path)
        with pytest.raises((TypeError, ValueError), match=f"no argument `{wrong}` \\(did you mean `{right}`"):
            loader.from_pretrained(tmp_path, **{wrong: None})

    def test_options_of_diffusers_pass(self, make_pipe, tmp_path):
        make_pipe().save_pretrained(tmp_path)
        options = {"trust_remote_code": True, "low_cpu_mem_usage": True, "local_files_only": True, "variant": None}
        HanDiffuserPipeline.from_pretrained(tmp_path, **options, requires_safety_checker=False, body_model=None)
