"""Options that several commands share."""

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..detection.detector import HandDetector


def add_model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="PATH_OR_HUB_ID", help="a checkpoint (default: the one in the package)")


def add_device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help='"cpu", "cuda", ... (default: cuda if there is one)')
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="of the networks; bfloat16 moves the hands by millimetres and at times by centimetres, float16 by tenths "
        "of a millimetre (default: float32)",
    )


def check_numbers(args: argparse.Namespace, *names: str) -> None:
    """Refuses given options, by their own names, that are not finite; those of whole numbers must be at least 1."""
    for name in names:
        value, option = getattr(args, name), f"--{name.replace('_', '-')}"
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{option} must be a finite number, got {value}")


def add_detector_options(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds `--detector` and `--detector-python`; `open_detector` opens what they name."""
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help=f'{purpose}: "mediapipe" (of the extra `detect`), a .task file for it, or MODULE:FUNCTION',
    )
    parser.add_argument("--detector-python", metavar="PATH", help="deprecated: a Python that has MediaPipe")


@contextmanager
def open_detector(args: argparse.Namespace) -> "Iterator[HandDetector | None]":
    """The detector that the options name, if any; the process of MediaPipe ends with the block."""
    from ..detection.loading import load_detector
    from ..detection.mediapipe_hands import MediaPipeDetector

    detector = None if args.detector is None else load_detector(args.detector, args.detector_python)
    try:
        yield detector
    finally:
        if isinstance(detector, MediaPipeDetector):
            detector.close()
