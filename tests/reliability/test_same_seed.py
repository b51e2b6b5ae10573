"""Same seed, same picture: whatever stands beside it, in whatever order, saved and loaded, in another process."""

import copy
import os
import random
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from in_threads import in_threads
from pipeline_cases import CLASSES

import diffusers_handiffuser
from diffusers_handiffuser import MINI, HanDiffuserPipeline, HandParams

PROMPTS = ["a left hand", "two hands", "a fist and a long, long sleeve", ""]
SEEDS = [11, 7, 40, 3]
ACROSS_SIZES = 1e-4


def generators(seeds) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def draw(case, rows, images: int = 1, hands: HandParams | None = None, **changes):
    """Pictures `(len(rows) * images, ...)` and hands of the prompts and seeds in `rows`."""
    seeds = [SEEDS[row] + 100 * image for row in rows for image in range(images)]
    given = {} if hands is None else {"hand_params": hands[list(rows)]}
    out = case(
        prompt=[PROMPTS[row] for row in rows],
        negative_prompt=[PROMPTS[row][::-1] for row in rows],
        num_images_per_prompt=images,
        generator=generators(seeds),
        **given,
        **changes,
    )
    return out.images, out.hand_params


def same(a, b, tolerance: float = 0.0) -> None:
    """Pictures and hands of two calls."""
    assert a[0].shape == b[0].shape and np.abs(a[0] - b[0]).max() <= tolerance
    for name in HandParams.FIELDS:
        ours, theirs = getattr(a[1], name).float(), getattr(b[1], name).float()
        assert ours.shape == theirs.shape and (ours - theirs).abs().max() <= tolerance, name


def part(found, *rows):
    return found[0][list(rows)], found[1][list(rows)]


class TestBatches:
    def test_every_item_is_what_it_is_alone(self, case):
        batch = draw(case, range(3))
        for row in range(3):
            same(part(batch, row), draw(case, [row]), ACROSS_SIZES)
        assert all(np.abs(batch[0][row] - batch[0][row - 1]).max() > 0.01 for row in range(3)), "and not the same"

    def test_a_permuted_batch_is_the_batch_permuted(self, case):
        order = [2, 0, 3, 1]
        same(part(draw(case, range(4)), *order), draw(case, order))

    def test_any_size(self, case):
        batch = draw(case, range(4))
        for size in (1, 3):
            same(part(batch, *range(size)), draw(case, range(size)), ACROSS_SIZES)

    def test_images_of_a_prompt(self, case):
        found = draw(case, [0, 1], images=3)
        for image in (1, 3, 5):
            alone = case(
                prompt=PROMPTS[image // 3],
                negative_prompt=PROMPTS[image // 3][::-1],
                generator=generators([SEEDS[image // 3] + 100 * (image % 3)]),
            )
            same(part(found, image), (alone.images, alone.hand_params), ACROSS_SIZES)

    def test_rows_beside_it_have_hands_or_none(self, make_case):
        """In one call every row has as many states; those of a missing hand are nulls."""
        case = make_case(HanDiffuserPipeline)
        hands = HandParams.zeros(4).replace(right_hand_pose=torch.linspace(-0.5, 0.5, 180).reshape(4, 45))
        shown = torch.tensor([[True, True], [False, True], [True, False], [False, False]])
        reference = None
        for beside in (shown, shown.roll(1, 0), shown.flip(0), torch.zeros(4, 2, dtype=torch.bool)):
            visible = beside.clone()
            visible[1] = torch.tensor([False, True])
            found = part(draw(case, range(4), hands=hands.replace(hand_visible=visible)), 1)
            reference = reference or found
            same(found, reference)
        same(draw(case, [1], hands=hands.replace(hand_visible=shown)), reference, ACROSS_SIZES)

    def test_call_after_call(self, case):
        first = draw(case, range(2))
        draw(case, [3, 2, 1])
        same(first, draw(case, range(2)))


@pytest.mark.parametrize(
    "name",
    [
        "DDPMScheduler",
        "EulerAncestralDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DPMSolverSDEScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_other_schedulers(make_case, hands, name):
    """Also those that draw noise in every step."""
    case = make_case(HanDiffuserPipeline)
    scheduler_class = getattr(diffusers, name)
    # The one that asks for a seed of its own, and otherwise takes one from the global random state.
    seed = {"noise_sampler_seed": [1, 2]} if name == "DPMSolverSDEScheduler" else {}
    case.pipe.scheduler = scheduler_class.from_config(case.pipe.scheduler.config, **seed)
    before = random_states()
    first = draw(case, [0, 1], hands=hands, num_inference_steps=4)
    assert random_states() == before
    same(first, draw(case, [0, 1], hands=hands, num_inference_steps=4))
    if seed:
        case.pipe.scheduler = scheduler_class.from_config(case.pipe.scheduler.config, noise_sampler_seed=[1])
    same(part(first, 0), draw(case, [0], hands=hands, num_inference_steps=4), ACROSS_SIZES)


class TestElsewhere:
    def test_saved_and_loaded(self, case, tmp_path):
        expected = draw(case, range(2))
        case.pipe.save_pretrained(tmp_path)
        case.pipe = type(case.pipe).from_pretrained(tmp_path)
        case.pipe.set_progress_bar_config(disable=True)
        same(expected, draw(case, range(2)))

    @pytest.mark.slow
    def test_bundled_checkpoint_in_a_new_process(self, tmp_path):
        """Batch and picture alike; on another machine or with other libraries the last digits may differ."""
        pipe = HanDiffuserPipeline.from_pretrained(MINI)
        pipe.set_progress_bar_config(disable=True)
        steps = {"num_inference_steps": 2, "num_hand_inference_steps": 2, "output_type": "np"}
        out = pipe(PROMPTS[:2], generator=generators(SEEDS[:2]), **steps)
        code = (
            "import sys, numpy, torch\n"
            "from diffusers_handiffuser import MINI, HanDiffuserPipeline\n"
            "torch.rand(5), numpy.random.rand(3)\n"
            "pipe = HanDiffuserPipeline.from_pretrained(MINI)\n"
            f"generators = [torch.Generator().manual_seed(seed) for seed in {SEEDS[:2]}]\n"
            f"out = pipe({PROMPTS[:2]}, generator=generators, **{steps})\n"
            "numpy.save(sys.argv[1] + '/picture.npy', out.images)\n"
            "out.hand_params.save(sys.argv[1] + '/hands.safetensors')\n"
        )
        source = str(Path(diffusers_handiffuser.__file__).parents[1])
        environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": str(torch.get_num_threads())}
        environment["PYTHONPATH"] = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        hands = HandParams.load(tmp_path / "hands.safetensors")
        same((np.load(tmp_path / "picture.npy"), hands), (out.images, out.hand_params))
        alone = pipe(PROMPTS[1], generator=generators(SEEDS[1:2]), **steps)
        same((alone.images, alone.hand_params), part((out.images, out.hand_params), 1), ACROSS_SIZES)


def random_states() -> tuple:
    numpy_state = np.random.get_state()
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2:], random.getstate()


class TestGlobalRandomState:
    def test_is_not_touched(self, case):
        before = random_states()
        draw(case, [0, 1])
        case(generator=torch.Generator().manual_seed(0), hand_generator=torch.Generator().manual_seed(1))
        case.pipe.sample_hand_params("a hand", hand_generator=torch.Generator().manual_seed(0))
        assert random_states() == before

    def test_is_not_even_put_back(self, case, monkeypatch):
        """Who restores the state takes away what other threads drew meanwhile."""

        def fail(*args, **kwargs):
            raise AssertionError("the global random state was set")

        for name in ("set_rng_state", "manual_seed", "seed"):
            monkeypatch.setattr(torch, name, fail)
            monkeypatch.setattr(torch.random, name, fail)
        draw(case, [0])

    def test_does_not_matter(self, case):
        torch.manual_seed(1)
        expected = draw(case, [0])
        torch.manual_seed(2), np.random.seed(2), random.seed(2)
        same(draw(case, [0]), expected)

    def test_is_what_is_drawn_from_without_a_generator(self, pipe):
        torch.manual_seed(1)
        first = pipe("a hand", output_type="np").images
        torch.manual_seed(1)
        assert np.array_equal(first, pipe("a hand", output_type="np").images)
        assert not np.array_equal(first, pipe("a hand", output_type="np").images)


class TestThreads:
    """Two pipelines, each with models and schedulers of its own."""

    def test_do_not_disturb_each_other(self, make_case):
        one, other = make_case(CLASSES[0]), make_case(CLASSES[1])
        other.pipe = type(other.pipe)(
            **copy.deepcopy(other.pipe.components), requires_safety_checker=False, default_num_hand_inference_steps=3
        )
        other.pipe.set_progress_bar_config(disable=True)
        jobs = (
            lambda: [draw(one, [0, 1], num_inference_steps=3) for _ in range(3)],
            lambda: [draw(other, [2], num_inference_steps=5, guidance_scale=3.0) for _ in range(3)],
        )
        expected = [job() for job in jobs]
        for ours, theirs in zip(in_threads(*jobs), expected, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                same(a, b)


def test_the_picture_is_a_picture(make_case):
    """What is compared above is not all black or clipped away."""
    images, hands = draw(make_case(HanDiffuserPipeline), range(4))
    assert ((images > 0) & (images < 1)).mean() > 0.5 and hands.full_pose.std() > 0.01
