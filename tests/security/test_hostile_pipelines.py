"""Folders of pipelines: indices, components, links, and files that bring in code or models from elsewhere."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from hostile import (
    BROKEN_SAFETENSORS,
    OTHER_FILES,
    TOUCH,
    WEIGHTS,
    change_json,
    make_index,
    naming,
    refused,
    wrong_indices,
)
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import (
    HanDiffuserControlNetPipeline,
    HanDiffuserPipeline,
)

pytestmark = pytest.mark.usefixtures("canary")


def change_index(folder: Path, **entries) -> None:
    change_json(folder / "model_index.json", **entries)


class TestPipelines:
    @pytest.mark.parametrize("content", [*OTHER_FILES.values(), b"[]", b"null", b"1", b'"x"'])
    def test_broken_index(self, pipeline_folder, content):
        (pipeline_folder / "model_index.json").write_bytes(content)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["unet", "vae", "hand_text_encoder", "text_encoder"])
    @pytest.mark.parametrize("kind", ["overlapping tensors", "header of all memory", "a pickle"])
    def test_broken_weights(self, pipeline_folder, name, kind):
        next((pipeline_folder / name).glob("*.safetensors")).write_bytes(BROKEN_SAFETENSORS[kind])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["scheduler/scheduler_config.json", "unet/config.json", "tokenizer"])
    def test_broken_parts(self, pipeline_folder, name):
        path = pipeline_folder / name
        for file in path.iterdir() if path.is_dir() else [path]:
            file.write_bytes(b"\xff\xfe{")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder)

    @pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "scheduler", "model_index.json"])
    def test_links_out_of_the_folder(self, pipeline_folder, name, tmp_path):
        path = pipeline_folder / name
        os.replace(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "is a link to a place outside of")

    @pytest.mark.parametrize("name", ["unet", "hand_text_encoder", "text_encoder"])
    @pytest.mark.parametrize("variant", [None, "fp16"])
    def test_indices(self, pipeline_folder, name, variant):
        for shard in wrong_indices(pipeline_folder / name, variant):
            with naming(shard):
                refused(
                    lambda path: HanDiffuserPipeline.from_pretrained(path, variant=variant),
                    pipeline_folder,
                    f"{name}/.*names the weights",
                )

    def test_indices_that_are_not_read(self, pipeline_folder):
        """Pickles may lie beside safetensors, with an index of their own."""
        folder = pipeline_folder / "unet"
        whole = next(folder.glob("*.safetensors")).read_bytes()
        make_index(folder, "evil.bin").rename(folder / "diffusion_pytorch_model.bin.index.json")
        (folder / WEIGHTS).write_bytes(whole)
        for left in folder.glob("*-of-*"):
            left.unlink()
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None

    NO_COMPONENTS = (
        *(["diffusers", name] for name in ("DiffusionPipeline", "StableDiffusionPipeline", "HanDiffuserPipeline")),
        *(["diffusers", name] for name in ("ModularPipeline", "FlashPackDiffusionPipeline", "AutoModel")),
        *(["diffusers", name] for name in ("AutoPipelineForText2Image", "ConfigMixin", "logging", "utils", "x")),
        *(["stable_diffusion", name] for name in ("StableDiffusionPipeline", "sys", "TYPE_CHECKING")),
        *(["transformers", name] for name in ("AutoModel", "AutoTokenizer", "pipeline", "Trainer", "models")),
        *(["diffusers_handiffuser", name] for name in ("HanDiffuserPipeline", "HandParams", "hub", "x")),
    )

    @pytest.mark.parametrize("key", ["unet", "scheduler", "safety_checker", "hand_text_encoder"])
    def test_what_is_no_component(self, pipeline_folder, key):
        reason = f"says that `{key}` is .*; wanted a model, sched"
        for entry in self.NO_COMPONENTS:
            change_index(pipeline_folder, **{key: entry})
            with naming(entry):
                refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, reason)

    def test_a_pipeline_in_place_of_a_component(self, pipeline_folder):
        """It would read the pickles in its own folder."""
        shutil.copytree(pipeline_folder, pipeline_folder / "inner")
        (pipeline_folder / "inner").rename(pipeline_folder / "safety_checker")
        inner = pipeline_folder / "safety_checker" / "unet"
        torch.save(load_file(inner / WEIGHTS), inner / "diffusion_pytorch_model.bin")
        (inner / WEIGHTS).unlink()
        change_index(pipeline_folder, safety_checker=["diffusers", "DiffusionPipeline"])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "says that `safety_checker` is")

    @pytest.mark.parametrize("key", ["../elsewhere", "/tmp", "a b", "unet/../vae", ""])
    def test_names_of_components(self, pipeline_folder, key):
        change_index(pipeline_folder, **{key: ["diffusers", "UNet2DConditionModel"]})
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"says that `{key}` is")

    @pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
    def test_half_of_a_surrogate_pair(self, pipeline_folder, file):
        change_json(pipeline_folder / file, notes=["\ud800"])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "half of a surrogate pair")

    def test_a_component_without_a_folder(self, pipeline_folder):
        """diffusers then reads the files of the pipeline's own folder."""
        for path in (pipeline_folder / "unet").iterdir():
            path.rename(pipeline_folder / path.name)
        (pipeline_folder / "unet").rmdir()
        make_index(pipeline_folder, "evil.bin")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "names the weights 'evil.bin'")

    @pytest.mark.parametrize("name", ["tokenizer/deep/er/file.txt", "unet/deep", "hand_text_encoder/config.json"])
    def test_links_in_any_depth(self, pipeline_folder, tmp_path, name):
        (tmp_path / "secret").mkdir()
        path = pipeline_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "secret")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "is a link to a place outside of")
        path.unlink()
        path.symlink_to(path.name)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "leads back to itself")


class TestSeveralSideBySide:
    """The second of several ControlNets lies in a folder that the index does not name."""

    @pytest.fixture
    def folder(self, pipe, tmp_path):
        torch.manual_seed(0)
        one, two = (ControlNetModel.from_unet(pipe.unet) for _ in range(2))
        HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=[one, two]).save_pretrained(tmp_path / "several")
        assert (tmp_path / "several" / "controlnet_1").is_dir()
        return tmp_path / "several"

    def test_is_read(self, folder):
        assert len(HanDiffuserControlNetPipeline.from_pretrained(folder).controlnet.nets) == 2

    def test_indices(self, folder):
        make_index(folder / "controlnet_1", "evil.bin")
        refused(HanDiffuserControlNetPipeline.from_pretrained, folder, "controlnet_1/.*names the weights 'evil.bin'")

    def test_configs_that_ask_for_much(self, folder):
        change_json(folder / "controlnet_1" / "config.json", layers_per_block=10**6, _class_name="AutoencoderKL")
        refused(HanDiffuserControlNetPipeline.from_pretrained, folder, "the config of `controlnet` asks for a model")


class TestAdapterBesideWeights:
    """transformers loads an adapter that it finds beside a model, and some releases its base from where that says."""

    @pytest.fixture
    def elsewhere(self, stored_pipeline, tmp_path):
        """Weights that no folder of the checkpoint holds."""
        shutil.copytree(stored_pipeline / "hand_text_encoder", tmp_path / "elsewhere")
        path = next((tmp_path / "elsewhere").glob("*.safetensors"))
        save_file({key: torch.zeros_like(value) for key, value in load_file(path).items()}, path, {"format": "pt"})
        return tmp_path / "elsewhere"

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"auto_mapping": {"parent_library": "hostile", "base_model_class": "X"}},
            {"megatron_config": {"a": 1}, "megatron_core": "hostile"},
            {"peft_type": "XLORA"},
        ],
    )
    def test_of_transformers(self, pipeline_folder, elsewhere, changes):
        pytest.importorskip("peft")
        config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "base_model_name_or_path": str(elsewhere)}
        folder = pipeline_folder / "hand_text_encoder"
        (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
        torch.save(TOUCH, folder / "adapter_model.bin")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "adapter_config.json.* makes transformers load")

    def test_of_diffusers_it_is_not_looked_at(self, pipeline_folder, elsewhere):
        config = {"peft_type": "LORA", "base_model_name_or_path": str(elsewhere), "auto_mapping": "hostile"}
        for name in ("unet", "text_encoder", "text_to_hand_params"):
            (pipeline_folder / name / "adapter_config.json").write_text(json.dumps(config))
            torch.save(TOUCH, pipeline_folder / name / "adapter_model.bin")
        loaded = HanDiffuserPipeline.from_pretrained(pipeline_folder)
        assert not any("lora" in key for key in loaded.text_encoder.state_dict())
        assert all(value.any() for value in loaded.unet.state_dict().values() if value.ndim > 1)

    @pytest.mark.parametrize("value", ["../elsewhere/model.safetensors", "/tmp/x.safetensors", "model.bin", 3])
    def test_weights_under_another_name(self, pipeline_folder, elsewhere, value):
        change_json(pipeline_folder / "hand_text_encoder" / "config.json", transformers_weights=value)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "names the weights")

    @pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
    @pytest.mark.parametrize("value", ["someone/kernel", "someone/kernel@main:f", {"": "someone/kernel"}])
    def test_code_of_the_hub(self, pipeline_folder, key, value):
        path = pipeline_folder / "hand_text_encoder" / "config.json"
        for changes in ({key: value}, {"text_config": {key: value}}):
            whole = path.read_bytes()
            change_json(path, **changes)
            refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"`{key}` .* code from elsewhere")
            path.write_bytes(whole)
        change_json(path, **{key: "sdpa" if "attn" in key else "eager"})
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None


class TestFilesOfProcessors:
    """What transformers takes from elsewhere for a tokenizer or a processor, where its config says so."""

    @pytest.mark.parametrize("key", ["vocab_file", "merges_file", "tokenizer_file", "gguf_file", "spm_file"])
    @pytest.mark.parametrize("value", ["/etc/passwd", "../x", "vocab.json", 3])
    def test_files_of_a_tokenizer(self, pipeline_folder, key, value):
        change_json(pipeline_folder / "tokenizer" / "tokenizer_config.json", **{key: value})
        refused(
            HanDiffuserPipeline.from_pretrained, pipeline_folder, f"tokenizer_config.json' has `{key}`, which makes"
        )

    def test_files_that_no_release_reads(self, pipeline_folder):
        path = pipeline_folder / "tokenizer" / "tokenizer_config.json"
        change_json(path, special_tokens_map_file="/elsewhere/special_tokens_map.json", tokenizer_file=None)
        assert HanDiffuserPipeline.from_pretrained(pipeline_folder) is not None

    @pytest.mark.parametrize("file", ["tokenizer_config.json", "processor_config.json", "preprocessor_config.json"])
    @pytest.mark.parametrize("name", ["CLIPProcessor", "LlavaProcessor"])
    def test_code_of_a_processor(self, pipeline_folder, monkeypatch, tmp_path, name, file):
        """transformers would ask on the terminal whether to run it."""
        folder = pipeline_folder / "feature_extractor"
        shutil.copytree(pipeline_folder / "tokenizer", folder)
        (folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nclass Evil: pass\n")
        config = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
        code = {"AutoTokenizer": ["evil.Evil", None], "AutoImageProcessor": "evil.Evil"}
        config |= {"tokenizer_class": "Evil", "image_processor_type": "Evil", "auto_map": code}
        (folder / file).write_text(json.dumps(config))
        change_index(pipeline_folder, feature_extractor=["transformers", name])
        monkeypatch.setattr("builtins.input", lambda *_: "y")
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, f"{file}' has `auto_map`, which names code")
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize(
        "name", ["TimmBackbone", "TimmWrapperModel", "TimmWrapperForImageClassification", "TimmWrapperPreTrainedModel"]
    )
    def test_models_of_another_library(self, pipeline_folder, name):
        change_index(pipeline_folder, safety_checker=["transformers", name])
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "says that `safety_checker` is")

    @pytest.mark.parametrize(
        "changes",
        [
            {"backbone": "someone/model", "use_pretrained_backbone": True},
            {"model_type": "timm_wrapper", "model_args": {"checkpoint_path": "/tmp/evil.pth"}},
            {"backbone_config": {"model_type": "timm_backbone", "backbone": "local-dir:/tmp"}},
        ],
    )
    def test_models_in_models(self, pipeline_folder, changes):
        change_json(pipeline_folder / "hand_text_encoder" / "config.json", **changes)
        refused(HanDiffuserPipeline.from_pretrained, pipeline_folder, "build a model that is not in this folder")
