"""`handiffuser evaluate`."""

import argparse
import sys
from typing import Any

from .evaluate_hands import evaluate_hands_alone, load_pipeline
from .options import add_detector_options, add_device_options, add_model_option, check_numbers, open_detector


def add_evaluate_command(commands: Any) -> argparse.ArgumentParser:
    """Adds it to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a pipeline on a data set",
        description="Generates images for the captions of a data set and scores them: FID and KID of whole images "
        "and of hands, detector metrics, the sampled hands themselves, colours, agreement with the caption. "
        "Writes report.json, report.md, cases.json (scores row by row) and grid.png.",
    )
    add_model_option(parser)
    texts = parser.add_mutually_exclusive_group(required=True)
    texts.add_argument("--data", metavar="DATA", help="a folder, Parquet or .tar files, or on the Hub")
    texts.add_argument("--natural", action="store_true", help=_NATURAL)
    parser.add_argument("--num", type=int, metavar="N", help="use only the first N rows")
    parser.add_argument("--samples", type=int, metavar="K", help="per caption (default: 2; of --natural: 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="sample k of row i uses S + i K + k")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the report; made if absent")
    parser.add_argument("--split", default="train", metavar="NAME", help="of the data set (default: train)")
    parser.add_argument("--reference", metavar="DATA", help="reference set of FID and KID (default: --data)")
    parser.add_argument("--features", default="studio", metavar="NAME", help=_FEATURES)
    add_detector_options(parser, "score the hands that it finds")
    parser.add_argument("--clip", metavar="DIR", help="a saved CLIP, for CLIPScore")
    hands = parser.add_mutually_exclusive_group()
    hands.add_argument("--given-hands", action="store_true", help="use the rows' own hands, not sampled ones")
    hands.add_argument("--own-pictures", action="store_true", help="score the data set's own images: the upper bound")
    hands.add_argument("--hands-only", action="store_true", help="sample hands and measure them; draw no images")
    parser.add_argument("--through-vae", action="store_true", help=_THROUGH_VAE)
    parser.add_argument("--condition", default="openpose", choices=_CONDITIONS, help=_CONDITION)
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the checkpoint's)")
    parser.add_argument("--guidance-scale", type=float, metavar="W", help="how closely to follow the caption")
    parser.add_argument("--hand-steps", type=int, metavar="N", help="denoising steps of the hands")
    parser.add_argument("--hand-guidance-scale", type=float, metavar="W", help="how closely the hands follow it")
    parser.add_argument("--hand-conditioning-scale", type=float, metavar="W", help="0 uses the caption alone")
    parser.add_argument("--size", type=int, metavar="PX", help="pixels per side (default: the checkpoint's)")
    parser.add_argument("--batch-size", type=int, default=20, metavar="B", help="captions at a time (default: 20)")
    add_device_options(parser)
    parser.set_defaults(run=_evaluate)
    return parser


_FEATURES = (
    '"studio" (the small network in the package, default), "inception" (the FID network, if its weights are in '
    "torch's cache), a file of its weights (.pth), MODULE:FUNCTION, or none"
)
_NATURAL = "sample hands for sentences as people write them, in place of --data, and measure them; draw no images"
_THROUGH_VAE = "with --own-pictures: score VAE reconstructions, the upper bound for a U-Net on its latents"
_CONDITION = "what a ControlNet or adapter is given (default: openpose)"
_CONDITIONS = ("openpose", "depth", "depth_hand", "normal", "mask")
_NUMBERS = ("num", "samples", "batch_size", "size", "steps", "hand_steps")
_SCALES = ("guidance_scale", "hand_guidance_scale", "hand_conditioning_scale")


def _evaluate(args: argparse.Namespace) -> None:
    import torch
    from tqdm.auto import tqdm

    from ..detection.mediapipe_hands import MediaPipeDetector
    from ..evaluation.evaluator import evaluate
    from ..evaluation.judges.features import load_features
    from ..evaluation.metrics.clip_score import ClipScorer
    from ..evaluation.rows import read_rows
    from ..utils.command_line import choose_device, hide_loading_bars

    check_numbers(args, *_NUMBERS, *_SCALES)
    if args.samples is None:
        args.samples = 4 if args.natural else 2
    if args.natural or args.hands_only:
        evaluate_hands_alone(args)
        return
    if args.through_vae and not args.own_pictures:
        raise ValueError("--through-vae goes with --own-pictures: only own images are reconstructed")
    device = choose_device(args.device)
    hide_loading_bars()
    rows = read_rows(args.data, args.num, args.split)
    reference = None if args.reference is None else read_rows(args.reference)
    features = None if args.features == "none" else load_features(args.features, device)
    clip = None if args.clip is None else ClipScorer(args.clip, device)
    pipe = autoencoder = None
    if args.through_vae:
        autoencoder = load_pipeline(args.model, device, getattr(torch, args.dtype)).vae.eval()
    elif not args.own_pictures:
        pipe = load_pipeline(args.model, device, getattr(torch, args.dtype))
    with open_detector(args) as detector, tqdm(total=len(rows), unit="caption") as bar:
        result = evaluate(
            pipe,
            rows,
            features,
            detector,
            clip,
            reference,
            args.samples,
            args.seed,
            args.batch_size,
            args.given_hands,
            args.condition,
            args.size,
            progress=lambda done: bar.update(done - bar.n),
            autoencoder=autoencoder,
            **_call_arguments(args),
        )
        if isinstance(detector, MediaPipeDetector):
            result.versions["mediapipe"] = detector.version
    names = ("model", "data", "split", "reference", "detector", "clip", "dtype")
    result.settings |= {name: value for name in names if (value := getattr(args, name)) is not None}
    result.settings |= {"device": device, "command": " ".join(["handiffuser", *sys.argv[1:]])}
    result.write(args.output)
    print(result.to_markdown(), end="")


def _call_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of the pipeline's call that were given."""
    arguments = {
        "num_inference_steps": args.steps,
        "guidance_scale": args.guidance_scale,
        "num_hand_inference_steps": args.hand_steps,
        "hand_guidance_scale": args.hand_guidance_scale,
        "hand_conditioning_scale": args.hand_conditioning_scale,
    }
    return {name: value for name, value in arguments.items() if value is not None}
