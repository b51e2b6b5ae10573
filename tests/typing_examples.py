"""What a type checker makes of a caller's code: checked with the package by `mypy`, never run.

Each `type: ignore` names a mistake that has to be found; mypy complains of one that finds nothing.
"""

from typing import assert_type

import torch
from PIL import Image

import diffusers_handiffuser.training
from diffusers_handiffuser import (
    MINI,
    HandBodyModel,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
    HandParams,
    TextHandEncoder,
    TextToHandParamsModel,
)
from diffusers_handiffuser import NoSuchName as NoSuchName  # type: ignore[attr-defined]


def from_text_to_picture(generator: torch.Generator) -> None:
    pipe = HanDiffuserPipeline.from_pretrained(MINI, dtype=torch.float16).to("cpu")
    assert_type(HanDiffuserPipeline.from_pretrained(MINI), HanDiffuserPipeline)
    assert_type(HanDiffuserInpaintPipeline.from_pipe(pipe), HanDiffuserInpaintPipeline)
    assert_type(HanDiffuserPipeline.from_stable_diffusion("sd"), HanDiffuserPipeline)

    out = HanDiffuserPipeline.from_pretrained(MINI)("a right hand making a fist", generator=generator)
    out.images[0].save("fist.png")
    if out.hand_params is not None:
        out.hand_params.save("fist.safetensors")
    out.hand_params.save("fist.safetensors")  # type: ignore[union-attr]


def hands_alone(pipe: HanDiffuserPipeline, body_model: HandBodyModel) -> HandParams:
    hands = pipe.sample_hand_params(["a left hand making a fist", "a right hand making a fist"])
    assert_type(hands, HandParams)
    assert_type(hands[0].mirror().to("cuda").camera, torch.Tensor)
    assert_type([row for row in hands], list[HandParams])
    assert_type(body_model.hand_geometry(hands.full_pose, hands.betas, hands.camera).joints_2d, torch.Tensor)
    hands.show().save("hands.png")
    return HandParams.cat([hands, HandParams.load("hands.safetensors")])


def models(encoder: TextHandEncoder, stage_1: TextToHandParamsModel) -> None:
    assert_type(encoder.null_hand_states(), torch.Tensor)
    assert_type(stage_1.decode(torch.zeros(1, 327)), HandParams)
    assert_type(HandBodyModel.procedural(), HandBodyModel)


def mistakes(pipe: HanDiffuserPipeline, picture: Image.Image) -> None:
    pipe("a hand", hand_params="left")  # type: ignore[arg-type]
    pipe("a hand", num_hand_inference_steps="many")  # type: ignore[arg-type]
    pipe.sample_hand_params("a hand", hand_scale=2)  # type: ignore[call-arg]
    HandParams.zeros(1).to_condition("depth", picture)  # type: ignore[arg-type]
    HandBodyModel.from_smplh(3)  # type: ignore[arg-type]
    diffusers_handiffuser.training.no_such_module  # type: ignore[attr-defined]  # noqa: B018
