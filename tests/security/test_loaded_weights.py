"""What is loaded is whole, finite and of the body it was made with; and no config says what is imported."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from releases import CLIP_PREFIX, SHAPES_DIFFER, imports_what_an_index_names
from safetensors.torch import load_file, save_file

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel

MODELS = {"text_to_hand_params": TextToHandParamsModel, "text_encoder": TextHandEncoder, "body_model": HandBodyModel}
COMPONENTS = {
    "text_to_hand_params": "joint_in.weight",
    "text_encoder": "null_embedding.weight",
    "body_model": "template",
    "unet": "conv_in.weight",
    "vae": "decoder.conv_in.weight",
    "hand_text_encoder": f"{CLIP_PREFIX}embeddings.token_embedding.weight",
}


@pytest.fixture
def folder(stored_pipeline, tmp_path):
    shutil.copytree(stored_pipeline, tmp_path / "pipeline")
    return tmp_path / "pipeline"


def change_weights(folder: Path, change) -> str:
    """Changes the tensors of a component; returns what `change` returns."""
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    told = change(tensors)
    save_file(tensors, path, {"format": "pt"})
    return told


def find(tensors: dict, key: str) -> str:
    """transformers writes some keys with a prefix."""
    return key if key in tensors else next(name for name in tensors if name.endswith(key))


def spoil(value: float):
    return lambda key: lambda tensors: tensors[find(tensors, key)].view(-1).__setitem__(-1, value)


@pytest.fixture(params=COMPONENTS)
def component(request):
    return request.param


class TestPipelines:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_not_finite(self, folder, component, value):
        change_weights(folder / component, spoil(value)(COMPONENTS[component]))
        for loader in (HanDiffuserPipeline, DiffusionPipeline) if value != value else (HanDiffuserPipeline,):
            with pytest.raises((ValueError, OSError)) as caught:
                loader.from_pretrained(folder)
            assert f"`{component}` has numbers that are not finite in" in str(caught.value)
            assert COMPONENTS[component] in str(caught.value)

    def test_large_numbers_are_finite(self, folder):
        """Their sum is not."""
        change_weights(folder / "unet", lambda tensors: tensors["conv_in.weight"].fill_(3e38))
        assert HanDiffuserPipeline.from_pretrained(folder).unet.conv_in.weight.max() == 3e38

    def test_missing(self, folder, component):
        change_weights(folder / component, lambda tensors: tensors.pop(find(tensors, COMPONENTS[component])))
        with pytest.raises(ValueError, match=f"`{component}` has no weights for '{COMPONENTS[component]}'"):
            HanDiffuserPipeline.from_pretrained(folder)

    def test_unexpected(self, folder, component):
        change_weights(folder / component, lambda tensors: tensors.setdefault("extra.weight", torch.zeros(1)))
        with pytest.raises(ValueError, match=f"`{component}` has no place for the weights 'extra.weight'"):
            HanDiffuserPipeline.from_pretrained(folder)

    def test_wrong_shape(self, folder, component):
        def widen(tensors):
            key = find(tensors, COMPONENTS[component])
            tensors[key] = torch.zeros(*tensors[key].shape, 2)

        change_weights(folder / component, widen)
        key = SHAPES_DIFFER if component == "hand_text_encoder" else COMPONENTS[component]
        with pytest.raises((ValueError, OSError), match=key):
            HanDiffuserPipeline.from_pretrained(folder)

    def test_old_names_and_buffers_of_others_are_known(self, folder, hand_components):
        """Names of attention layers from before 2023, and a buffer that transformers once stored."""
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

        def rename(tensors):
            for key in [key for key in tensors if "mid_block.attentions" in key]:
                new = key
                for ours, theirs in old.items():
                    new = new.replace(ours, theirs)
                tensors[new] = tensors.pop(key)

        change_weights(folder / "vae", rename)
        position = {"text_model.embeddings.position_ids": torch.arange(77)}
        change_weights(folder / "hand_text_encoder", lambda tensors: tensors.update(position))
        loaded = HanDiffuserPipeline.from_pretrained(folder)
        assert torch.isfinite(loaded.vae.decoder.mid_block.attentions[0].to_q.weight).all()

    def test_pickles(self, folder, component):
        path = next((folder / component).glob("*.safetensors"))
        torch.save(load_file(path), path.with_name({"model": "pytorch_model"}.get(path.stem, path.stem) + ".bin"))
        assert HanDiffuserPipeline.from_pretrained(folder) is not None  # beside safetensors it is not looked at
        path.unlink()
        with pytest.raises(ValueError, match=rf"{component}/.*\.bin' is a pickle.*weights_only=True.*{path.name}"):
            HanDiffuserPipeline.from_pretrained(folder)
        with pytest.raises(ValueError, match="`use_safetensors=False` asks for pickled weights"):
            HanDiffuserPipeline.from_pretrained(folder, use_safetensors=False)


class TestModelsAlone:
    @pytest.fixture(params=MODELS)
    def stored(self, request, stored_models, tmp_path):
        """Class and folder of a model."""
        shutil.copytree(stored_models[request.param], tmp_path / request.param)
        return MODELS[request.param], tmp_path / request.param

    def test_weights(self, stored):
        model_class, folder = stored
        whole = next(folder.glob("*.safetensors")).read_bytes()
        key = COMPONENTS[folder.name]
        for change, reason in (
            (spoil(float("nan"))(key), f"`{folder.name}` has numbers that are not finite in '{key}'"),
            (lambda tensors: tensors.pop(key), f"`{folder.name}` has no weights for '{key}'"),
            (lambda tensors: tensors.setdefault("x", torch.zeros(1)), "has no place for the weights 'x'"),
        ):
            change_weights(folder, change)
            for options in ({}, {"device_map": "cpu"}, {"output_loading_info": True}):
                with pytest.raises(ValueError, match=reason):
                    model_class.from_pretrained(folder, **options)
            next(folder.glob("*.safetensors")).write_bytes(whole)
        model, info = model_class.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not any(value.is_meta for value in model.state_dict().values())

    def test_pickles(self, stored):
        model_class, folder = stored
        path = next(folder.glob("*.safetensors"))
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()
        with pytest.raises(ValueError, match=r"\.bin' is a pickle.*safetensors.torch.save_file\(torch.load\("):
            model_class.from_pretrained(folder)
        remedy = torch.load(path.with_suffix(".bin"), weights_only=True)
        save_file(remedy, path)
        model = model_class.from_pretrained(folder)
        model.save_pretrained(folder / "again", safe_serialization=False)
        assert {path.suffix for path in (folder / "again").iterdir()} == {".json", ".safetensors"}
        with pytest.raises(ValueError, match="use_safetensors=False"):
            model_class.from_pretrained(folder, use_safetensors=False)


def change_json(path: Path, **entries) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


class TestConfigsNameNothing:
    """diffusers takes a component from any module that has been imported, if it is a class of models; we do not."""

    @pytest.fixture
    def hostile(self, tmp_path, monkeypatch):
        """A module that tells when it is imported, and a class in it that a module in use might have."""
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "hostile_module.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
        yield tmp_path
        assert not (tmp_path / "canary").exists() and "hostile_module" not in sys.modules

    IN_USE = (
        ["os", "system"],
        ["subprocess", "Popen"],
        ["builtins", "eval"],
        ["diffusers_handiffuser.cli", "main"],
        ["torch.nn", "Linear"],
    )
    HOSTILE = ["hostile_module", "Model"]

    @pytest.mark.parametrize("key", ["scheduler", "unet", "text_encoder", "body_model"])
    def test_components(self, folder, hostile, key):
        for entry in (*self.IN_USE, self.HOSTILE):
            change_json(folder / "model_index.json", **{key: entry})
            with pytest.raises(ValueError, match=f"model_index.json of .* says that `{key}` is"):
                HanDiffuserPipeline.from_pretrained(folder)

    @imports_what_an_index_names
    def test_the_bare_class_imports_nothing(self, folder, hostile):
        for key in ("scheduler", "unet", "text_encoder", "body_model"):
            change_json(folder / "model_index.json", **{key: self.HOSTILE})
            with pytest.raises((ValueError, TypeError, AttributeError)):
                DiffusionPipeline.from_pretrained(folder)

    def test_code_in_the_folder(self, folder, hostile):
        """A file beside a component is run by diffusers only if it is trusted; ours are not even asked for."""
        for name in ("scheduler/hostile_module.py", "unet/diffusers.py", "text_encoder/diffusers_handiffuser.py"):
            (folder / name).write_text((hostile / "hostile_module.py").read_text())
        (folder / "pipeline.py").write_text((hostile / "hostile_module.py").read_text())
        (folder / "unet" / "diffusers.py").unlink()
        change_json(folder / "model_index.json", _class_name=["pipeline", "HanDiffuserPipeline"])
        assert type(HanDiffuserPipeline.from_pretrained(folder)) is HanDiffuserPipeline
        with pytest.raises(ValueError, match="trust_remote_code"):
            DiffusionPipeline.from_pretrained(folder)
        change_json(folder / "model_index.json", scheduler=["hostile_module", "Scheduler"])
        with pytest.raises(ValueError, match="says that `scheduler` is"):
            HanDiffuserPipeline.from_pretrained(folder)

    @pytest.mark.parametrize("name", ["os", "hostile_module.Model", "UNet2DConditionModel", ["hostile_module", "X"]])
    def test_class_of_the_pipeline(self, folder, hostile, name):
        """What it says beside its own class does not matter: the class that loads is the one that was called."""
        change_json(folder / "model_index.json", _class_name=name)
        assert type(HanDiffuserPipeline.from_pretrained(folder)) is HanDiffuserPipeline

    @pytest.mark.parametrize("model", MODELS)
    def test_configs_of_models(self, stored_models, tmp_path, hostile, model):
        shutil.copytree(stored_models[model], tmp_path / model)
        entries = {
            "auto_map": {"AutoModel": "hostile_module.Model", "AutoConfig": "hostile_module--x.Config"},
            "_class_name": "hostile_module.Model",
            "custom_pipelines": {"x": "hostile_module"},
            "_target_": "os.system",
        }
        change_json(tmp_path / model / "config.json", **entries)
        assert type(MODELS[model].from_pretrained(tmp_path / model)) is MODELS[model]


class TestStoredAdapters:
    """A config may describe LoRA adapters, which peft builds."""

    @pytest.fixture
    def stored(self, stored_models, tmp_path):
        from peft import LoraConfig

        model = TextToHandParamsModel.from_pretrained(stored_models["text_to_hand_params"])
        config = LoraConfig(
            r=2, target_modules=r".*attn\.to_(q|k)", rank_pattern={"to_k": 3}, alpha_pattern={"to_q": 5}
        )
        model.add_adapter(config, "one")
        for key, value in model.named_parameters():
            if "lora" in key:
                torch.nn.init.normal_(value)
        model.save_pretrained(tmp_path / "stored")
        return model, tmp_path / "stored"

    def test_come_back(self, stored):
        model, folder = stored
        loaded = TextToHandParamsModel.from_pretrained(folder)
        ours, theirs = model.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
        attn = loaded.transformer_blocks[0].attn
        assert (attn.to_q.scaling, attn.to_k.scaling) == ({"one": 5 / 2}, {"one": 8 / 3})
        stored_config = json.loads((folder / "config.json").read_text())["lora_adapters"]["one"]["config"]
        assert stored_config["target_modules"] == ["transformer_blocks.0.attn.to_k", "transformer_blocks.0.attn.to_q"]

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"target_modules": "(a+)+$"}, "must name its layers"),
            ({"target_modules": ["to_q", ".*"]}, "must name its layers"),
            ({"rank_pattern": {"(x+x+)+y": 2}}, "must name its layers"),
            ({"target_modules": "to_q", "rank_pattern": {"(x+x+)+y": 2}}, "must name its layers"),
            ({"target_modules": "to_q", "alpha_pattern": {"(x+x+)+y": 2}}, "must name its layers"),
            ({"r": 10**6}, "must have ranks from 1 to"),
            ({"r": 10**9}, "`r` 1000000000, more than"),
            ({"r": "2"}, "must have ranks from 1 to"),
            ({"r": True}, "must have ranks from 1 to"),
            ({"lora_alpha": "8"}, "has 'lora_alpha' '8'; wanted float"),
            ({"lora_alpha": True}, "has 'lora_alpha' True; wanted float"),
            ({"lora_dropout": float("nan")}, "has 'lora_dropout' nan; wanted float"),
            ({"use_rslora": "false"}, "has 'use_rslora' 'false'; wanted bool"),
            ({"alpha_pattern": {"to_q": "5"}}, "has the alpha '5'; wanted float"),
            ({"target_modules": ["no_such_layer"]}, "no_such_layer|lora"),
        ],
    )
    def test_odd_options(self, stored, changes, reason):
        self.change(stored[1], **changes)
        with pytest.raises((ValueError, OSError), match=reason) as caught:
            TextToHandParamsModel.from_pretrained(stored[1])
        assert "stored" in str(caught.value)

    def test_no_option_imports_anything(self, stored, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "hostile_module.py").write_text("")
        self.change(
            stored[1],
            megatron_config={"a": 1},
            megatron_core="hostile_module",
            auto_mapping={"parent_library": "hostile_module", "base_model_class": "X"},
            peft_type="XLORA",
        )
        assert TextToHandParamsModel.from_pretrained(stored[1]) is not None
        assert "hostile_module" not in sys.modules

    @pytest.mark.parametrize("scale", [float("nan"), float("inf"), "1.0", True, None])
    def test_scales(self, stored, scale):
        path = stored[1] / "config.json"
        config = json.loads(path.read_text())
        scaling = config["lora_adapters"]["one"]["scaling"]
        scaling[next(iter(scaling))] = scale
        path.write_text(json.dumps(config))
        with pytest.raises(ValueError, match="has the scale"):
            TextToHandParamsModel.from_pretrained(stored[1])

    @staticmethod
    def change(folder: Path, **changes) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["lora_adapters"]["one"]["config"] |= changes
        (folder / "config.json").write_text(json.dumps(config))


class TestLoraFiles:
    """A LoRA file may carry options of `peft.LoraConfig` in its header."""

    @pytest.fixture
    def load(self, make_pipe, picture_components, tmp_path):
        pipe = make_pipe(unet=copy.deepcopy(picture_components["unet"]))
        layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
        weights = {f"unet.{layer}.lora_A.weight": torch.ones(2, 16), f"unet.{layer}.lora_B.weight": torch.ones(16, 2)}

        def load(**options):
            header = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in options.items()})}
            save_file(weights, tmp_path / "style.safetensors", metadata=header)
            pipe.load_lora_weights(tmp_path, weight_name="style.safetensors")
            return pipe.unet.get_submodule(layer)

        return load

    def test_options_that_are_harmless(self, load):
        layer = load(r=64, lora_alpha=3, target_modules=["no_such", "(a+)+$"], lora_dropout=0.1, peft_type="LORA")
        assert layer.scaling == {"default_0": 3 / 2}, "the rank is that of the weights"

    def test_no_option_imports_anything(self, load, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "hostile_module.py").write_text("")
        with pytest.raises(ValueError, match="style.safetensors.*megatron"):
            load(megatron_config={"a": 1}, megatron_core="hostile_module")
        auto_mapping = {"parent_library": "hostile_module", "base_model_class": "X"}
        load(auto_mapping=auto_mapping)
        assert "hostile_module" not in sys.modules

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(.|.)" * 40 + "x", ".*" * 30 + "x", "(x+x+)+y", "(?:.*)*x"])
    def test_patterns_that_take_for_ever(self, load, pattern):
        with pytest.raises(ValueError, match="alpha_pattern"):
            load(alpha_pattern={pattern: 1})
        load(rank_pattern={pattern: 1}, exclude_modules=pattern)  # which are not used


class TestLicensedBodies:
    @pytest.fixture
    def licensed(self):
        body = HandBodyModel.procedural()
        body.register_to_config(licensed=True, sha256="0" * 64)
        return body

    def test_no_array_is_written(self, licensed, make_pipe, tmp_path):
        numbers = licensed.template.numpy().tobytes()[:4096]
        pipe = make_pipe(body_model=licensed)
        licensed.save_pretrained(tmp_path / "alone")
        licensed.save_pretrained(tmp_path / "variant", variant="fp16")
        pipe.save_pretrained(tmp_path / "pipeline")
        pipe.register_for_remote_code()
        pipe.save_pretrained(tmp_path / "code", max_shard_size="10KB")
        for folder in tmp_path.iterdir():
            for path in folder.rglob("*"):
                assert path.is_dir() or numbers not in path.read_bytes(), path
            body = folder if folder.name in ("alone", "variant") else folder / "body_model"
            assert [p.name for p in body.iterdir() if p.suffix != ".py"] == ["config.json"]
            assert json.loads((body / "config.json").read_text())["sha256"] == "0" * 64

    def test_saved_over_a_body_that_was_free(self, licensed, tmp_path):
        """Its arrays stay behind, and are refused when they are loaded or sent."""
        from diffusers_handiffuser.hub.saving import check_upload

        HandBodyModel.procedural().save_pretrained(tmp_path)
        licensed.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="licensed"):
            check_upload(tmp_path)
        with pytest.raises(ValueError, match="licensed body"):
            HandBodyModel.from_pretrained(tmp_path)
