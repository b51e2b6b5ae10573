"""The inpainting pipeline that `handiffuser repair` draws with."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..repair import HandPainter


def load_painter(args: argparse.Namespace) -> "HandPainter":
    """A painter that calls the pipeline of `--model` and `--controlnet`, by default the one in the package."""
    import torch
    from diffusers import AutoModel, AutoPipelineForInpainting

    from .. import MINI
    from ..repair import painter_for
    from ..utils.command_line import choose_device, hide_loading_bars

    hide_loading_bars()
    device, dtype = choose_device(args.device), getattr(torch, args.dtype)
    components = {}
    if args.controlnet is not None:
        components["controlnet"] = AutoModel.from_pretrained(args.controlnet, dtype=dtype)
    model = MINI if args.model is None else args.model
    pipe = AutoPipelineForInpainting.from_pretrained(model, dtype=dtype, **components).to(device)
    pipe.set_progress_bar_config(disable=True)  # of each try; the tries have a bar of their own
    return painter_for(pipe, num_inference_steps=args.steps, guidance_scale=args.guidance_scale)
