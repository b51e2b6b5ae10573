"""The checkpoint that comes with the package: it is whole, small, quiet, float32, and knows right from left."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, EulerDiscreteScheduler
from releases import REMARKS
from safetensors import safe_open

from diffusers_handiffuser import MINI, HandBodyModel, HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel
from diffusers_handiffuser.evaluation import score_hands
from diffusers_handiffuser.studio import GESTURES, describe, sample_scene
from diffusers_handiffuser.studio.scenes import pose_scenes


@pytest.fixture(scope="module")
def mini():
    pipe = HanDiffuserPipeline.from_pretrained(MINI)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class TestFiles:
    def test_at_most_46_mb(self):
        assert isinstance(MINI, str)
        assert sum(path.stat().st_size for path in Path(MINI).rglob("*") if path.is_file()) <= 46e6

    def test_tensors_are_half_under_default_names(self):
        for name in ("unet", "vae", "text_encoder", "text_to_hand_params", "hand_text_encoder"):
            (path,) = (Path(MINI) / name).glob("*.safetensors")
            assert path.name in ("diffusion_pytorch_model.safetensors", "model.safetensors")
            with safe_open(path, framework="pt") as file:
                kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}
            measured = {key for key, kind in kinds.items() if kind == "F32"}
            assert measured <= {"basis_points", "sample_mean", "sample_std"}
            assert {kinds[key] for key in kinds.keys() - measured} <= {"F16", "I64"}

    def test_no_path_of_the_machine_it_was_made_on(self):
        for path in Path(MINI).rglob("*.json"):
            assert "_name_or_path" not in path.read_text(encoding="utf-8")


class TestLoading:
    def test_float32_unless_asked_otherwise(self, mini):
        for name, module in mini.components.items():
            if isinstance(module, torch.nn.Module):
                assert {p.dtype for p in module.parameters()} <= {torch.float32}, name
        half = HanDiffuserPipeline.from_pretrained(MINI, dtype=torch.float16)
        for name in ("unet", "vae", "text_encoder", "text_to_hand_params", "hand_text_encoder"):
            assert getattr(half, name).dtype == torch.float16

    def test_bare_class_and_each_model_alone(self, mini):
        assert isinstance(DiffusionPipeline.from_pretrained(MINI), HanDiffuserPipeline)
        for cls in (TextHandEncoder, TextToHandParamsModel, HandBodyModel):
            name = next(n for n, c in mini.components.items() if isinstance(c, cls))
            alone = cls.from_pretrained(MINI, subfolder=name)
            for key, value in getattr(mini, name).state_dict().items():
                assert torch.equal(alone.state_dict()[key], value)

    def test_body_is_the_one_the_package_ships(self, mini):
        assert mini.body_model.config.sha256 == HandBodyModel.procedural().config.sha256

    @pytest.mark.slow
    def test_silent_and_offline_in_a_new_process(self):
        code = (
            "import socket, torch\n"
            "def refuse(*args): raise AssertionError('network')\n"
            "socket.socket.connect = refuse\n"
            "from diffusers_handiffuser import MINI, HanDiffuserPipeline\n"
            "pipe = HanDiffuserPipeline.from_pretrained(MINI)\n"
            "pipe.set_progress_bar_config(disable=True)\n"
            "generator = torch.Generator().manual_seed(0)\n"
            "pipe('a left hand making a fist', generator=generator, num_inference_steps=1)\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", code],
            env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if line.strip() and "Loading" not in line]
        said = [line for line in said if not line.startswith(REMARKS)]
        assert said == []

    def test_saved_again_it_is_the_same(self, mini, tmp_path):
        mini.save_pretrained(tmp_path / "again")
        again = HanDiffuserPipeline.from_pretrained(tmp_path / "again")
        again.set_progress_bar_config(disable=True)
        arguments = {"num_inference_steps": 2, "num_hand_inference_steps": 2, "output_type": "np"}
        pictures = [
            pipe("a right hand making a fist", generator=generators(0), **arguments).images for pipe in (mini, again)
        ]
        assert np.array_equal(*pictures)


@pytest.mark.slow
class TestSampling:
    def test_side_follows_the_text(self, mini):
        """Hands appear on the side that the caption names, in at least nine of ten samples."""
        right = 0
        names = list(GESTURES)[:8]
        for side, wanted in (("left", [True, False]), ("right", [False, True])):
            prompts = [f"a {side} hand making {GESTURES[name].phrases[0]}" for name in names]
            hands = mini.sample_hand_params(prompts, hand_generator=generators(*range(len(prompts))))
            right += sum(visible == wanted for visible in hands.hand_visible.tolist())
        assert right >= 0.9 * 2 * len(names)

    def test_gesture_follows_the_text(self, mini):
        """By the rule of the evaluation, in at least half of samples of captions never trained on."""
        scenes = [sample_scene(1, "test", index, kind="close_up") for index in range(24)]
        hands = pose_scenes(scenes, mini.body_model)
        prompts = [describe(scene, random.Random(index)) for index, scene in enumerate(scenes)]
        sampled = mini.sample_hand_params(prompts, hand_generator=generators(*range(len(prompts))))
        scores = score_hands(sampled, scenes, hands.hand_visible, mini.body_model)
        assert scores["gesture"].mean() >= 0.5 and scores["finger_error"].mean() < 12, scores

    def test_background_follows_the_text(self, mini):
        """A named background colour is the one that is seen in the picture's corners, by nearest of four."""
        colors = {
            "red": (0.80, 0.14, 0.14),
            "green": (0.18, 0.60, 0.25),
            "blue": (0.17, 0.34, 0.80),
            "white": (0.93, 0.93, 0.93),
        }
        prompts = [f"a right hand making a peace sign, on a {color} background" for color in colors]
        pictures = mini(prompts, generator=generators(0, 1, 2, 3), output_type="np").images
        corners = np.concatenate([pictures[:, :12, :12], pictures[:, :12, -12:]], 2).mean((1, 2))
        distance = np.linalg.norm(corners[:, None] - np.array(list(colors.values())), axis=-1)
        assert (distance.argmin(1) == np.arange(4)).sum() >= 3

    @pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerDiscreteScheduler])
    def test_other_schedulers(self, mini, scheduler):
        pipe = HanDiffuserPipeline(
            **{**mini.components, "scheduler": scheduler.from_config(mini.scheduler.config)},
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        picture = pipe("a right hand making a fist", num_inference_steps=4, generator=generators(0), output_type="np")
        assert np.isfinite(picture.images).all() and picture.images.std() > 0.02
