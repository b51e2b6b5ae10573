"""The pipelines of all classes, on the same tiny models."""

from pathlib import Path

import PIL.Image
import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel
from pipeline_cases import CLASSES, Case

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserAdapterPipeline,
    HanDiffuserControlNetImg2ImgPipeline,
    HanDiffuserControlNetInpaintPipeline,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)

CONTRACT = Path(__file__).parents[1] / "fixtures" / "contract"


@pytest.fixture(scope="session")
def controlnet(picture_components):
    torch.manual_seed(5)
    controlnet = ControlNetModel.from_unet(picture_components["unet"], conditioning_embedding_out_channels=(4, 8))
    for block in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
        torch.nn.init.normal_(block.weight, std=0.3)
    return controlnet.eval()


@pytest.fixture(scope="session")
def adapter_components(picture_components):
    """An adapter, and a U-Net with cross-attention in the first block, whose features have the adapter's sizes."""
    torch.manual_seed(7)
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    unet = UNet2DConditionModel.from_config({**picture_components["unet"].config, **blocks})
    adapter = T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2, adapter_type="full_adapter")
    return {"adapter": adapter.eval(), "unet": unet.eval()}


@pytest.fixture
def make_case(make_pipe, controlnet, adapter_components):
    def make(pipeline_class) -> Case:
        picture = PIL.Image.linear_gradient("L").resize((16, 16)).convert("RGB")
        mask = PIL.Image.new("L", (16, 16))
        mask.paste(255, (4, 4, 12, 12))
        extra, inputs = {
            HanDiffuserPipeline: ({}, {}),
            HanDiffuserImg2ImgPipeline: ({}, {"image": picture, "strength": 1.0}),
            HanDiffuserInpaintPipeline: ({}, {"image": picture, "mask_image": mask}),
            HanDiffuserControlNetPipeline: ({"controlnet": controlnet}, {"image": picture}),
            HanDiffuserControlNetImg2ImgPipeline: (
                {"controlnet": controlnet},
                {"image": picture, "control_image": picture, "strength": 1.0},
            ),
            HanDiffuserControlNetInpaintPipeline: (
                {"controlnet": controlnet},
                {"image": picture, "control_image": picture, "mask_image": mask},
            ),
            HanDiffuserAdapterPipeline: (adapter_components, {"image": picture}),
        }[pipeline_class]
        pipe = pipeline_class.from_pipe(make_pipe(), **extra)
        pipe.set_progress_bar_config(disable=True)
        return Case(pipe, inputs)

    return make


@pytest.fixture(params=CLASSES, ids=lambda pipeline_class: pipeline_class.__name__)
def case(request, make_case) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="session")
def contract_body() -> HandBodyModel:
    """A body of few vertices."""
    return HandBodyModel.from_pretrained(CONTRACT / "pipeline", subfolder="body_model")
