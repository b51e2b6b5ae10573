"""Files of hands that the commands read and write, among them OpenPose's JSON."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..hands import HandParams

_OPENPOSE_SUFFIX = ".openpose.json"


def add_format_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--format`, which `is_openpose` reads."""
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"openpose: write key points as OpenPose's JSON, as for a FILE that ends in {_OPENPOSE_SUFFIX}",
    )


def is_openpose(args: argparse.Namespace, output: Path) -> bool:
    """Whether the output is OpenPose's JSON; refuses other formats, and other files in that format."""
    if args.format not in (None, "openpose"):
        raise ValueError(f"--format must be openpose, got {args.format!r}")
    if args.format is not None and output.suffix.lower() != ".json":
        raise ValueError(f"--format openpose needs an --output that ends in .json, got {output.name!r}")
    return args.format is not None or output.name.lower().endswith(_OPENPOSE_SUFFIX)


def read_hands(file: str) -> "tuple[HandParams, tuple[int, int] | None]":
    """The hands of a file, and of OpenPose's JSON, to whose key points they are fitted, the width and height."""
    from ..hands import HandParams
    from ..rendering.openpose_json import is_openpose_json, read_openpose_json

    if not is_openpose_json(file):
        return HandParams.load(file), None
    from ..detection import fit_hands

    keypoints = read_openpose_json(file)
    if keypoints.size is None:
        raise ValueError(f"{file} does not say how large its image is (canvas_width, canvas_height)")
    return fit_hands(keypoints).hand_params, keypoints.size
