"""Several threads that load pipelines, or call them."""

import copy
import threading

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from in_threads import in_threads, switching_often
from pipeline_cases import CLASSES
from transformers import CLIPTextModel

from diffusers_handiffuser import (
    HanDiffuserBlocks,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserPipeline,
    TextHandEncoder,
    TextToHandParamsModel,
)


def own_scheduler(pipe):
    return pipe.scheduler.from_config(pipe.scheduler.config)


def shallow_copy(pipe):
    pipe = copy.copy(pipe)
    pipe.scheduler = own_scheduler(pipe)
    return pipe


COPIES = {  # ways to a pipeline of another thread
    "from_pipe": lambda pipe: HanDiffuserPipeline.from_pipe(pipe, scheduler=own_scheduler(pipe)),
    "components": lambda pipe: HanDiffuserPipeline(**{**pipe.components, "scheduler": own_scheduler(pipe)}),
    "copy": shallow_copy,
}


@pytest.fixture(scope="module")
def saved(make_pipe, clip_text_model, picture_components, tmp_path_factory):
    """Folders of one of our pipelines, and of Stable Diffusion's."""
    folder = tmp_path_factory.mktemp("saved")
    pipe = make_pipe()
    pipe.save_pretrained(folder / "ours")
    parts = {**picture_components, "text_encoder": clip_text_model, "scheduler": pipe.scheduler}
    StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False).save_pretrained(folder / "sd")
    return folder


@pytest.fixture
def torch_as_it_was():
    register_parameter = torch.nn.Module.register_parameter
    yield
    torch.nn.Module.register_parameter = register_parameter


def weights(*models: torch.nn.Module) -> dict[tuple, torch.Tensor]:
    return {(i, name): value for i, model in enumerate(models) for name, value in model.state_dict().items()}


def models(pipe) -> list[torch.nn.Module]:
    return [part for _, part in sorted(pipe.components.items()) if isinstance(part, torch.nn.Module)]


@pytest.mark.usefixtures("torch_as_it_was")
class TestLoading:
    def test_takes_turns(self, saved, clip_text_model):
        """Whatever loads or builds models of ours, beside whatever else does."""

        def modular():
            pipe = HanDiffuserBlocks().init_pipeline(str(saved / "ours"))
            pipe.load_components()
            return weights(pipe.hand_text_encoder, pipe.unet, pipe.text_encoder)

        def from_clip():
            encoder = TextHandEncoder.from_clip(clip_text_model, hand_hidden_size=32, num_basis_points=16)
            return weights(encoder.text_model)

        def built():
            model = TextToHandParamsModel(hidden_size=32, num_layers=1, num_attention_heads=2, cross_attention_dim=16)
            return {name: value.isfinite() & (value.abs() < 10) for name, value in model.named_parameters()}

        jobs = [
            lambda: weights(*models(HanDiffuserPipeline.from_pretrained(saved / "ours"))),
            lambda: weights(*models(HanDiffuserImg2ImgPipeline.from_pretrained(saved / "ours"))),
            lambda: weights(HanDiffuserPipeline.from_stable_diffusion(saved / "sd", body_model=None).unet),
            lambda: weights(TextHandEncoder.from_pretrained(saved / "ours", subfolder="text_encoder")),
            modular,
            from_clip,
            built,
        ]
        expected = [job() for job in jobs]
        with switching_often():
            found = in_threads(*jobs, *jobs)
        for ours, theirs in zip(found, expected * 2, strict=True):
            assert ours.keys() == theirs.keys() and ours
            assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
        assert torch.nn.Linear(1, 1).weight.device.type == "cpu"

    @pytest.mark.parametrize("loader", [HanDiffuserPipeline, DiffusionPipeline])
    def test_what_others_left_without_weights_is_refused(self, saved, loader):
        """As if another thread were inside a load of diffusers, which holds for the whole process."""
        with init_empty_weights(), pytest.raises(ValueError, match="`hand_text_encoder`.*another thread.*load again"):
            loader.from_pretrained(saved / "ours")
        assert loader.from_pretrained(saved / "ours").hand_text_encoder.device.type == "cpu"

    def test_any_component_without_weights_is_refused(self, make_pipe, picture_components, clip_text_model):
        with init_empty_weights():
            empty = CLIPTextModel(clip_text_model.config)
            vae = type(picture_components["vae"]).from_config(picture_components["vae"].config)
        with pytest.raises(ValueError, match="`hand_text_encoder` was left without weights"):
            make_pipe(hand_text_encoder=empty)
        with pytest.raises(ValueError, match="`vae` has no weights for"):
            make_pipe(vae=vae)


def steps_of_its_own(case, i: int, pipe=None, **changes):
    """A call whose schedulers must not be those of another: other numbers of steps, and a scheduler that counts."""
    changes = {"num_inference_steps": 3 + i % 3, "num_hand_inference_steps": 2 + i % 2, **changes}
    prompt = " ".join(["a hand"] * (1 + 20 * i))
    whole = type(case)(pipe or case.pipe, case.inputs)
    out = whole(generator=torch.Generator().manual_seed(i), prompt=prompt, **changes)
    return out.images, out.hand_params.full_pose


def equal(a, b) -> bool:
    return np.array_equal(a[0], b[0]) and torch.equal(a[1], b[1])


class Meanwhile:
    """A call of another thread, made from within a callback: deterministic, where threads by themselves are not."""

    def __init__(self, call):
        self.call, self.error = call, None

    def __call__(self, pipe, i, timestep, tensors):
        def work():
            try:
                self.call()
            except Exception as error:
                self.error = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return tensors


class TestCalling:
    def test_one_pipeline_from_two_threads(self, case):
        expected = steps_of_its_own(case, 0)
        calls = (
            lambda: steps_of_its_own(case, 1),
            lambda: case.pipe.sample_hand_params("a", hand_generator=torch.Generator().manual_seed(0)),
        )
        for call in calls:
            meanwhile = Meanwhile(call)
            assert equal(steps_of_its_own(case, 0, hand_callback_on_step_end=meanwhile), expected)
            assert isinstance(meanwhile.error, RuntimeError)
            assert f"This {type(case.pipe).__name__} is in use by a call in another thread" in str(meanwhile.error)
            call()

    def test_while_hands_are_sampled(self, pipe):
        meanwhile = Meanwhile(lambda: pipe("a"))
        pipe.sample_hand_params("a", hand_callback_on_step_end=meanwhile)
        assert "in use by a call in another thread" in str(meanwhile.error)

    def test_pipelines_that_share_the_scheduler(self, make_case):
        case = make_case(HanDiffuserPipeline)
        other = HanDiffuserImg2ImgPipeline.from_pipe(case.pipe)
        image = torch.zeros(3, 16, 16)
        meanwhile = Meanwhile(lambda: other("a", image=image))
        steps_of_its_own(case, 0, hand_callback_on_step_end=meanwhile)
        assert isinstance(meanwhile.error, RuntimeError), meanwhile.error
        assert "The `scheduler` of this pipeline is in use" in str(meanwhile.error)
        other("a", image=image)

    @pytest.mark.parametrize("copied", COPIES)
    @pytest.mark.parametrize("hand_scheduler", [DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler])
    def test_pipelines_that_share_all_but_the_scheduler(self, make_case, copied, hand_scheduler):
        """As diffusers advises: the schedulers of stage 1 and the tokenizers are shared, too."""
        case = make_case(HanDiffuserPipeline)
        case.pipe.scheduler = EulerDiscreteScheduler.from_config(case.pipe.scheduler.config)
        case.pipe.text_to_hand_scheduler = hand_scheduler.from_config(case.pipe.text_to_hand_scheduler.config)
        pipes = [COPIES[copied](case.pipe) for _ in range(4)]
        for pipe in pipes:
            pipe.set_progress_bar_config(disable=True)
            assert pipe.text_to_hand_scheduler is case.pipe.text_to_hand_scheduler
            assert pipe.tokenizer is case.pipe.tokenizer and pipe.unet is case.pipe.unet
        jobs = [lambda i=i, pipe=pipe: steps_of_its_own(case, i, pipe) for i, pipe in enumerate(pipes)]
        expected = [job() for job in jobs]
        with switching_often():
            found = in_threads(*jobs)
        assert all(map(equal, found, expected))

    def test_steps_of_stage_1_are_those_of_the_call(self, make_case):
        """Another pipeline that samples hands meanwhile has steps of its own."""
        case = make_case(HanDiffuserPipeline)
        expected = steps_of_its_own(case, 0)
        other = COPIES["from_pipe"](case.pipe)
        meanwhile = Meanwhile(lambda: other.sample_hand_params("a", num_hand_inference_steps=7))
        assert equal(steps_of_its_own(case, 0, hand_callback_on_step_end=meanwhile), expected)
        assert meanwhile.error is None

    @pytest.mark.parametrize("pipeline_class", CLASSES[:2])
    def test_a_callback_may_call_the_pipeline(self, make_case, pipeline_class):
        case = make_case(pipeline_class)

        def within(pipe, i, timestep, tensors):
            pipe.sample_hand_params("a")
            return tensors

        steps_of_its_own(case, 0, callback_on_step_end=within)
        assert equal(*in_threads(lambda: steps_of_its_own(case, 0)) * 2)  # and the pipeline is free again

    def test_free_again_after_an_error(self, pipe):
        def fail(*arguments):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipe("a", hand_callback_on_step_end=fail)
        with pytest.raises(ValueError, match="guidance_scale"):
            pipe("a", guidance_scale=float("nan"))
        assert in_threads(lambda: pipe("a").images)

    def test_a_copy_made_within_a_call_is_free(self, pipe):
        copies = []

        def keep_a_copy(pipe, i, timestep, tensors):
            copies.append(copy.deepcopy(pipe.scheduler))
            return tensors

        pipe("a", hand_callback_on_step_end=keep_a_copy)
        pipe.scheduler = copies[0]
        assert in_threads(lambda: pipe("a").images)

    def test_modular(self, saved):
        pipe = HanDiffuserBlocks().init_pipeline(str(saved / "ours"))
        pipe.load_components()
        pipe.set_progress_bar_config(disable=True)
        shares_a_scheduler = pipe.as_pipeline()
        meanwhile = Meanwhile(lambda: pipe(prompt="a"))
        shares_a_scheduler("a", hand_callback_on_step_end=meanwhile)
        assert "is in use by a call in another thread" in str(meanwhile.error)
        assert in_threads(lambda: pipe(prompt="a", output="images"))
