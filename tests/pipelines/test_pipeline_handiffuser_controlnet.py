"""ControlNets and T2I-Adapters beside the hands."""

import inspect

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForText2Image,
    ControlNetModel,
    DiffusionPipeline,
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from small_calls import generator, make_controlnet, quiet, random_image

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserPipeline,
)


@pytest.fixture(scope="session")
def controlnets(picture_components):
    return [make_controlnet(picture_components["unet"], seed) for seed in (5, 6)]


@pytest.fixture(scope="session")
def adapters():
    torch.manual_seed(7)
    arguments = {"channels": [8, 16], "num_res_blocks": 1, "downscale_factor": 2, "adapter_type": "full_adapter"}
    return [T2IAdapter(**arguments).eval() for _ in range(2)]


@pytest.fixture
def with_controlnet(pipe, controlnets):
    return quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnets[0]))


@pytest.fixture(scope="session")
def adapter_unet(picture_components):
    """With cross-attention in the first block, as Stable Diffusion has it: its features have the adapter's sizes."""
    torch.manual_seed(8)
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel.from_config({**picture_components["unet"].config, **blocks}).eval()


@pytest.fixture
def with_adapter(pipe, adapters, adapter_unet):
    return quiet(HanDiffuserAdapterPipeline.from_pipe(pipe, adapter=adapters[0], unet=adapter_unet))


def stock(cls, pipe, clip_text_model, **more):
    names = ("vae", "unet", "tokenizer", "scheduler", "feature_extractor", "safety_checker")
    components = {name: getattr(pipe, name) for name in names}
    return quiet(cls(**components, **more, text_encoder=clip_text_model, requires_safety_checker=False))


@pytest.mark.parametrize(
    "ours, theirs, component",
    [
        (HanDiffuserControlNetPipeline, StableDiffusionControlNetPipeline, "controlnet"),
        (HanDiffuserAdapterPipeline, StableDiffusionAdapterPipeline, "adapter"),
    ],
)
def test_signatures_start_as_stable_diffusions(ours, theirs, component):
    def names(function):
        return [name for name in inspect.signature(function).parameters if name != "kwargs"]

    expected = names(theirs.__call__)
    assert names(ours.__call__)[: len(expected)] == expected
    text_to_image = names(HanDiffuserPipeline.__call__)
    assert names(ours.__call__)[len(expected) :] == text_to_image[text_to_image.index("hand_params") :]
    assert set(names(ours.__init__)) - set(names(HanDiffuserPipeline.__init__)) == {component}


class TestControlNet:
    @pytest.mark.parametrize(
        "arguments", [{}, {"guess_mode": True}, {"num_images_per_prompt": 2, "guidance_scale": 1}]
    )
    def test_without_hands_is_stable_diffusion(self, with_controlnet, clip_text_model, arguments):
        controlnet = with_controlnet.controlnet
        theirs = stock(StableDiffusionControlNetPipeline, with_controlnet, clip_text_model, controlnet=controlnet)
        common = {"image": random_image(), "num_inference_steps": 2, "output_type": "np", **arguments}
        expected = theirs("a hand", generator=generator(), **common).images
        ours = with_controlnet("a hand", generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, expected) and ours.hand_params is None

    def test_hands_and_condition_both_matter(self, pipe, with_controlnet, hands):
        common = {"prompt": "a hand", "output_type": "np"}

        def draw(hand_params, seed, scale=1.0):
            return with_controlnet(
                image=random_image(seed),
                hand_params=hand_params,
                controlnet_conditioning_scale=scale,
                generator=generator(),
                **common,
            ).images

        first = draw(hands[0], 0)
        assert not np.array_equal(first, draw(hands[1], 0)) and not np.array_equal(first, draw(hands[0], 1))
        off = draw(hands[0], 0, scale=0.0)
        np.testing.assert_allclose(off, pipe(hand_params=hands[0], generator=generator(), **common).images, atol=1e-5)

    def test_controlnet_sees_the_caption_alone(self, with_controlnet, hands):
        seen = []
        handle = with_controlnet.controlnet.register_forward_hook(
            lambda module, args, kwargs, output: seen.append(kwargs["encoder_hidden_states"]), with_kwargs=True
        )
        try:
            with_controlnet("a hand", image=random_image(), hand_params=hands[0], guidance_scale=5.0)
        finally:
            handle.remove()
        arguments = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        caption, negative = with_controlnet.encode_prompt("a hand", **arguments)
        for states in seen:
            torch.testing.assert_close(states, torch.cat([negative, caption]), atol=1e-5, rtol=0)
        assert len(seen) == 2 and not with_controlnet.controlnet._forward_pre_hooks

    def test_given_embeddings_are_the_same_call(self, with_controlnet, hands):
        arguments = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        embeds, negative = with_controlnet.encode_prompt("a hand", hand_params=hands[0], **arguments)
        common = {"image": random_image(), "output_type": "np", "guidance_scale": 5.0}
        given = with_controlnet(
            prompt_embeds=embeds, negative_prompt_embeds=negative, generator=generator(), **common
        ).images
        assert np.array_equal(
            given, with_controlnet("a hand", hand_params=hands[0], generator=generator(), **common).images
        )

    def test_several(self, pipe, controlnets, hands):
        several = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnets))
        out = several(
            "a hand",
            image=[random_image(0), random_image(1)],
            controlnet_conditioning_scale=[1.0, 0.5],
            hand_params=hands[0],
            generator=generator(),
        )
        assert out.images[0].size == (16, 16)

    @pytest.mark.parametrize("form", ["list", "tensor", "array", "results"])
    def test_result_belongs_to_prompt_and_condition_i_div_n(self, with_controlnet, hands, form):
        rows = [np.asarray(random_image(seed)).astype(np.float32) / 255 for seed in (0, 0, 1, 1)]
        forms = {
            "list": [random_image(0), random_image(1)],
            "tensor": torch.from_numpy(np.stack(rows[::2])).permute(0, 3, 1, 2),
            "array": np.stack(rows[::2]),
            "results": [random_image(0), random_image(0), random_image(1), random_image(1)],
        }
        common = {"output_type": "np", "num_inference_steps": 2}
        seeds = [generator(i) for i in range(4)]
        batch = with_controlnet(
            ["a", "b"], image=forms[form], num_images_per_prompt=2, hand_params=hands, generator=seeds, **common
        ).images
        for i in range(4):
            alone = with_controlnet(
                "ab"[i // 2], image=random_image(i // 2), hand_params=hands[i // 2], generator=generator(i), **common
            ).images
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-4)

    @pytest.mark.parametrize("images", [1, 2])
    def test_several_for_each_prompt(self, pipe, controlnets, hands, images):
        """In diffusers' order, a list for each prompt; one condition for all stays one."""
        several = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnets))
        common = {"output_type": "np", "num_inference_steps": 2, "num_images_per_prompt": images}
        seeds = [generator(i) for i in range(2 * images)]
        conditions = [[random_image(0), random_image(1)], [random_image(2), random_image(3)]]
        batch = several(["a", "b"], image=conditions, hand_params=hands, generator=seeds, **common).images
        for i in range(2):
            alone = several(
                "ab"[i],
                image=conditions[i],
                hand_params=hands[i],
                generator=[generator(images * i + k) for k in range(images)],
                **common,
            ).images
            np.testing.assert_allclose(batch[images * i : images * (i + 1)], alone, atol=1e-4)

    @pytest.mark.parametrize(
        "image, words",
        [
            ([random_image()] * 3, r"`image` must hold one image, one per prompt or one per result \(1, 2\), got 3"),
            (None, "`image` must be PIL images.*NoneType"),
            (np.zeros((16, 16, 3), np.uint8), "`image` must hold floating-point"),
        ],
    )
    def test_conditions_are_refused_before_anything_runs(self, pipe, controlnets, image, words):
        def fail(*args):
            raise AssertionError("stage 1 ran")

        one = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnets[0]))
        with pytest.raises((TypeError, ValueError), match=words):
            one(["a", "b"], image=image, hand_callback_on_step_end=fail)
        two = quiet(HanDiffuserControlNetPipeline.from_pipe(pipe, controlnet=controlnets))
        for wrong in (random_image(), [random_image()] * 3, [[random_image()] * 2, [random_image()]]):
            with pytest.raises(ValueError, match="one condition for each of the 2 ControlNets"):
                two(["a", "b"], image=wrong, hand_callback_on_step_end=fail)

    def test_condition_drawn_from_the_hands(self, with_controlnet, hands):
        for kind in ("openpose", "depth", "normal", "mask"):
            drawn = hands[0].to_condition(kind, 16, with_controlnet.body_model)
            assert len(with_controlnet("a hand", image=drawn, hand_params=hands[0]).images) == 1

    def test_components_are_shared(self, pipe, with_controlnet, tmp_path):
        assert set(with_controlnet.components) == {*pipe.components, "controlnet"}
        assert with_controlnet.with_default("num_inference_steps", None) == 2
        back = HanDiffuserImg2ImgPipeline.from_pipe(with_controlnet)
        assert back.text_to_hand_params is pipe.text_to_hand_params
        found = AutoPipelineForText2Image.from_pipe(pipe, controlnet=with_controlnet.controlnet)
        assert type(found) is HanDiffuserControlNetPipeline
        assert type(AutoPipelineForText2Image.from_pipe(found, controlnet=None)) is HanDiffuserPipeline

    def test_save_and_load(self, with_controlnet, tmp_path, hands):
        with_controlnet.save_pretrained(tmp_path)
        loaded = quiet(DiffusionPipeline.from_pretrained(tmp_path))
        assert type(loaded) is HanDiffuserControlNetPipeline
        common = {"prompt": "a hand", "image": random_image(), "hand_params": hands[0], "output_type": "np"}
        expected = with_controlnet(generator=generator(), **common).images
        assert np.array_equal(loaded(generator=generator(), **common).images, expected)

    def test_without_one(self, with_controlnet):
        with_controlnet.controlnet = None
        with pytest.raises(ValueError, match="`controlnet` is needed"):
            with_controlnet("a hand", image=random_image())


class TestAdapter:
    def test_without_hands_is_stable_diffusion(self, with_adapter, clip_text_model):
        theirs = stock(StableDiffusionAdapterPipeline, with_adapter, clip_text_model, adapter=with_adapter.adapter)
        common = {"image": random_image(), "num_inference_steps": 2, "output_type": "np", "eta": 0.5}
        expected = theirs("a hand", generator=generator(), **common).images
        ours = with_adapter("a hand", generator=generator(), hand_conditioning_scale=0, **common)
        assert np.array_equal(ours.images, expected) and ours.hand_params is None

    def test_hands_and_condition_both_matter(self, with_adapter, hands):
        common = {"prompt": "a hand", "output_type": "np"}

        def draw(hand_params, seed, scale=1.0):
            return with_adapter(
                image=random_image(seed),
                hand_params=hand_params,
                adapter_conditioning_scale=scale,
                generator=generator(),
                **common,
            ).images

        first = draw(hands[0], 0)
        assert not np.array_equal(first, draw(hands[1], 0)) and not np.array_equal(first, draw(hands[0], 1))
        off = draw(hands[0], 0, scale=0.0)
        pipe = quiet(HanDiffuserPipeline.from_pipe(with_adapter))
        np.testing.assert_allclose(off, pipe(hand_params=hands[0], generator=generator(), **common).images, atol=1e-5)

    @pytest.mark.parametrize("form", ["one", "per prompt", "tensor"])
    def test_several_results(self, with_adapter, hands, form):
        """Result i is that of prompt, hands and condition i // n alone."""
        conditions = [random_image(0), random_image(0 if form == "one" else 1)]
        pixels = torch.stack([torch.from_numpy(np.array(c)).permute(2, 0, 1) / 255 for c in conditions])
        image = {"one": conditions[0], "per prompt": conditions, "tensor": pixels}[form]
        batch = with_adapter(
            ["a", "b"],
            image=image,
            hand_params=hands,
            num_images_per_prompt=2,
            generator=[generator(i) for i in range(4)],
            output_type="np",
        ).images
        for i in (1, 2):
            alone = with_adapter(
                "ab"[i // 2],
                image=conditions[i // 2],
                hand_params=hands[i // 2],
                generator=generator(i),
                output_type="np",
            ).images
            np.testing.assert_allclose(batch[i], alone[0], atol=1e-4)

    def test_several_adapters(self, with_adapter, adapters, hands):
        several = quiet(HanDiffuserAdapterPipeline.from_pipe(with_adapter, adapter=MultiAdapter(adapters)))
        common = {"prompt": "a hand", "hand_params": hands[0]}
        out = several(image=[random_image(0), random_image(1)], adapter_conditioning_scale=[0.8, 0.4], **common)
        assert out.images[0].size == (16, 16)
        with pytest.raises(ValueError, match="`image` must be a list of one for each of the 2 adapters"):
            several(image=random_image(), **common)

    def test_components_are_shared(self, pipe, with_adapter):
        assert set(with_adapter.components) == {*pipe.components, "adapter"}
        assert type(HanDiffuserPipeline.from_pipe(with_adapter)) is HanDiffuserPipeline

    def test_image_that_is_not_finite_is_an_error(self, with_adapter, hands):
        latents = torch.full((1, 4, 8, 8), float("nan"))
        with pytest.raises(ValueError, match="not finite"):
            with_adapter("a hand", image=random_image(), hand_params=hands[0], latents=latents)

    def test_bad_condition(self, with_adapter, hands):
        with pytest.raises(TypeError, match="`image` must be PIL images or torch tensors, got NoneType"):
            with_adapter("a hand", hand_params=hands[0])


def test_several_controlnets_are_saved_without_a_path_of_the_machine(make_pipe, controlnets, tmp_path):
    for number, controlnet in enumerate(controlnets):
        controlnet.save_pretrained(tmp_path / f"part {number}")
    loaded = [ControlNetModel.from_pretrained(tmp_path / f"part {number}") for number in range(2)]
    pipe = HanDiffuserControlNetPipeline.from_pipe(make_pipe(), controlnet=loaded)
    pipe.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "controlnet_1" / "config.json").is_file()
    assert (tmp_path / "saved" / "README.md").is_file()
    for path in (tmp_path / "saved").rglob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")
