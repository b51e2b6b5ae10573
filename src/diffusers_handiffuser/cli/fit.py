"""`handiffuser fit`."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from .hand_files import add_format_option, is_openpose
from .options import output_path, write_file

if TYPE_CHECKING:
    from ..detection import FittedHands

_FORMATS = (".safetensors", ".json", ".glb", ".png")


def add_fit_command(commands: Any) -> argparse.ArgumentParser:
    """Adds it to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "fit",
        help="3D hands from a photograph",
        description="Finds the hands in a photograph and fits a body to them, one row per person. The suffix of FILE "
        "says what is written: parameters (.safetensors, .json), the key points of the hands (.openpose.json), meshes "
        "(.glb) or the photograph with the hands drawn over it (.png, at most 1600 pixels wide and high). `fit_hands` "
        "does this in Python, for one photograph or many.",
    )
    parser.add_argument("photo", metavar="PHOTO", help="an image file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=f"ends in one of {', '.join(_FORMATS)}")
    add_format_option(parser)
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="MODULE:FUNCTION or a .task file (default: MediaPipe, of the extra `detect` or with the file that "
        "HANDIFFUSER_HAND_LANDMARKER names)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="leave out people with a hand that is less likely to be right (default: 0, which keeps all)",
    )
    parser.add_argument("--trust-sides", action="store_true", help="take the detector's left and right as they are")
    parser.set_defaults(run=_fit)
    return parser


def _fit(args: argparse.Namespace) -> None:
    from ..detection import fit_hands
    from ..detection.finding import open_detector, read_photograph
    from ..rendering.openpose_json import write_openpose_json

    output = output_path(args.output, _FORMATS)
    openpose = is_openpose(args, output)
    if not 0 <= args.min_confidence <= 1:
        raise ValueError(f"--min-confidence must be between 0 and 1, got {args.min_confidence}")
    if output.exists() and os.path.exists(args.photo) and output.samefile(args.photo):
        raise ValueError(f"--output {args.output!r} is the photograph itself")
    pixels = read_photograph(args.photo)
    fitted = fit_hands(pixels, detector=open_detector(args.detector, "--detector"), trust_sides=args.trust_sides)
    for line in _describe(fitted):
        print(line, file=sys.stderr)
    if not len(fitted):
        print("no hand was found", file=sys.stderr)
    sure = fitted.confidence.nan_to_num(1.0).amin(-1) >= args.min_confidence
    if not sure.all():
        print(f"left out {int((~sure).sum())} of {len(sure)} people, below --min-confidence", file=sys.stderr)
    fitted = fitted[sure]
    suffix = output.suffix.lower()
    if openpose:
        write_openpose_json(output, fitted.hand_params, (pixels.shape[1], pixels.shape[0]), parts=("hands",))
    elif suffix == ".glb":
        if not len(fitted):
            raise ValueError("no hand is left: there is no mesh to write")
        fitted.to_glb(output)
    elif suffix == ".png":
        write_file(output, fitted.overlay(pixels)[0].save)
    else:
        fitted.hand_params.save(output)
    print(output)


def _describe(fitted: "FittedHands") -> list[str]:
    """A line for each hand."""
    from ..hands.skeleton import SIDES

    lines = []
    for person, hand in fitted.hand_params.hand_visible.nonzero().tolist():
        confidence, pixels = float(fitted.confidence[person, hand]), float(fitted.error_pixels[person, hand])
        lines.append(
            f"person {person}, {SIDES[hand]} hand: confidence {confidence:.2f}, {pixels:.1f} pixels from the landmarks"
        )
    return lines
