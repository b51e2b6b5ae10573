"""`handiffuser evaluate --natural` and `--hands-only`, which sample hands and draw no images."""

import argparse
import sys
from typing import Any

_OF_IMAGES = ("reference", "detector", "detector_python", "clip", "steps", "guidance_scale", "hand_conditioning_scale")
_OF_DATA = ("num", "given_hands", "own_pictures", "hands_only")


def evaluate_hands_alone(args: argparse.Namespace) -> None:
    """Runs `evaluate` where it needs no images.

    Raises:
        ValueError: an option was given that has no meaning without images, or without a data set.
    """
    import torch
    from tqdm.auto import tqdm

    from ..evaluation.hand_scores import evaluate_hands
    from ..evaluation.rows import check_samples, read_rows
    from ..evaluation.sentences import evaluate_sentences, read_sentences
    from ..utils.command_line import choose_device, hide_loading_bars

    _refuse_idle_options(args)
    check_samples(args.samples)
    device = choose_device(args.device)
    hide_loading_bars()
    items: Any = read_sentences() if args.natural else read_rows(args.data, args.num, args.split)
    pipe = load_pipeline(args.model, device, getattr(torch, args.dtype))
    settings = {"num_hand_inference_steps": args.hand_steps, "hand_guidance_scale": args.hand_guidance_scale}
    settings = {name: value for name, value in settings.items() if value is not None}
    with tqdm(total=len(items), unit="sentence" if args.natural else "caption") as bar:
        result = (evaluate_sentences if args.natural else evaluate_hands)(
            pipe,
            items,
            args.samples,
            args.seed,
            args.batch_size,
            progress=lambda done: bar.update(done - bar.n),
            **settings,
        )
    names = ("model", "dtype") if args.natural else ("model", "data", "split", "dtype")
    result.settings |= {name: value for name in names if (value := getattr(args, name)) is not None}
    result.settings |= {"device": device, "command": " ".join(["handiffuser", *sys.argv[1:]])}
    result.write(args.output)
    print(result.to_markdown(), end="")


def _refuse_idle_options(args: argparse.Namespace) -> None:
    mode = "--natural" if args.natural else "--hands-only"
    idle = (*_OF_IMAGES, "size", "through_vae", *(_OF_DATA if args.natural else ()))
    for name in idle:
        if getattr(args, name) not in (None, False):
            reason = "has its own sentences" if name in _OF_DATA else "draws no images"
            raise ValueError(f"--{name.replace('_', '-')} does not go with {mode}, which {reason}")


def load_pipeline(model: str | None, device: str, dtype: Any) -> Any:
    """A checkpoint, by default the one in the package, on a device."""
    from diffusers import DiffusionPipeline

    from .. import MINI
    from ..hub.loading import rename_dtype_kwarg
    from ..hub.places import refuse_absent

    if model is not None:
        refuse_absent(model, "--model")
    pipe = DiffusionPipeline.from_pretrained(MINI if model is None else model, **rename_dtype_kwarg({"dtype": dtype}))
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
