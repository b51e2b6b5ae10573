"""The recipes run as they are printed, with tiny models under the Hub's ids, and ControlNets see what was drawn."""

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    FluxControlNetPipeline,
    QwenImageControlNetModel,
    QwenImageControlNetPipeline,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
)
from huggingface_hub import constants
from pages import DOCS, blocks
from PIL import Image
from stand_in_models import fill

from diffusers_handiffuser.studio import Studio, sample_scene

RECIPES = DOCS / "recipes"
NETS = (ControlNetModel, ControlNetUnionModel, FluxControlNetModel, QwenImageControlNetModel, ZImageControlNetModel)


class Control(NamedTuple):
    """One condition of a call: the block's name for it, its ControlNet, and how strongly and how long it acts."""

    condition: str
    net: str | None
    scale: float
    until: float = 1.0
    mode: int | None = None


class Seen(NamedTuple):
    """What a ControlNet was given for one condition at one step."""

    condition: torch.Tensor
    net: str | None
    scale: float
    mode: int | None


FLUX, QWEN = "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0", "InstantX/Qwen-Image-ControlNet-Union"
UNION = "xinsir/controlnet-union-sdxl-1.0"
CONTROLS = {
    "sd15": [
        [
            Control("pose", "lllyasviel/control_v11p_sd15_openpose", 0.8),
            Control("depth", "lllyasviel/control_v11f1p_sd15_depth", 0.6),
        ],
        [Control("depth", "gxkok/control_sd15_depth_hand", 0.55)],
    ],
    "sdxl": [
        [Control("pose", UNION, 0.9, mode=0), Control("normals", UNION, 0.7, mode=4)],
        [
            Control("pose", "xinsir/controlnet-openpose-sdxl-1.0", 0.8),
            Control("depth", "diffusers/controlnet-depth-sdxl-1.0", 0.4, 0.7),
        ],
    ],
    "flux": [[Control("pose", FLUX, 0.6, 0.65), Control("depth", FLUX, 0.5, 0.8)]] * 2,
    "qwen-image": [[Control("pose", QWEN, 0.7), Control("depth", QWEN, 0.6)]],
    "z-image": [[Control("depth", None, 0.75)]],
}
"""Of each image that a page's blocks draw."""


@pytest.fixture(scope="module")
def hub_cache(tokenizer, tmp_path_factory):
    cache = tmp_path_factory.mktemp("hub cache")
    fill(cache, tokenizer)
    return cache


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A drawn hand, in whose image MediaPipe finds one."""
    pixels, _ = Studio(size=512).draw([sample_scene(0, "train", 5, "close_up")])
    image = Image.fromarray((255 * pixels[0]).round().byte().permute(1, 2, 0).numpy())
    return image.crop((-64, -128, 576, 640))


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """What ControlNets are given from now on."""
    calls: list[Seen] = []
    for net in NETS:
        monkeypatch.setattr(net, "forward", _noting(net.forward, calls))
    return calls


def _noting(forward, calls: list[Seen]):
    signature = inspect.signature(forward)

    @functools.wraps(forward)
    def noted(self, *args, **kwargs):
        given = signature.bind(self, *args, **kwargs).arguments
        condition = given["controlnet_cond"] if "controlnet_cond" in given else given["control_context"]
        scale, modes = given["conditioning_scale"], given.get("control_type_idx", [None])
        conditions = condition if isinstance(condition, list) else [condition]
        scales = scale if isinstance(scale, list) else [scale]
        name = self.config.get("_name_or_path") or None
        calls.extend(Seen(*one) for one in zip(conditions, [name] * len(modes), scales, modes, strict=True))
        return forward(self, *args, **kwargs)

    return noted


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index", *CONTROLS])
def test_recipe(page, quick_mini, hub_cache, photograph, seen, one_thread, tmp_path, monkeypatch):
    """Blocks of a page go on from each other, as they would in a notebook."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_cache))
    monkeypatch.chdir(tmp_path)
    photograph.save("photograph.jpg")
    names: dict[str, Any] = {}
    controls = iter(CONTROLS.get(page, []))
    for number, (language, code) in enumerate(blocks(RECIPES / f"{page}.md")):
        assert language == "python"
        if "fit_hands" in code:
            pytest.importorskip("mediapipe", reason="the rest of the page needs the extra `detect`")
        names.pop("image", None)
        exec(compile(code, f"block {number} of {page}.md", "exec"), names)
        if "image" in names:
            check_image(names, next(controls), seen)
            seen.clear()
    assert not seen and next(controls, None) is None


def check_image(names: dict[str, Any], controls: list[Control], seen: list[Seen]) -> None:
    assert isinstance(names["image"], Image.Image)
    expected = [expected_input(names["pipe"], names[control.condition]) for control in controls]
    steps = len(seen) // len(controls)
    assert steps >= 8 and len(seen) == steps * len(controls)
    for i, call in enumerate(seen):
        control, step = controls[i % len(controls)], i // len(controls)
        assert names[control.condition].size == names["image"].size
        assert (call.net, call.mode) == (control.net, control.mode)
        assert call.scale == (control.scale if (step + 1) / steps <= control.until else 0)
        fits = [torch.equal(call.condition, each.expand_as(call.condition)) for each in expected]
        assert fits == [other.condition == control.condition for other in controls]


def expected_input(pipe, condition: Image.Image) -> torch.Tensor:
    """What the ControlNet of a pipeline should be given for an image: its pixels, or their latents."""
    pixels = torch.from_numpy(np.array(condition.convert("RGB"))).permute(2, 0, 1)[None] / 255
    assert pixels.any()
    if not isinstance(pipe, (FluxControlNetPipeline, QwenImageControlNetPipeline, ZImageControlNetPipeline)):
        return pixels.to(torch.bfloat16)
    pixels = (2 * pixels - 1).to(torch.bfloat16)
    with torch.no_grad():
        if isinstance(pipe, QwenImageControlNetPipeline):
            latents = pipe.vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
            mean, std = (
                torch.tensor(pipe.vae.config[name]).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std")
            )
            latents = ((latents - mean) / std).to(torch.bfloat16)
        else:
            latents = pipe.vae.encode(pixels).latent_dist.mode()
            latents = (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor
    if isinstance(pipe, ZImageControlNetPipeline):
        zeros = latents.new_zeros(1, pipe.controlnet.config.control_in_dim - latents.shape[1], *latents.shape[2:])
        return torch.cat([latents, zeros], 1)[:, :, None]
    return pipe._pack_latents(latents, *latents.shape)


def named_repositories() -> Iterator[str]:
    """The Hub ids in the code of the pages."""
    for page in CONTROLS:
        for _, code in blocks(RECIPES / f"{page}.md"):
            yield from re.findall(r'"([\w.-]+/[\w.-]+)"', code)


def test_index_names_the_controlnets():
    index = (RECIPES / "index.md").read_text(encoding="utf-8")
    nets = [name for name in named_repositories() if "ontrol" in name]
    assert len(set(nets)) == 9
    assert not [name for name in nets if f"`{name}`" not in index]
