"""Numbers that are not finite are refused at the door; half precision, and mixtures of dtypes and devices."""

import copy
import inspect

import numpy as np
import pytest
import torch
from pipeline_cases import CLASSES

from diffusers_handiffuser import HandParams, TextToHandParamsModel
from diffusers_handiffuser.hands.rotations import rot6d_to_rotmat, rotmat_to_rotvec, rotvec_to_rotmat

NAN, INF = float("nan"), float("inf")
LOW = (torch.float16, torch.bfloat16)
SAMPLES = 10_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poisoned_hands() -> HandParams:
    """Written into after it was made, when it would have been refused."""
    hands = HandParams.zeros(1)
    hands.right_hand_pose[0, 5] = NAN
    return hands


def tensors(*shape: int) -> list[torch.Tensor]:
    """Zeros but for one number, in the last row."""
    found = []
    for number in (NAN, INF, -INF):
        tensor = torch.zeros(shape)
        tensor[-1].view(-1)[-1] = number
        found.append(tensor)
    return found


NUMBERS = (NAN, INF, -INF)
LISTS = tuple([0.5, number] for number in NUMBERS)
BAD = {
    **dict.fromkeys(("guidance_scale", "guidance_rescale", "eta", "strength"), NUMBERS),
    **dict.fromkeys(("hand_guidance_scale", "hand_conditioning_scale", "hand_mask_margin"), NUMBERS),
    **dict.fromkeys(("num_inference_steps", "num_hand_inference_steps", "num_images_per_prompt"), NUMBERS),
    **dict.fromkeys(("height", "width", "padding_mask_crop"), NUMBERS),
    **dict.fromkeys(("timesteps", "sigmas"), LISTS),
    **dict.fromkeys(("controlnet_conditioning_scale", "adapter_conditioning_scale"), (*NUMBERS, *LISTS)),
    **dict.fromkeys(("control_guidance_start", "control_guidance_end"), (*NUMBERS, *LISTS)),
    **dict.fromkeys(("prompt_embeds", "negative_prompt_embeds"), tensors(1, 77, 16)),
    **dict.fromkeys(("latents", "masked_image_latents"), tensors(1, 4, 8, 8)),
    **dict.fromkeys(
        ("image", "control_image"), (*tensors(1, 3, 16, 16), *(item[0] for item in tensors(1, 3, 16, 16)))
    ),
    "mask_image": [*tensors(1, 1, 16, 16), [item[0, 0].numpy() for item in tensors(1, 1, 16, 16)]],
    "ip_adapter_image_embeds": [[item] for item in tensors(2, 1, 4)],
    "ip_adapter_image": tensors(1, 3, 16, 16),
    "cross_attention_kwargs": [{"scale": number} for number in NUMBERS],
    "hand_params": [poisoned_hands()],
}
WITHOUT_NUMBERS = {
    *("self", "prompt", "negative_prompt", "generator", "hand_generator", "output_type", "return_dict", "kwargs"),
    *("callback_on_step_end", "callback_on_step_end_tensor_inputs", "hand_callback_on_step_end", "callback"),
    *("clip_skip", "guess_mode", "keep_unmasked", "callback_steps", "framing", "hand_detector"),
}


def refuses(name: str, call, *arguments, **keywords) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert f"`{name}" in message and "\n" not in message, message


class TestAtTheDoor:
    @pytest.fixture(autouse=True)
    def nothing_is_computed(self, request, monkeypatch):
        def fail(*args, **kwargs):
            raise AssertionError("the networks ran on bad input")

        pipe = request.getfixturevalue("case").pipe if "case" in request.fixturenames else None
        for name in ("unet", "vae", "text_encoder", "text_to_hand_params", "controlnet", "adapter"):
            if pipe is not None and hasattr(pipe, name):
                monkeypatch.setattr(type(getattr(pipe, name)), "forward", fail)
                monkeypatch.setattr(type(getattr(pipe, name)), "encode", fail, raising=False)

    @pytest.mark.parametrize("pipeline_class", CLASSES, ids=lambda pipeline_class: pipeline_class.__name__)
    def test_no_argument_is_forgotten(self, pipeline_class):
        names = set(inspect.signature(pipeline_class.__call__).parameters)
        assert names <= BAD.keys() | WITHOUT_NUMBERS

    def test_every_argument_of_every_pipeline(self, case):
        for name in inspect.signature(type(case.pipe).__call__).parameters:
            for value in BAD.get(name, ()):
                refuses(name, case, **{name: value})

    def test_of_a_batch_any_row(self, case):
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            for value in tensors(3, 77, 16):
                given = {"prompt_embeds": torch.zeros(3, 77, 16), name: value}
                refuses(name, case, **given)

    def test_hands_whose_geometry_overflows(self, case):
        huge = HandParams.zeros(1).replace(left_hand_pose=torch.full((1, 45), 1e30))
        refuses("hand_params", case, hand_params=huge)


def test_stage_1_alone(make_pipe):
    pipe = make_pipe(**dict.fromkeys(("vae", "unet", "text_encoder", "tokenizer", "scheduler", "body_model")))
    for name in ("hand_guidance_scale", "num_hand_inference_steps", "num_images_per_prompt"):
        for value in NUMBERS:
            refuses(name, pipe.sample_hand_params, "a hand", **{name: value})


def test_modular_blocks(make_pipe, tmp_path):
    from diffusers import ModularPipeline

    make_pipe().save_pretrained(tmp_path)
    pipe = ModularPipeline.from_pretrained(tmp_path)
    pipe.load_components()
    pipe.set_progress_bar_config(disable=True)
    names = ("hand_guidance_scale", "hand_conditioning_scale", "latents", "timesteps", "sigmas", "hand_params", "eta")
    for name in names:
        refuses(name, pipe, prompt="a hand", **{name: BAD[name][0]})


def random_poses(rows: int, seed: int) -> torch.Tensor:
    """`(rows, 52, 3)`: angles of every size, from none over tiny ones to half turns and many turns."""
    source = generator(seed)
    axes = torch.nn.functional.normalize(torch.randn(rows, 52, 3, generator=source), dim=-1)
    angles = torch.rand(rows, 52, 1, generator=source) * 2 * torch.pi
    special = torch.tensor([0.0, 1e-8, 1e-4, 1e-3, torch.pi, torch.pi - 1e-4, 30.0])
    chosen = special[torch.randint(len(special), angles.shape, generator=source)]
    return axes * torch.where(torch.rand(angles.shape, generator=source) < 0.3, chosen, angles)


class TestHalfPrecision:
    """Over 10 000 random samples. The sizes are small: on a CPU half precision is slow."""

    @pytest.fixture(autouse=True)
    def no_gradients(self):
        with torch.no_grad():
            yield

    @pytest.mark.parametrize("dtype", LOW, ids=str)
    def test_stage_1(self, dtype):
        torch.manual_seed(0)
        model = TextToHandParamsModel(hidden_size=16, num_layers=1, num_attention_heads=1, cross_attention_dim=16)
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(52)
        mean = torch.cat([identity, torch.zeros(10), torch.tensor([1.5, 0, 0, 0.5, 0.5])])
        model.set_statistics(mean, torch.full((327,), 0.3))
        model = model.eval().to(dtype)
        source = generator()
        for start in range(0, SAMPLES, 1000):
            # The noise of the first step, and what exaggerated guidance makes of a sample.
            sample = (1 + 9 * (start % 2000 > 0)) * torch.randn(1000, 327, generator=source)
            states = torch.randn(1000, 2, 16, generator=source).to(dtype)
            predicted = model(sample.to(dtype), start // 10, states).sample
            assert predicted.dtype == dtype and torch.isfinite(predicted).all()
            for hands in (model.decode(predicted), model.decode(sample.to(dtype))):
                assert hands.full_pose.dtype == torch.float32 and torch.isfinite(hands.full_pose).all()
                turns = rotvec_to_rotmat(hands.full_pose[:50])
                torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand_as(turns), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("dtype", LOW, ids=str)
    def test_body(self, dtype, contract_body):
        body = copy.deepcopy(contract_body).to(dtype)
        source = generator(1)
        for start in range(0, SAMPLES, 2000):
            poses = random_poses(2000, start).to(dtype)
            betas, camera = (5 * torch.randn(2000, size, generator=source).to(dtype) for size in (10, 3))
            geometry = body.hand_geometry(poses, betas, camera)
            for name, value in geometry.items():
                assert value.dtype == torch.float32 and torch.isfinite(value).all(), name
            turns = geometry.rotations
            torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand_as(turns), rtol=0, atol=1e-4)

    @pytest.mark.parametrize("dtype", LOW, ids=str)
    def test_the_body_of_the_package(self, dtype, hand_components):
        geometry = hand_components["body_model"].hand_geometry(
            random_poses(100, 3).to(dtype), torch.randn(100, 10, generator=generator()), torch.ones(100, 3)
        )
        assert all(torch.isfinite(value).all() for value in geometry.values())

    @pytest.mark.parametrize("dtype", LOW, ids=str)
    def test_rotations_in_a_dtype_of_their_own(self, dtype):
        poses = random_poses(SAMPLES // 52 + 1, 2).to(dtype)
        matrices = rotvec_to_rotmat(poses)
        columns = torch.randn(SAMPLES, 6, generator=generator()).to(dtype)
        for value in (matrices, rotmat_to_rotvec(matrices), rot6d_to_rotmat(columns)):
            assert value.dtype == dtype and torch.isfinite(value).all()


class TestMixtures:
    """Of dtypes and devices between the components of one pipeline."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"text_encoder": torch.bfloat16},
            {"text_encoder": torch.float16, "hand_text_encoder": torch.bfloat16},
            {"text_to_hand_params": torch.bfloat16, "body_model": torch.float16},
        ],
        ids="-".join,
    )
    def test_a_dtype_of_their_own_works(self, case, changes):
        expected = case(generator=generator(), hand_generator=generator(1))
        for name, dtype in changes.items():
            setattr(case.pipe, name, copy.deepcopy(getattr(case.pipe, name)).to(dtype))
        drawn = case(generator=generator(), hand_generator=generator(1))
        assert np.abs(drawn.images - expected.images).mean() < 0.05
        assert {name: getattr(case.pipe, name).dtype for name in changes} == changes

    def test_the_unet_decides(self, make_case):
        case = make_case(CLASSES[0])
        for name in ("unet", "vae"):
            setattr(case.pipe, name, copy.deepcopy(getattr(case.pipe, name)).to(torch.bfloat16))
        embeds, negative = case.pipe.encode_prompt("a", "cpu", 1, True)
        assert embeds.dtype == negative.dtype == torch.bfloat16
        assert case(output_type="pt").images.dtype == torch.bfloat16

    @pytest.mark.parametrize("dtype", LOW, ids=str)
    def test_those_that_diffusers_joins_are_refused(self, case, dtype):
        for name in {"unet", "vae", "controlnet", "adapter"} & case.pipe.components.keys():
            before = getattr(case.pipe, name)
            setattr(case.pipe, name, copy.deepcopy(before).to(dtype))
            with pytest.raises(ValueError, match=r"`unet` is torch\.\w+, but `\w+` torch\.\w+; `pipe.to") as caught:
                case()
            assert name == "unet" or f"`{name}`" in str(caught.value)
            setattr(case.pipe, name, before)

    def test_a_vae_that_is_not_used_may_have_another(self, make_case):
        case = make_case(CLASSES[0])
        case.pipe.vae = copy.deepcopy(case.pipe.vae).to(torch.bfloat16)
        assert case(output_type="latent").images.dtype == torch.float32

    def test_autocast_joins_them(self, make_case):
        case = make_case(CLASSES[0])
        case.pipe.vae = copy.deepcopy(case.pipe.vae).to(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            assert np.isfinite(case().images).all()

    def test_another_device_is_refused(self, case):
        names = {"unet", "vae", "text_encoder", "body_model", "controlnet", "adapter"}
        for name in names & case.pipe.components.keys():
            before = getattr(case.pipe, name)
            setattr(case.pipe, name, copy.deepcopy(before).to("meta"))
            with pytest.raises(ValueError, match=r"`\w+` is on \w+, but `\w+` on \w+; `pipe.to") as caught:
                case()
            assert f"`{name}`" in str(caught.value)
            setattr(case.pipe, name, before)

    @pytest.mark.parametrize("name", ["hand_text_encoder", "text_to_hand_params"])
    def test_another_device_in_stage_1_is_refused(self, pipe, name):
        pipe.sample_hand_params("a hand")  # after which diffusers keeps an empty list of hooks in the model
        setattr(pipe, name, copy.deepcopy(getattr(pipe, name)).to("meta"))
        for call in (pipe, pipe.sample_hand_params):
            with pytest.raises(ValueError, match="`hand_text_encoder` is on .*`text_to_hand_params` on "):
                call("a hand")
