"""A U-Net for small latents becomes the inside of one for larger latents."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from diffusers_handiffuser.training.engine.small_models import small_unet
from diffusers_handiffuser.training.hand_params_to_image.growing import grow_unet
from diffusers_handiffuser.training.hand_params_to_image.models import load_initial_weights

WIDTHS = [8, 12, 16, 16]
TINY = {"cross_attention_dim": 8, "norm_num_groups": 4, "in_channels": 4, "out_channels": 4}


def unet(sample_size: int, widths: list[int], seed: int) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    config = {**small_unet(sample_size), **TINY, "sample_size": sample_size, "block_out_channels": widths}
    return UNet2DConditionModel.from_config(config)


@pytest.fixture(scope="module")
def inner():
    return unet(32, WIDTHS, 0)


@pytest.mark.parametrize("size, levels", [(4, 4), (32, 4), (48, 5), (64, 5), (128, 6)])
def test_levels_follow_the_latents(size, levels):
    config = small_unet(size)
    lists = ("block_out_channels", "down_block_types", "up_block_types", "attention_head_dim")
    assert all(len(config[name]) == levels for name in lists)
    assert config["block_out_channels"][-4:] == [32, 64, 160, 224]
    assert config["down_block_types"].index("CrossAttnDownBlock2D") == levels - 3


def test_inner_levels_are_the_smaller_unet(inner):
    grown = unet(128, [8, 8, *WIDTHS], 1)
    grow_unet(grown, inner)
    pairs = [(grown.time_embedding, inner.time_embedding), (grown.mid_block, inner.mid_block)]
    pairs += [(grown.down_blocks[2 + level], inner.down_blocks[level]) for level in range(4)]
    pairs += [(grown.up_blocks[level].resnets, inner.up_blocks[level].resnets) for level in range(4)]
    pairs += [(grown.up_blocks[level].attentions, inner.up_blocks[level].attentions) for level in (1, 2)]
    for mine, theirs in pairs:
        state = theirs.state_dict()
        for name, value in mine.state_dict().items():
            assert torch.equal(value, state[name]), name
    for block in (*grown.down_blocks[:2], *grown.up_blocks[-2:]):
        for resnet in block.resnets:
            assert not resnet.conv2.weight.any() and not resnet.conv2.bias.any()
    sample = torch.randn(1, 4, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        prediction = grown(sample, 500, torch.zeros(1, 3, 8)).sample
    assert prediction.shape == sample.shape and prediction.isfinite().all()


def test_init_from_grows(inner, tmp_path):
    inner.save_pretrained(tmp_path / "unet")
    grown, same = unet(64, [8, *WIDTHS], 1), unet(32, WIDTHS, 1)
    load_initial_weights(tmp_path, {"unet": grown})
    assert torch.equal(grown.mid_block.resnets[0].conv1.weight, inner.mid_block.resnets[0].conv1.weight)
    load_initial_weights(tmp_path, {"unet": same})
    assert all(torch.equal(value, inner.state_dict()[name]) for name, value in same.state_dict().items())


@pytest.mark.parametrize("widths", [[8, 8, 12, 16, 24], [4, 8, 12, 16, 16], [8, 12, 16, 16]])
def test_other_widths_are_refused(inner, widths):
    config = {**small_unet(64 if len(widths) == 5 else 32), **TINY, "block_out_channels": widths}
    with pytest.raises(ValueError, match=r"`init_from`: a U-Net of block_out_channels \[8, 12, 16, 16\]"):
        grow_unet(UNet2DConditionModel.from_config(config), inner)


def test_other_blocks_are_refused(inner):
    config = {**small_unet(64), **TINY, "block_out_channels": [8, *WIDTHS], "layers_per_block": 2}
    other = {**small_unet(64), **TINY, "block_out_channels": [8, *WIDTHS], "cross_attention_dim": 12}
    for wrong in ({**other}, {**config, "down_block_types": ["DownBlock2D"] * 5}):
        with pytest.raises(ValueError, match="`init_from`: the larger U-Net has no place for"):
            grow_unet(UNet2DConditionModel.from_config(wrong), inner)
