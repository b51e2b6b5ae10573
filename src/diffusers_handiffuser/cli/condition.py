"""`handiffuser condition`."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hand_files import read_hands
from .options import IMAGE_FORMATS, check_choice, check_numbers, image_size, output_path, write_file
from .sampling import add_sampling_options, check_sampling_options, load_pipeline, seeded_generators

if TYPE_CHECKING:
    from ..hands import HandBodyModel, HandParams

_SIDE = 512
_SAMPLING = ("num_images", "hand_steps", "hand_guidance_scale", "seed", "model", "device")


def add_condition_command(commands: Any) -> argparse.ArgumentParser:
    """Adds it to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "condition",
        help="a ControlNet's image of hands from a prompt, a file or a photograph",
        description="Draws hands as the conditions that public ControlNets and T2I-Adapters were trained on. The "
        "hands are sampled for a prompt, read from a file, or fitted to a photograph. Several images are X_0.png, "
        "X_1.png and so on; several kinds are X.openpose.png, X.depth.png and so on.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("prompt", nargs="?", help="what the hands do")
    source.add_argument("--hands", metavar="FILE", help="draw these (.safetensors, .json or OpenPose's JSON)")
    source.add_argument("--image", metavar="PHOTO", help="draw the hands of this photograph")
    parser.add_argument("-o", "--output", required=True, metavar="X.png", help="where to save the condition")
    parser.add_argument(
        "--kind",
        action="append",
        metavar="NAME",
        help="openpose (default), depth, depth_hand, normal or mask; repeat it for several",
    )
    parser.add_argument(
        "--style", default="dwpose", metavar="NAME", help="of a skeleton: dwpose (default), xinsir or scaled"
    )
    parser.add_argument(
        "--size",
        metavar="WxH",
        help=f"pixels, such as 1024x1536, or 768 for a square (default: {_SIDE}, or the photograph's)",
    )
    parser.add_argument(
        "--parts",
        metavar="NAMES",
        help="what is shown, such as body,hands (default: all of a skeleton, the hands alone of a photograph or of "
        "another kind)",
    )
    parser.add_argument("--people", action="store_true", help="draw all people into one image")
    parser.add_argument("--num-images", type=int, metavar="N", help="of a prompt (default: 1)")
    parser.add_argument("--detector", metavar="NAME", help="for --image, as of `handiffuser fit`")
    add_sampling_options(parser)
    parser.set_defaults(run=_condition)
    return parser


def _condition(args: argparse.Namespace) -> None:
    from ..hands.framing import frame_hands

    output = output_path(args.output, IMAGE_FORMATS)
    kinds = list(dict.fromkeys(args.kind or ["openpose"]))
    size = None if args.size is None else image_size(args.size)
    parts = _checked_parts(args, kinds)
    _refuse_idle_options(args)
    check_numbers(args, "num_images")
    check_sampling_options(args)
    body_model = None
    if args.hands is not None:
        (hands, own_size), absent = read_hands(args.hands), f"no hand of {args.hands} is visible"
        hands = _rows(hands)
        if own_size is not None:  # bodies that are fitted to key points are assumed
            size, parts = size or own_size, parts or ["hands"]
    elif args.image is not None:
        hands, photo_size = _fitted_hands(args)
        absent, size, parts = "no hand was found", size or photo_size, parts or ["hands"]
    else:
        hands, body_model = _sampled_hands(args)
        absent = "the sentence has no hands"
    width, height = size or (_SIDE, _SIDE)
    if not hands.hand_visible.any():
        print(f"{absent}: the condition is empty", file=sys.stderr)
        parts = ["hands"]
    hands = frame_hands(hands, args.framing, height, width, body_model, people=args.people)
    files = {}
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No hand is visible")  # which was printed
            drawn = hands.to_condition(
                kind, (width, height), body_model, style=args.style, parts=parts, people=args.people
            )
        images = drawn if isinstance(drawn, list) else [drawn]
        for i, image in enumerate(images):
            path = _numbered(output, i if len(images) > 1 else None, kind if len(kinds) > 1 else None)
            if args.image is not None and path.exists() and path.samefile(args.image):
                raise ValueError(f"--output: {str(path)!r} is the photograph itself")
            files[path] = image
    for path, image in files.items():
        write_file(path, image.save)
        print(path)


def _checked_parts(args: argparse.Namespace, kinds: list[str]) -> list[str] | None:
    """The names of `--parts`; refuses kinds, styles and parts that there are not."""
    from ..rendering.conditions import CONDITIONS, PARTS
    from ..rendering.skeletons import STYLES

    for kind in kinds:
        check_choice("--kind", kind, CONDITIONS)
    check_choice("--style", args.style, STYLES)
    if args.parts is None:
        return None
    parts = [part.strip() for part in args.parts.split(",")]
    for kind in kinds:
        for part in parts:
            check_choice(f"--parts of {kind}", part, PARTS[kind])
    return parts


def _refuse_idle_options(args: argparse.Namespace) -> None:
    given = "--hands" if args.hands is not None else "--image"
    for name in () if args.prompt is not None else _SAMPLING:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} does not go with {given}, for which nothing is sampled")
    if args.detector is not None and args.image is None:
        raise ValueError("--detector needs --image")


def _fitted_hands(args: argparse.Namespace) -> "tuple[HandParams, tuple[int, int]]":
    """The people of the photograph, and its width and height."""
    from ..detection import fit_hands
    from ..detection.finding import open_detector, read_photograph

    pixels = read_photograph(args.image)
    fitted = fit_hands(pixels, detector=open_detector(args.detector, "--detector"))
    height, width = pixels.shape[:2]
    return _rows(fitted.hand_params), (width, height)


def _sampled_hands(args: argparse.Namespace) -> "tuple[HandParams, HandBodyModel]":
    pipe, num_images = load_pipeline(args), args.num_images or 1
    hands = pipe.sample_hand_params(
        args.prompt,
        num_images,
        num_hand_inference_steps=args.hand_steps,
        hand_guidance_scale=args.hand_guidance_scale,
        hand_generator=seeded_generators(args, num_images),
    )
    return hands, pipe.body_model


def _rows(hands: "HandParams") -> "HandParams":
    """One row per person; of nobody, a person without visible hands, for an empty image."""
    from ..hands import HandParams

    rows = hands.reshape(-1)
    return rows if len(rows) else HandParams.zeros(1)


def _numbered(output: Path, number: int | None, kind: str | None) -> Path:
    """The path of one of several images, `X_0.png`, or of several kinds, `X.depth.png`."""
    stem = output.stem if number is None else f"{output.stem}_{number}"
    return output.with_name(f"{stem}{'' if kind is None else f'.{kind}'}{output.suffix}")
