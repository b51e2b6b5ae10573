"""`handiffuser condition`."""

import argparse
import sys
import warnings
from dataclasses import dataclass, replace
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
        help=f"pixels, such as 1024x1536, or 768 for a square (default: {_SIDE}, or that of a photograph)",
    )
    parser.add_argument(
        "--parts",
        metavar="NAMES",
        help="what is shown, with commas between: body,hands,face of a skeleton (default: all, of a photograph the "
        "hands), hands,forearms,body of other kinds (default: the hands)",
    )
    parser.add_argument("--people", action="store_true", help="draw all people into one image")
    parser.add_argument("--num-images", type=int, metavar="N", help="of a prompt (default: 1)")
    parser.add_argument("--detector", metavar="NAME", help="for --image, as of `handiffuser fit`")
    add_sampling_options(parser)
    parser.set_defaults(run=_condition)
    return parser


@dataclass
class _Source:
    """Hands to draw, and what is drawn of them where no option says otherwise.

    Args:
        hands ([`HandParams`] of batch shape `(B,)`): one row per person.
        absent (`str`): what is said if no hand is visible.
        size (`tuple[int, int]`): width and height.
        parts (`list[str]`, *optional*): by default those of the kind.
        body_model ([`HandBodyModel`], *optional*): by default the procedural one.
    """

    hands: "HandParams"
    absent: str
    size: tuple[int, int] = (_SIDE, _SIDE)
    parts: list[str] | None = None
    body_model: "HandBodyModel | None" = None


def _condition(args: argparse.Namespace) -> None:
    from ..hands.framing import frame_hands

    output = output_path(args.output, IMAGE_FORMATS)
    kinds = list(dict.fromkeys(args.kind or ["openpose"]))
    parts = None if args.parts is None else [part.strip() for part in args.parts.split(",")]
    size = None if args.size is None else image_size(args.size)
    _check_names(kinds, args.style, parts)
    _check_size(size)
    _refuse_idle_options(args)
    check_numbers(args, "num_images")
    check_sampling_options(args)
    source = _stored(args) if args.hands is not None else _fitted(args) if args.image is not None else _sampled(args)
    (width, height), parts = size or source.size, parts or source.parts
    visible = source.hands.hand_visible.any(-1)
    if not visible.any():
        print(f"{source.absent}: the condition is empty", file=sys.stderr)
        parts = ["hands"]
    elif not visible.all() and not args.people:
        print(f"no hand is visible in {int((~visible).sum())} of {len(visible)} images", file=sys.stderr)
    hands = frame_hands(source.hands, args.framing, height, width, source.body_model, people=args.people)
    options = {"style": args.style, "parts": parts, "people": args.people}
    files = {}
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No hand is visible")  # which was printed
            drawn = hands.to_condition(kind, (width, height), source.body_model, **options)
        images = drawn if isinstance(drawn, list) else [drawn]
        for i, image in enumerate(images):
            path = _numbered(output, i if len(images) > 1 else None, kind if len(kinds) > 1 else None)
            if args.image is not None and path.exists() and path.samefile(args.image):
                raise ValueError(f"--output: {str(path)!r} is the photograph itself")
            files[path] = image
    for path, image in files.items():
        write_file(path, image.save)
        print(path)


def _check_names(kinds: list[str], style: str, parts: list[str] | None) -> None:
    """Refuses kinds, styles and parts that there are not."""
    from ..rendering.conditions import CONDITIONS, PARTS
    from ..rendering.skeletons import STYLES

    for kind in kinds:
        check_choice("--kind", kind, CONDITIONS)
        for part in parts or ():
            check_choice(f"--parts of {kind}", part, PARTS[kind])
    check_choice("--style", style, STYLES)


def _check_size(size: tuple[int, int] | None) -> None:
    """Refuses images that are too large to be drawn."""
    from ..rendering.conditions import LARGEST_SIDE

    if size is not None and max(size) > LARGEST_SIDE:
        raise ValueError(f"--size must be at most {LARGEST_SIDE} pixels per side, got {size[0]}x{size[1]}")


def _refuse_idle_options(args: argparse.Namespace) -> None:
    given = "--hands" if args.hands is not None else "--image"
    for name in () if args.prompt is not None else _SAMPLING:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} does not go with {given}, for which nothing is sampled")
    if args.detector is not None and args.image is None:
        raise ValueError("--detector needs --image")


def _stored(args: argparse.Namespace) -> _Source:
    """The rows of a file; the bodies of people who were fitted to key points are assumed."""
    hands, size = read_hands(args.hands)
    source = _Source(_rows(hands), f"no hand of {args.hands} is visible")
    return source if size is None else replace(source, size=size, parts=["hands"])


def _fitted(args: argparse.Namespace) -> _Source:
    """The people of a photograph, whose bodies are assumed."""
    from ..detection import fit_hands
    from ..detection.finding import open_detector, read_photograph

    pixels = read_photograph(args.image)
    fitted = fit_hands(pixels, detector=open_detector(args.detector, "--detector"))
    height, width = pixels.shape[:2]
    return _Source(_rows(fitted.hand_params), "no hand was found", (width, height), parts=["hands"])


def _sampled(args: argparse.Namespace) -> _Source:
    """The hands of a prompt, one row for each image."""
    pipe, num_images = load_pipeline(args), args.num_images or 1
    hands = pipe.sample_hand_params(
        args.prompt,
        num_images,
        num_hand_inference_steps=args.hand_steps,
        hand_guidance_scale=args.hand_guidance_scale,
        hand_generator=seeded_generators(args, num_images),
    )
    return _Source(hands, "the sentence has no hands", body_model=pipe.body_model)


def _rows(hands: "HandParams") -> "HandParams":
    """One row per person; of nobody, a person without visible hands, for an empty image."""
    from ..hands import HandParams

    rows = hands.reshape(-1)
    return rows if len(rows) else HandParams.zeros(1)


def _numbered(output: Path, number: int | None, kind: str | None) -> Path:
    """The path of one of several images, `X_0.png`, or of several kinds, `X.depth.png`."""
    stem = output.stem if number is None else f"{output.stem}_{number}"
    return output.with_name(f"{stem}{'' if kind is None else f'.{kind}'}{output.suffix}")
