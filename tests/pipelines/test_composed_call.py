"""One `__call__` for every pipeline: its arguments, its stubs, its errors."""

import ast
import inspect
import re
import typing
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from diffusers import (
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)
from diffusers_handiffuser.pipelines import HandConditioningMixin

BASES = {
    HanDiffuserPipeline: StableDiffusionPipeline,
    HanDiffuserImg2ImgPipeline: StableDiffusionImg2ImgPipeline,
    HanDiffuserInpaintPipeline: StableDiffusionInpaintPipeline,
    HanDiffuserControlNetPipeline: StableDiffusionControlNetPipeline,
    HanDiffuserControlNetImg2ImgPipeline: StableDiffusionControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline: StableDiffusionControlNetInpaintPipeline,
    HanDiffuserAdapterPipeline: StableDiffusionAdapterPipeline,
}
HANDS = {
    "hand_params": None,
    "num_hand_inference_steps": None,
    "hand_guidance_scale": None,
    "hand_conditioning_scale": 1.0,
    "hand_generator": None,
    "hand_callback_on_step_end": None,
}
MASK = {"hand_mask_margin": 0.03, "keep_unmasked": True}
KEYWORD_ONLY = {"framing": None}
INPAINTING = (HanDiffuserInpaintPipeline, HanDiffuserControlNetInpaintPipeline)


def keyword_only(pipeline_class) -> dict:
    return {**KEYWORD_ONLY, **({"hand_detector": None} if pipeline_class in INPAINTING else {})}


@pytest.mark.parametrize("pipeline_class", BASES)
class TestSignature:
    def test_is_that_of_diffusers_and_the_hand_arguments(self, pipeline_class):
        ours = dict(inspect.signature(pipeline_class.__call__).parameters)
        theirs = dict(inspect.signature(BASES[pipeline_class].__call__).parameters)
        keywords = theirs.pop("kwargs", None)
        hands = {**HANDS, **(MASK if pipeline_class in INPAINTING else {}), **keyword_only(pipeline_class)}
        assert list(ours) == [*theirs, *hands, *(["kwargs"] if keywords else [])]
        assert {name: ours[name].default for name in hands} == hands
        changed = {"num_inference_steps": None, "guidance_scale": None}
        changed["callback_on_step_end_tensor_inputs"] = ("latents",)
        for name, parameter in theirs.items():
            assert ours[name].default == changed.get(name, parameter.default), name
        for name, parameter in ours.items():
            if name != "kwargs":
                kind = (
                    parameter.KEYWORD_ONLY if name in keyword_only(pipeline_class) else parameter.POSITIONAL_OR_KEYWORD
                )
                assert parameter.kind is kind, name

    def test_type_hints(self, pipeline_class):
        hints = typing.get_type_hints(pipeline_class.__call__)
        parameters = inspect.signature(pipeline_class.__call__).parameters
        assert hints.keys() == parameters.keys() - {"self"} | {"return"}
        for name, parameter in parameters.items():
            if parameter.default is None:
                assert type(None) in typing.get_args(hints[name]), name

    def test_docstring_has_every_argument_once(self, pipeline_class):
        described = re.findall(r"^ {12}(\w[\w, ]*?):? \(", pipeline_class.__call__.__doc__, re.M)
        described = [name for names in described for name in names.split(", ")]
        legacy = {"callback", "callback_steps"}
        assert set(described) - legacy == inspect.signature(pipeline_class.__call__).parameters.keys() - legacy - {
            "self",
            "kwargs",
        }
        assert len(described) == len(set(described))

    def test_stub_lists_the_same(self, pipeline_class):
        """`python tools/call_stubs.py` makes it."""
        tree = ast.parse(Path(inspect.getfile(pipeline_class)).with_suffix(".pyi").read_text(encoding="utf-8"))
        stub = next(node for node in tree.body if getattr(node, "name", "") == pipeline_class.__name__)
        call = next(node for node in stub.body if getattr(node, "name", "") == "__call__").args
        assert not call.posonlyargs and call.vararg is None
        assert [argument.arg for argument in call.kwonlyargs] == list(keyword_only(pipeline_class))
        arguments = (*call.args, *call.kwonlyargs, *([call.kwarg] if call.kwarg else []))
        names = [argument.arg for argument in arguments]
        parameters = inspect.signature(pipeline_class.__call__).parameters
        assert names == list(parameters)
        defaults = [p.default for p in parameters.values() if p.default is not inspect.Parameter.empty]
        assert [ast.literal_eval(default) for default in (*call.defaults, *call.kw_defaults)] == defaults


@pytest.mark.parametrize("pipeline_class", BASES)
def test_class_fields_are_written_once(pipeline_class):
    """No pipeline lists the hand arguments again."""
    source = Path(inspect.getfile(pipeline_class)).read_text(encoding="utf-8")
    names = [field.name for field in fields(pipeline_class.hand_inputs_class)]
    assert not [name for name in names if re.search(rf"^ +{name}=", source, re.M)]


class TestMistypedName:
    @pytest.mark.parametrize(
        "wrong, right",
        [
            ("hand_param", "hand_params"),
            ("guidance", "guidance_scale"),
            ("promt", "prompt"),
            ("steps", "num_inference_steps"),
            ("hand_steps", "num_hand_inference_steps"),
        ],
    )
    def test_suggests_the_right_one(self, pipe, wrong, right):
        with pytest.raises(TypeError, match=f"HanDiffuserPipeline has no argument `{wrong}`; did you mean `{right}`"):
            pipe(**{wrong: 1})

    def test_without_a_similar_one(self, pipe):
        with pytest.raises(TypeError, match="has no argument `zzz`[.]$"):
            pipe("a hand", zzz=1)

    def test_of_the_other_methods(self, pipe):
        with pytest.raises(TypeError, match="sample_hand_params has no argument `gen`; did you mean `generator`"):
            pipe.sample_hand_params("a hand", gen=1)
        with pytest.raises(TypeError, match="no argument `hand_scale`; did you mean `hand_guidance_scale`"):
            pipe.sample_hand_params("a hand", hand_scale=2)
        with pytest.raises(TypeError, match="encode_prompt has no argument `hand_parms`; did you mean `hand_params`"):
            pipe.encode_prompt("a hand", "cpu", 1, False, hand_parms=None)

    def test_twice(self, pipe):
        with pytest.raises(TypeError, match="prompt"):
            pipe("a hand", prompt="a hand")


class TestSubclass:
    def test_that_overrides_wins(self, pipe):
        class Mine(HanDiffuserPipeline):
            def __call__(self, words):
                return super().__call__(words, hand_conditioning_scale=0, output_type="latent").images

        assert list(inspect.signature(Mine.__call__).parameters) == ["self", "words"]
        mine = Mine(**pipe.components, requires_safety_checker=False)
        assert isinstance(mine("a hand"), torch.Tensor)

        class Child(Mine):
            pass

        assert Child.__call__ is Mine.__call__

    def test_without_one_inherits(self):
        class Plain(HanDiffuserPipeline):
            pass

        assert Plain.__call__ is HanDiffuserPipeline.__call__

    def test_of_another_pipeline_of_diffusers_gets_one(self, pipe):
        class Other(HandConditioningMixin, StableDiffusionPipeline):
            pass

        assert set(HANDS) < inspect.signature(Other.__call__).parameters.keys()
        other = Other(**pipe.components, requires_safety_checker=False)
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        few = {
            "num_inference_steps": 2,
            "num_hand_inference_steps": 2,
            "guidance_scale": 3.0,
            "hand_guidance_scale": 2.0,
        }
        pairs = zip((pipe, other), generators, strict=True)
        images = [p("a hand", generator=g, output_type="latent", **few).images for p, g in pairs]
        assert torch.equal(*images)
