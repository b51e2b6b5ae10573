"""The inpainting pipeline that `handiffuser repair` draws with."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..repair import HandPainter


def load_painter(args: argparse.Namespace) -> "tuple[Any, HandPainter]":
    """The pipeline of `--model` and `--controlnet`, by default the one in the package, and a painter that calls it."""
    import torch
    from diffusers import AutoModel, AutoPipelineForInpainting

    from .. import MINI
    from ..repair import painter_for
    from ..utils.command_line import choose_device, hide_loading_bars

    hide_loading_bars()
    device, dtype = choose_device(args.device), getattr(torch, args.dtype)
    components = {}
    if args.controlnet is not None:
        components["controlnet"] = AutoModel.from_pretrained(args.controlnet, torch_dtype=dtype)
    model = MINI if args.model is None else args.model
    pipe = AutoPipelineForInpainting.from_pretrained(model, torch_dtype=dtype, **components).to(device)
    pipe.set_progress_bar_config(disable=True)  # of each try; the tries have a bar of their own
    return pipe, painter_for(pipe, num_inference_steps=args.steps, guidance_scale=args.guidance_scale)
