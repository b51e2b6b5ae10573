import json
import shutil

import diffusers
import numpy as np
import pytest
import torch
from diffusers import ClassifierFreeGuidance, ModularPipeline

from diffusers_handiffuser import HanDiffuserBlocks, HanDiffuserModularPipeline, HanDiffuserPipeline, HandParams


@pytest.fixture(scope="module")
def folder(make_pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    make_pipe(default_guidance_scale=3.0, default_num_inference_steps=3).save_pretrained(folder)
    return folder


@pytest.fixture
def modular(folder):
    pipe = ModularPipeline.from_pretrained(folder)
    pipe.load_components()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded():
    return torch.Generator().manual_seed(3)


def test_found_by_diffusers(folder, modular):
    assert type(modular) is HanDiffuserModularPipeline is diffusers.HanDiffuserModularPipeline
    assert modular.guider.guidance_scale == 3.0
    assert modular.text_encoder is not None and modular.body_model is not None
    by_blocks = HanDiffuserBlocks().init_pipeline(folder)
    assert type(by_blocks) is HanDiffuserModularPipeline


def test_same_images_as_the_pipeline(make_pipe, modular):
    prompts, further = ["a fist", "an open hand"], {"num_images_per_prompt": 2, "output_type": "np"}
    expected = make_pipe()(prompts, guidance_scale=3.0, num_inference_steps=3, generator=seeded(), **further)
    state = modular(prompt=prompts, generator=seeded(), **further)
    assert np.allclose(state.get("images"), expected.images, atol=1e-5)
    for name in HandParams.FIELDS:
        ours, theirs = getattr(state.get("hand_params"), name), getattr(expected.hand_params, name)
        assert torch.allclose(ours.float(), theirs.float(), atol=1e-6)


def test_given_hands_and_no_hands(modular, make_pipe, hands):
    given = modular(prompt="a fist", hand_params=hands[:1], generator=seeded(), output="hand_params")
    assert torch.equal(given.right_hand_pose, hands[:1].right_hand_pose)
    without = modular(prompt="a fist", hand_conditioning_scale=0.0, generator=seeded(), output_type="np")
    expected = make_pipe()("a fist", hand_conditioning_scale=0.0, guidance_scale=3.0, num_inference_steps=3,
                           generator=seeded(), output_type="np")  # fmt: skip
    assert np.allclose(without.get("images"), expected.images, atol=1e-5) and without.get("hand_params") is None


def test_hands_come_back_as_they_were_drawn(modular, hands):
    def drawn(**options):
        return modular(prompt="a fist", hand_params=hands[:1], generator=seeded(), output="hand_params", **options)

    assert drawn(num_images_per_prompt=2).batch_shape == (2,)
    assert drawn(hand_conditioning_scale=0.0) is None


def test_framing(modular, make_pipe, hands):
    options = {"framing": "waist_up", "height": 24, "width": 16}
    framed = modular(prompt="a fist", generator=seeded(), output="hand_params", **options)
    expected = make_pipe().sample_hand_params("a fist", generator=seeded(), **options)
    torch.testing.assert_close(framed.camera, expected.camera)
    assert not torch.allclose(framed.camera, make_pipe().sample_hand_params("a fist", generator=seeded()).camera)
    with pytest.raises(ValueError, match="`framing` must be one of close_up"):
        modular(prompt="a fist", framing="near")
    with pytest.raises(ValueError, match="`framing` is for sampled hands"):
        modular(prompt="a fist", hand_params=hands[:1], framing="close_up")


def test_latents_that_are_not_finite_are_an_error(modular):
    latents = torch.full((1, 4, 8, 8), float("nan"))
    with pytest.raises(ValueError, match="finite"):
        modular(prompt="a fist", latents=latents)


def test_blocks_recombine(folder, hands):
    blocks = HanDiffuserBlocks()
    blocks.sub_blocks.pop("hands")
    pipe = blocks.init_pipeline(folder)
    assert "text_to_hand_params" not in pipe.component_names
    pipe.load_components()
    pipe.update_components(guider=ClassifierFreeGuidance(guidance_scale=1.0))
    pipe.set_progress_bar_config(disable=True)
    images = pipe(prompt="a fist", hand_params=hands[:1], generator=seeded(), num_inference_steps=2, output="images")
    assert images[0].size == (16, 16)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_saves_and_loads(modular, tmp_path):
    first, moved, second = tmp_path / "first", tmp_path / "moved", tmp_path / "second"
    modular.save_pretrained(first, card={"limits": "Thumbs."})
    everything = contents(first)
    assert not any(str(tmp_path).encode() in content for content in everything.values())
    assert "Thumbs." in (first / "README.md").read_text(encoding="utf-8")

    first.rename(moved)
    again = ModularPipeline.from_pretrained(moved)
    again.load_components()
    again.set_progress_bar_config(disable=True)
    assert type(again) is HanDiffuserModularPipeline and again.guider.guidance_scale == 3.0
    again.save_pretrained(second, card={"limits": "Thumbs."})
    assert contents(second) == everything

    expected = modular(prompt="a fist", generator=seeded(), output_type="np", output="images")
    pictures = again(prompt="a fist", generator=seeded(), output_type="np", output="images")
    assert np.array_equal(pictures, expected)
    pipe = HanDiffuserPipeline.from_pretrained(second)
    pipe.set_progress_bar_config(disable=True)
    assert np.allclose(pipe("a fist", generator=seeded(), output_type="np").images, expected, atol=1e-5)


def test_saves_a_choice_of_blocks(folder, tmp_path):
    blocks = HanDiffuserBlocks()
    blocks.sub_blocks.pop("hands")
    pipe = blocks.init_pipeline(folder)
    pipe.load_components()
    pipe.save_pretrained(tmp_path)
    assert "It has no stage from text to 3D hands" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert HanDiffuserPipeline.from_pretrained(tmp_path).text_to_hand_params is None


def test_bad_input(modular):
    with pytest.raises(ValueError, match="num_inference_steps"):
        modular(prompt="a fist", num_inference_steps=0)
    with pytest.raises(ValueError, match="height"):
        modular(prompt="a fist", height=15, width=16)
    with pytest.raises(ValueError, match="prompt"):
        modular(prompt=[])


class TestHostileFolders:
    """Its components are checked as those of a pipeline are."""

    @pytest.fixture
    def copied(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "hostile")
        return tmp_path / "hostile"

    @staticmethod
    def refused(copied, reason):
        modular = HanDiffuserModularPipeline(HanDiffuserBlocks(), str(copied))
        with pytest.raises((ValueError, OSError), match=reason) as caught:
            modular.load_components()
        assert "hostile" in str(caught.value) and "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["unet", "hand_text_encoder"])
    def test_shards_and_pickles(self, copied, name):
        path = next((copied / name).glob("*.safetensors"))
        index = path.with_name(f"{path.stem}.safetensors.index.json")
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"x": "evil.bin"}}))
        self.refused(copied, "names the weights 'evil.bin'")
        index.unlink()
        path.rename(path.with_suffix(".bin"))
        self.refused(copied, "is a pickle")

    def test_a_pipeline_in_place_of_a_component(self, copied):
        index = json.loads((copied / "model_index.json").read_text())
        index["vae"] = ["diffusers", "DiffusionPipeline"]
        (copied / "model_index.json").write_text(json.dumps(index))
        self.refused(copied, "says that `vae` is a .*DiffusionPipeline")

    def test_configs_that_ask_for_much(self, copied):
        path = copied / "vae" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "layers_per_block": 10**6}))
        self.refused(copied, "the config of `vae` asks for a model much larger than its weights")
