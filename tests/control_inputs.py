"""What ControlNets are given in a call of a pipeline, and what they should be given for an image."""

import functools
import inspect
from typing import NamedTuple

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    DiffusionPipeline,
    FluxControlNetModel,
    QwenImageControlNetModel,
    ZImageControlNetModel,
)
from PIL import Image

NETS = (ControlNetModel, ControlNetUnionModel, FluxControlNetModel, QwenImageControlNetModel, ZImageControlNetModel)


class Seen(NamedTuple):
    """What a ControlNet was given for one condition at one step."""

    condition: torch.Tensor
    net: str | None
    scale: float
    mode: int | None


def note_inputs(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """A list that is filled with what ControlNets are given from now on."""
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


@torch.no_grad()
def expected_input(pipe: DiffusionPipeline, condition: Image.Image) -> torch.Tensor:
    """What the ControlNet of a pipeline should be given for an image: its pixels, or their latents.

    Z-Image's also has channels for what to inpaint, which are zeros here.
    """
    family = type(pipe).__name__.partition("ControlNet")[0]
    pixels = torch.from_numpy(np.array(condition.convert("RGB"))).permute(2, 0, 1)[None] / 255
    assert pixels.any()
    if family not in ("Flux", "QwenImage", "ZImage"):
        return pixels.to(pipe.dtype)
    pixels = (2 * pixels - 1).to(pipe.dtype)
    if family == "QwenImage":
        latents = pipe.vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
        mean, std = (torch.tensor(pipe.vae.config[name]).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std"))
        latents = ((latents - mean) / std).to(pipe.dtype)
    else:
        latents = pipe.vae.encode(pixels).latent_dist.mode()
        latents = (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor
    if family != "ZImage":
        return pipe._pack_latents(latents, *latents.shape)
    zeros = latents.new_zeros(1, pipe.controlnet.config.control_in_dim - latents.shape[1], *latents.shape[2:])
    return torch.cat([latents, zeros], 1)[:, :, None]
