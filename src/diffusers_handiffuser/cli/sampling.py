"""What the commands that sample hands share: their options, the pipeline and the seeds."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from .options import add_device_options, add_model_option, check_choice, check_numbers

if TYPE_CHECKING:
    import torch

    from ..pipelines import HanDiffuserPipeline

HAND_OPTIONS = ("hand_steps", "hand_guidance_scale")
"""Numbers of stage 1."""


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of stage 1, `--framing`, `--seed`, the model and its device."""
    parser.add_argument("--hand-steps", type=int, metavar="N", help="denoising steps of the hands")
    parser.add_argument("--hand-guidance-scale", type=float, metavar="W", help="how closely the hands follow it")
    parser.add_argument(
        "--framing",
        metavar="NAME",
        help="what is in the image: close_up (the hands), waist_up or full_body (default: as sampled)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="same seed, same result; image i of several uses S + i")
    add_model_option(parser)
    add_device_options(parser)


def check_sampling_options(args: argparse.Namespace) -> None:
    """Refuses wrong values of those options before anything is loaded.

    Raises:
        ValueError: it names the option.
    """
    from ..hands.framing import FRAMINGS

    check_numbers(args, *HAND_OPTIONS)
    if args.framing is not None:
        check_choice("--framing", args.framing, FRAMINGS)


def load_pipeline(args: argparse.Namespace) -> "HanDiffuserPipeline":
    """The checkpoint of `--model`, by default the one in the package, on `--device`."""
    import torch

    from .. import MINI, HanDiffuserPipeline
    from ..utils.command_line import choose_device, hide_loading_bars

    hide_loading_bars()
    device = choose_device(args.device)
    model = MINI if args.model is None else args.model
    pipe = HanDiffuserPipeline.from_pretrained(model, dtype=getattr(torch, args.dtype))
    return pipe.to(device)


def seeded_generators(args: argparse.Namespace, num: int) -> "list[torch.Generator]":
    """One for each of `num` images, seeded from `--seed`; without it, the seed that is drawn is printed."""
    import torch

    seed = args.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}", file=sys.stderr)
    if not 0 <= seed < 2**63 - num:
        raise ValueError(f"--seed must be between 0 and 2^63 - 1, got {seed}")
    return [torch.Generator().manual_seed(seed + i) for i in range(num)]
