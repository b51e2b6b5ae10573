"""Options that several commands share."""

import argparse
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..detection.detector import HandDetector

IMAGE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")


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


def check_choice(option: str, value: str, known: Collection[str]) -> None:
    """Refuses the value of an option that is not among the known ones.

    Raises:
        ValueError: it names those.
    """
    if value not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}, got {value!r}")


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


def image_size(text: str) -> tuple[int, int]:
    """The width and height that `--size` names."""
    found = re.fullmatch(r"([1-9]\d*)(?:[xX]([1-9]\d*))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"--size must be WIDTHxHEIGHT or the side of a square, such as 1024x1536, got {text!r}")
    return int(found[1]), int(found[2] or found[1])


def output_path(text: str, suffixes: Sequence[str], option: str = "--output") -> Path:
    """The path of an option, refused before any work if it cannot be written."""
    from ..utils.atomic_files import refuse_special_file

    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} must end in {', '.join(suffixes)}, got {text!r}")
    if path.is_dir():
        raise ValueError(f"{option} {text!r} is a folder")
    refuse_special_file(path)
    if not path.parent.is_dir():
        raise ValueError(f"{option} {text!r}: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option} {text!r}: folder {str(path.parent)!r} cannot be written to")
    return path


def write_file(path: Path, save: Callable[[Path], None]) -> None:
    """Writes a file by a function, atomically."""
    from ..utils.atomic_files import atomic_write

    with atomic_write(path) as temporary:
        save(temporary)
