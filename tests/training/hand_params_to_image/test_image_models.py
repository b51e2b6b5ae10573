"""What makes a U-Net faster in training changes its results by rounding alone, and is not saved."""

import copy
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from diffusers_handiffuser.training.hand_params_to_image.models import make_fast


@pytest.fixture
def unet(picture_components):
    return copy.deepcopy(picture_components["unet"])


def accelerator(device="cpu", mixed_precision="bf16", distributed_type=DistributedType.NO):
    return SimpleNamespace(
        device=torch.device(device), mixed_precision=mixed_precision, distributed_type=distributed_type
    )


def classes(unet):
    return {type(processor) for processor in unet.attn_processors.values()}


def predict(unet):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, unet.config.in_channels, 8, 8, generator=generator)
    states = torch.randn(2, 77, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return unet(sample, 500, states).sample.float()


def test_bfloat16_on_a_cpu(unet, tmp_path):
    before = predict(unet)
    make_fast(unet, accelerator())
    assert classes(unet) == {AttnProcessor}
    assert torch.allclose(predict(unet), before, atol=0.03 * before.abs().max().item())
    unet.save_pretrained(tmp_path)
    assert classes(UNet2DConditionModel.from_pretrained(tmp_path)) == {AttnProcessor2_0}


@pytest.mark.parametrize("device, precision", [("cpu", "no"), ("cuda", "bf16"), ("cuda", "fp16")])
def test_elsewhere_attention_stays(unet, device, precision):
    make_fast(unet, accelerator(device, precision))
    assert classes(unet) == {AttnProcessor2_0}
    assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("engine", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_weights_that_will_be_flat_stay_as_they_are(unet, engine):
    make_fast(unet, accelerator(distributed_type=engine))
    assert unet.conv_in.weight.is_contiguous()
