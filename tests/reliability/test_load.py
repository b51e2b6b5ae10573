"""Many generations in one process, and generations that are broken off in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pipeline_cases import CLASSES

import diffusers_handiffuser
from diffusers_handiffuser import MINI, HanDiffuserControlNetPipeline, HanDiffuserInpaintPipeline

CONTRACT = Path(__file__).parents[1] / "fixtures" / "contract" / "pipeline"
GROWTH = 0.02
takes_minutes = pytest.mark.skipif(
    "HANDIFFUSER_LONG_TESTS" not in os.environ, reason="takes minutes; set HANDIFFUSER_LONG_TESTS=1 to run it"
)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory in use from Linux' /proc")
@pytest.mark.parametrize(
    "checkpoint, warm_up, generations",
    [
        pytest.param(CONTRACT, 30, 100, id="tiny"),
        pytest.param(MINI, 50, 500, id="mini", marks=takes_minutes),
    ],
)
def test_memory_stays_flat(checkpoint, warm_up, generations):
    source = str(Path(diffusers_handiffuser.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    script = Path(__file__).with_name("many_generations.py")
    done = subprocess.run(
        [sys.executable, script, str(checkpoint), str(warm_up), str(generations)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    memory, objects = found["memory"], found["objects"]
    assert len(memory) == 11
    assert max(memory) < (1 + GROWTH) * memory[0], memory
    # What is left behind by every generation would show here long before it shows in the memory.
    assert max(objects) - objects[0] < generations // 2, objects


class Interrupted(Exception):
    """Of a caller."""


def draw(case, **changes):
    out = case(generator=torch.Generator().manual_seed(0), num_inference_steps=3, **changes)
    return out.images, out.hand_params.full_pose


def equal(a, b) -> bool:
    return np.array_equal(a[0], b[0]) and torch.equal(a[1], b[1])


def after(step: int, error: BaseException):
    """A callback of either stage that fails after one of its steps."""

    def callback(pipe, i, timestep, tensors):
        if i == step:
            raise error
        return tensors

    return callback


class TestBrokenOff:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("mine")], ids=repr)
    def test_by_a_callback(self, case, error):
        """Ctrl-C between steps, in both stages, and errors of callbacks: they come out as they are."""
        expected = draw(case)
        state = (case.pipe.scheduler.config, dict(case.pipe.config))
        breakers = [{"hand_callback_on_step_end": after(1, error), "num_hand_inference_steps": 3}]
        if type(case.pipe) is not CLASSES[-1]:
            breakers.append({"callback_on_step_end": after(1, error)})
        else:  # T2I-Adapters have diffusers' older callback
            breakers.append({"callback": lambda i, t, latents: after(1, error)(None, i, t, {})})
        for breaker in breakers:
            with pytest.raises(type(error)) as caught:
                draw(case, **breaker)
            assert caught.value is error
            assert equal(draw(case), expected)
        assert state == (case.pipe.scheduler.config, dict(case.pipe.config))

    @pytest.mark.parametrize("pipeline_class", [HanDiffuserInpaintPipeline, HanDiffuserControlNetPipeline])
    def test_while_the_networks_run(self, make_case, pipeline_class):
        """Ctrl-C may come anywhere."""
        case = make_case(pipeline_class)
        expected = draw(case)
        names = ("hand_text_encoder", "text_to_hand_params", "body_model", "text_encoder", "unet", "vae", "controlnet")
        for name in names:
            model = getattr(case.pipe, name, None)
            if model is None:
                continue

            def interrupt(*args):
                raise KeyboardInterrupt

            place = model.decoder if name == "vae" else model
            handle = place.register_forward_hook(interrupt)
            with pytest.raises(KeyboardInterrupt):
                draw(case, cross_attention_kwargs={"scale": 0.5} if name == "text_encoder" else None)
            handle.remove()
            parts = [part for part in case.pipe.components.values() if isinstance(part, torch.nn.Module)]
            assert not any(module._forward_pre_hooks for part in parts for module in part.modules()), name
            assert equal(draw(case), expected), name

    def test_the_progress_bar_comes_back(self, case, capfd):
        """What was written over it in one call does not stay."""
        case.pipe.set_progress_bar_config()
        with pytest.raises(KeyboardInterrupt):
            draw(case, hand_callback_on_step_end=after(0, KeyboardInterrupt()))
        assert case.pipe._progress_bar_config == {}
        capfd.readouterr()
        draw(case)
        assert "hands:" in capfd.readouterr().err

    def test_interrupted_stages_start_anew(self, case):
        """diffusers' own way to stop, `pipe._interrupt = True`, ends that call alone."""
        expected = draw(case)

        def stop(pipe, i, timestep, tensors):
            pipe._interrupt = True
            return tensors

        stopped = draw(case, hand_callback_on_step_end=stop, num_hand_inference_steps=5)
        assert not equal(stopped, expected)
        assert equal(draw(case), expected)

    def test_sampling_hands_alone(self, pipe):
        def sample(**changes):
            return pipe.sample_hand_params("a", hand_generator=torch.Generator().manual_seed(0), **changes).full_pose

        expected = sample()
        with pytest.raises(KeyboardInterrupt):
            sample(hand_callback_on_step_end=after(0, KeyboardInterrupt()))
        assert torch.equal(sample(), expected)
