"""`HanDiffuserPipeline.from_stable_diffusion`, `from_pipe` both ways, and the AutoPipelines."""

import os
import pickle

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from ldm_checkpoint import ldm_state_dict
from releases import DTYPE
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from diffusers_handiffuser import HandBodyModel, HanDiffuserPipeline, TextHandEncoder


@pytest.fixture
def sd(picture_components, clip_text_model, pipe) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline(
        **picture_components,
        text_encoder=clip_text_model,
        scheduler=pipe.scheduler,
        safety_checker=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def sd_2(sd, tokenizer):
    """As Stable Diffusion 2: the other activation, v-prediction, heads by channels."""
    torch.manual_seed(3)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="gelu",
        eos_token_id=tokenizer.eos_token_id,
    )
    scheduler = type(sd.scheduler).from_config(sd.scheduler.config, prediction_type="v_prediction")
    parts = {**sd.components, "text_encoder": CLIPTextModel(config).eval(), "scheduler": scheduler}
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipe, **kwargs) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    kwargs = {"num_inference_steps": 2, "negative_prompt": "blurry", "output_type": "np", **kwargs}
    return pipe("a hand", generator=torch.Generator().manual_seed(0), **kwargs).images


def same_pictures(made: HanDiffuserPipeline, source: StableDiffusionPipeline) -> bool:
    without = {} if made.text_to_hand_params is None else {"hand_conditioning_scale": 0}
    return np.array_equal(draw(made, **without), draw(source))


class TestSources:
    def test_object(self, sd, hands):
        before = set(sd.text_encoder.state_dict())
        made = HanDiffuserPipeline.from_stable_diffusion(sd)
        assert same_pictures(made, sd)
        assert made.unet is sd.unet and made.scheduler is sd.scheduler
        assert type(made.text_encoder) is TextHandEncoder and set(sd.text_encoder.state_dict()) == before
        assert not made.config.requires_safety_checker and made.text_to_hand_params is None
        assert not np.array_equal(draw(made, hand_params=hands[0]), draw(sd))

    def test_stable_diffusion_2(self, sd_2):
        assert same_pictures(HanDiffuserPipeline.from_stable_diffusion(sd_2), sd_2)

    def test_pipeline_of_another_task(self, sd):
        image_to_image = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
        assert same_pictures(HanDiffuserPipeline.from_stable_diffusion(image_to_image), sd)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_keeps_the_dtype(self, sd, tmp_path, dtype):
        sd.save_pretrained(tmp_path / "sd")
        source = StableDiffusionPipeline.from_pretrained(tmp_path / "sd", **{DTYPE: dtype})
        made = HanDiffuserPipeline.from_stable_diffusion(source)
        assert made.unet.dtype == made.text_encoder.text_model.final_layer_norm.weight.dtype == dtype
        assert made.text_encoder.basis_points.dtype == made.body_model.template.dtype == torch.float32

    def test_folder_or_hub_id(self, sd, publish, tmp_path):
        sd.save_pretrained(tmp_path / "sd")
        name = publish(tmp_path / "sd")
        assert same_pictures(HanDiffuserPipeline.from_stable_diffusion(name), sd)
        half = HanDiffuserPipeline.from_stable_diffusion(name, dtype=torch.float16, default_num_inference_steps=5)
        assert half.unet.dtype == torch.float16 and half.config.default_num_inference_steps == 5

    def test_variant_and_revision(self, sd, hub, tmp_path):
        sd.save_pretrained(tmp_path / "sd", variant="fp16")
        hub.put_folder("someone/sd", tmp_path / "sd", branch="half")
        made = HanDiffuserPipeline.from_stable_diffusion("someone/sd", variant="fp16", revision="half")
        assert same_pictures(made, sd)

    @pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
    def test_single_file_without_network(self, sd, tmp_path, suffix):
        state, path = ldm_state_dict(sd), tmp_path / f"model.{suffix}"
        if suffix == "ckpt":
            torch.save({"state_dict": state}, path)
        else:
            save_file({key: value.contiguous() for key, value in state.items()}, path)
        sd.save_pretrained(tmp_path / "sd")
        for weights in (tmp_path / "sd").rglob("*.safetensors"):
            weights.unlink()
        made = HanDiffuserPipeline.from_stable_diffusion(path, config=str(tmp_path / "sd"), local_files_only=True)
        assert same_pictures(made, sd)
        made = HanDiffuserPipeline.from_single_file(path, config=str(tmp_path / "sd"), local_files_only=True)
        assert type(made.text_encoder) is TextHandEncoder
        with pytest.raises(ValueError, match="must end in .safetensors or .ckpt"):
            HanDiffuserPipeline.from_single_file(tmp_path / "sd")

    def test_code_in_a_single_file_does_not_run(self, sd, tmp_path):
        class Code:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "ran"),)

        torch.save({"state_dict": {**ldm_state_dict(sd), "code": Code()}}, tmp_path / "model.ckpt")
        sd.save_pretrained(tmp_path / "sd")
        with pytest.raises((OSError, pickle.UnpicklingError)):
            HanDiffuserPipeline.from_stable_diffusion(tmp_path / "model.ckpt", config=str(tmp_path / "sd"))
        assert not (tmp_path / "ran").exists()

    def test_saved_and_loaded(self, sd, tmp_path):
        HanDiffuserPipeline.from_stable_diffusion(sd).save_pretrained(tmp_path)
        assert same_pictures(HanDiffuserPipeline.from_pretrained(tmp_path), sd)


class TestStage1:
    NAMES = ("hand_tokenizer", "hand_text_encoder", "text_to_hand_params", "text_to_hand_scheduler", "body_model")

    @pytest.fixture
    def stage_1(self, make_pipe):
        return make_pipe(default_hand_guidance_scale=1.5)

    def test_from_a_pipeline(self, sd, stage_1):
        made = HanDiffuserPipeline.from_stable_diffusion(sd, stage_1)
        assert all(getattr(made, name) is getattr(stage_1, name) for name in self.NAMES)
        assert made.config.default_num_hand_inference_steps == 2 and made.config.default_hand_guidance_scale == 1.5
        assert made.config.default_num_inference_steps is None
        assert same_pictures(made, sd)
        made.set_progress_bar_config(disable=True)
        out = made("a hand", num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="latent")
        assert len(out.hand_params) == 1

    def test_from_a_folder_or_hub_id(self, sd, stage_1, publish, tmp_path):
        stage_1.save_pretrained(tmp_path / "stage_1")
        name = publish(tmp_path / "stage_1")
        made = HanDiffuserPipeline.from_stable_diffusion(sd, name)
        for key, value in stage_1.text_to_hand_params.state_dict().items():
            assert torch.equal(made.text_to_hand_params.state_dict()[key], value)
        body = HandBodyModel.procedural()
        made = HanDiffuserPipeline.from_stable_diffusion(sd, name, body_model=body, dtype=torch.float16)
        assert made.body_model is body and made.text_to_hand_params.dtype == torch.float16

    def test_from_components(self, sd, stage_1):
        parts = {name: getattr(stage_1, name) for name in self.NAMES}
        made = HanDiffuserPipeline.from_stable_diffusion(sd, **parts)
        assert all(getattr(made, name) is part for name, part in parts.items())
        with pytest.raises(ValueError, match="hand_text_encoder"):
            HanDiffuserPipeline.from_stable_diffusion(sd, **{**parts, "hand_text_encoder": None})

    def test_made_with_a_licensed_body(self, sd, make_pipe):
        """Its body has to be given, as the procedural one would take its place otherwise."""
        source = make_pipe(body_model=None, body_sha256="0" * 64)
        with pytest.raises(ValueError, match="this checkpoint was made with 0000"):
            HanDiffuserPipeline.from_stable_diffusion(sd, source)
        body = HandBodyModel.procedural()
        body.register_to_config(licensed=True, sha256="0" * 64)
        made = HanDiffuserPipeline.from_stable_diffusion(sd, source, body_model=body)
        assert made.body_model is body and made.config.body_sha256 == "0" * 64
        assert HanDiffuserPipeline.from_stable_diffusion(sd, source, body_sha256=None).body_model is not None

    def test_given_text_encoder(self, sd, pipe):
        made = HanDiffuserPipeline.from_stable_diffusion(sd, text_encoder=pipe.text_encoder)
        assert made.text_encoder is pipe.text_encoder


class TestErrors:
    def test_ours_already(self, pipe):
        with pytest.raises(ValueError, match="from_pipe"):
            HanDiffuserPipeline.from_stable_diffusion(pipe)

    def test_no_pipeline(self, sd):
        with pytest.raises(TypeError, match="`stable_diffusion` must be a pipeline, .* got UNet2DConditionModel"):
            HanDiffuserPipeline.from_stable_diffusion(sd.unet)

    def test_without_a_part(self, sd):
        sd.unet = None
        with pytest.raises(ValueError, match="StableDiffusionPipeline without unet"):
            HanDiffuserPipeline.from_stable_diffusion(sd)

    def test_stage_1_without_a_stage_1(self, sd, text_only_pipe):
        with pytest.raises(ValueError, match="`text_to_hand_params` must have a stage 1"):
            HanDiffuserPipeline.from_stable_diffusion(sd, text_only_pipe)

    @pytest.mark.parametrize("name", ["missing.safetensors", "no/such", "./missing"])
    def test_missing(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OSError, match=f"Cannot load `stable_diffusion`.*{name}") as caught:
            HanDiffuserPipeline.from_stable_diffusion(name)
        assert "\n" not in str(caught.value)

    def test_options_that_mean_nothing(self, sd, tmp_path):
        with pytest.raises(TypeError, match="`variant` is an option of loading"):
            HanDiffuserPipeline.from_stable_diffusion(sd, variant="fp16")
        with pytest.raises(ValueError, match="`config` is for single files"):
            HanDiffuserPipeline.from_stable_diffusion(str(tmp_path), config=str(tmp_path))


class TestFromPipe:
    def test_there_and_back(self, sd, pipe):
        ours = HanDiffuserPipeline.from_pipe(sd, text_encoder=TextHandEncoder.from_clip(sd.text_encoder))
        assert same_pictures(ours, sd)
        for text_encoder in (sd.text_encoder, ours.text_encoder):
            back = StableDiffusionPipeline.from_pipe(ours, text_encoder=text_encoder)
            assert type(back) is StableDiffusionPipeline and back.unet is sd.unet
            assert np.array_equal(draw(back), draw(sd))

    def test_makes_the_joint_encoder_itself(self, sd, clip_text_model):
        """The source stays as it was, and its config comes back."""
        ours = HanDiffuserPipeline.from_pipe(sd)
        assert type(ours.text_encoder) is TextHandEncoder and sd.text_encoder is clip_text_model
        assert same_pictures(ours, sd) and ours.body_model is None and ours.unet is sd.unet
        back = StableDiffusionPipeline.from_pipe(ours, text_encoder=sd.text_encoder)
        public = [key for key in sd.config if not key.startswith("_")]
        assert {key: back.config[key] for key in public} == {key: sd.config[key] for key in public}

    def test_another_family_is_refused(self, sd):
        class Other(StableDiffusionPipeline):
            text_encoder_2 = None

        other = Other(**sd.components, requires_safety_checker=False)
        with pytest.raises(ValueError, match="`pipeline` must be of Stable Diffusion.*second text encoder"):
            HanDiffuserPipeline.from_pipe(other)

    def test_between_tasks(self, pipe):
        for auto in (AutoPipelineForImage2Image, AutoPipelineForInpainting):
            other = auto.from_pipe(pipe)
            assert type(other).__name__.startswith("HanDiffuser") and type(other) is not HanDiffuserPipeline
            assert all(part is pipe.components[name] for name, part in other.components.items())
            back = AutoPipelineForText2Image.from_pipe(other)
            assert type(back) is HanDiffuserPipeline and back.body_model is pipe.body_model
            assert np.array_equal(draw(back), draw(pipe))
