"""What diffusers asks of IP-Adapters in a pipeline: the requirements of its own test suite."""

import copy
import inspect

import pytest
import torch
from diffusers import T2IAdapter
from diffusers.loaders import IPAdapterMixin

from diffusers_handiffuser import (
    HanDiffuserAdapterPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
)

WIDTH, IMAGE_WIDTH, TOKENS = 16, 12, 4


def adapter(unet, face_id: bool = False) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights under the names of published files: of the plain adapter, or of the one for faces."""
    layers, number = {}, 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            block = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                layers[f"{number}.{part}.weight"] = torch.randn(block.inner_dim, WIDTH)
            number += 2
    projection = {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}
    sizes = {"proj.0": (IMAGE_WIDTH, 2 * IMAGE_WIDTH), "proj.2": (2 * IMAGE_WIDTH, TOKENS * WIDTH)}
    for layer, (inside, outside) in sizes.items() if face_id else {"proj": (IMAGE_WIDTH, TOKENS * WIDTH)}.items():
        projection[f"{layer}.weight"] = torch.randn(outside, inside)
        projection[f"{layer}.bias"] = torch.zeros(outside)
    return {"image_proj": projection, "ip_adapter": layers}


@pytest.fixture
def pipe(make_pipe, picture_components):
    torch.manual_seed(0)
    return make_pipe(unet=copy.deepcopy(picture_components["unet"]))


@pytest.fixture
def draw(pipe, hands):
    def call(**changes):
        arguments = {"prompt": "a hand", "hand_params": hands[0], "guidance_scale": 6.0, "output_type": "pt"}
        return pipe(**{**arguments, "generator": torch.Generator().manual_seed(0), **changes}, return_dict=False)[0]

    return call


def embeds(*shape: int) -> torch.Tensor:
    """Of two pictures, nothing and something, for guidance."""
    return torch.randn(2, *shape, IMAGE_WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cls", [HanDiffuserPipeline, HanDiffuserImg2ImgPipeline, HanDiffuserInpaintPipeline])
def test_signature(cls):
    assert issubclass(cls, IPAdapterMixin)
    assert {"ip_adapter_image", "ip_adapter_image_embeds"} <= set(inspect.signature(cls.__call__).parameters)


@pytest.mark.parametrize("number", [1, 2])
def test_scale(pipe, draw, number):
    """0 leaves the picture as it is without an adapter, one or several; anything else changes it."""
    plain = draw()
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet) for _ in range(number)])
    given = {"ip_adapter_image_embeds": [embeds(1)] * number}
    pipe.set_ip_adapter_scale([0.0] * number)
    torch.testing.assert_close(draw(**given), plain, rtol=0, atol=1e-4)
    pipe.set_ip_adapter_scale([42.0] * number)
    assert (draw(**given) - plain).abs().max() > 1e-2


def test_with_and_without_guidance(pipe, draw):
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet)])
    without = draw(guidance_scale=1.0, ip_adapter_image_embeds=[embeds(1)[:1]])
    assert without.shape == draw(ip_adapter_image_embeds=[embeds(1)]).shape


def test_masks(pipe, draw):
    """An adapter for a part of the picture."""
    plain = draw()
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet)])
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    given = {"ip_adapter_image_embeds": [embeds(1)], "cross_attention_kwargs": {"ip_adapter_masks": [mask]}}
    pipe.set_ip_adapter_scale(0.0)
    torch.testing.assert_close(draw(**given), plain, rtol=0, atol=1e-4)
    pipe.set_ip_adapter_scale(42.0)
    masked = draw(**given)
    assert (masked - plain).abs().max() > 1e-2
    assert (masked - draw(ip_adapter_image_embeds=[embeds(1)])).abs().max() > 1e-2


def test_faces(pipe, draw):
    plain = draw()
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet, face_id=True)])
    pipe.set_ip_adapter_scale(0.0)
    torch.testing.assert_close(draw(ip_adapter_image_embeds=[embeds(1, 1)]), plain, rtol=0, atol=1e-4)
    pipe.set_ip_adapter_scale(42.0)
    assert (draw(ip_adapter_image_embeds=[embeds(1, 1)]) - plain).abs().max() > 1e-3


def test_a_picture_belongs_to_a_loaded_adapter(pipe, draw):
    """Neither is without the other, and whichever is missing is named."""
    plain, image = draw(), torch.rand(1, 3, 16, 16)
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet)])
    with pytest.raises(ValueError, match="`ip_adapter_image` or `ip_adapter_image_embeds` must be given"):
        draw()
    with pytest.raises(ValueError, match="`image_encoder` is needed for `ip_adapter_image`"):
        draw(ip_adapter_image=image)
    pipe.unload_ip_adapter()
    for given in ({"ip_adapter_image": image}, {"ip_adapter_image_embeds": [embeds(1)]}):
        with pytest.raises(ValueError, match=f"`{min(given)}` is given, but no IP-Adapter is loaded"):
            draw(**given)
    assert torch.equal(draw(), plain)


def test_a_pipeline_that_takes_no_picture_says_so(pipe):
    """T2I-Adapters' pipeline shares the U-Net, and has no argument for an IP-Adapter."""
    pipe.unet._load_ip_adapter_weights([adapter(pipe.unet)])
    t2i = T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2, adapter_type="full_adapter")
    shared = HanDiffuserAdapterPipeline.from_pipe(pipe, adapter=t2i)
    with pytest.raises(ValueError, match="an IP-Adapter is loaded; `unload_ip_adapter`"):
        shared("a hand", image=torch.rand(3, 16, 16))
