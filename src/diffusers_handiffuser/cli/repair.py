"""`handiffuser repair`."""

import argparse
import functools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hand_files import read_hands
from .options import add_device_options, add_model_option, check_numbers, output_path, write_file
from .repair_pipelines import load_painter

if TYPE_CHECKING:
    from ..hands import HandParams
    from ..repair import RepairedHand, RepairOutput
    from ..repair.files import UprightImage

_FORMATS = (".png", ".webp", ".tif", ".tiff", ".jpg", ".jpeg")
_PREVIEW_FORMATS = (".png", ".jpg", ".jpeg", ".webp")
_FAILED = ("not_improved", "not_found")


def add_repair_command(commands: Any) -> argparse.ArgumentParser:
    """Adds it to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "repair",
        help="an image whose bad hands are drawn anew",
        description="Finds and judges the hands of an image, draws the bad ones anew, and keeps what got better. Good "
        "hands, and all other pixels, stay as they are. The image is upright in FILE; EXIF and profile are kept. The "
        "exit status is 0 if no hand was bad or all bad ones were repaired, and 1 if a hand could not be found in its "
        "box, or not be improved. `repair_hands` does this in Python.",
    )
    parser.add_argument("image", metavar="IMAGE", help="an image file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="ends in .png, .webp, .tif (which keep every pixel) or .jpg (quality 95)",
    )
    parser.add_argument("--prompt", metavar="TEXT", help="what the image shows")
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what not to draw")
    parser.add_argument("--which", default="bad", metavar="HANDS", help="bad (default), all, or numbers such as 0,2")
    parser.add_argument(
        "--box",
        action="append",
        default=[],
        metavar="X0,Y0,X1,Y1",
        help="where a hand is that the detector misses: left, top, right, bottom, pixels; repeat it for several",
    )
    parser.add_argument(
        "--hands",
        default="fit",
        metavar="POSE",
        help="fit: the pose that the hand has, within anatomical limits (default); sample: one for the prompt; or a "
        "file of hands (.safetensors, .json), one row for all or one for each hand",
    )
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="how often a hand is drawn (default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first try (default: 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the pipeline's)")
    parser.add_argument("--guidance-scale", type=float, metavar="W", help="how closely to follow the prompt")
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="MODULE:FUNCTION or a .task file (default: MediaPipe, of the extra `detect` or with the file that "
        "HANDIFFUSER_HAND_LANDMARKER names)",
    )
    add_model_option(parser)
    parser.add_argument("--controlnet", metavar="PATH_OR_HUB_ID", help="a ControlNet for depth images of hands")
    add_device_options(parser)
    parser.add_argument("--preview", metavar="FILE", help="write before, fits and after side by side (.png, .jpg)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be repaired, and draw nothing")
    parser.add_argument("--overwrite", action="store_true", help="FILE may be the image itself")
    parser.set_defaults(run=_repair)
    return parser


def _repair(args: argparse.Namespace) -> int:
    from ..detection.finding import open_detector
    from ..repair import draw_repair, repair_hands
    from ..repair.files import format_for, read_image

    check_numbers(args, "tries", "steps", "guidance_scale")
    output, preview = _outputs(args)
    opened = read_image(args.image)
    if output is not None:
        format_for(opened.image, output)
    options = {
        "negative_prompt": args.negative_prompt,
        "which": _which(args.which),
        "boxes": [_box(text) for text in args.box],
        "tries": args.tries,
        "seed": args.seed,
        "detector": open_detector(args.detector, "--detector"),
    }
    if args.hands not in ("fit", "sample"):
        options["hands"] = _stored_hands(args.hands)
    # A look at the hands first: where none is to be repaired, no model is loaded.
    result = repair_hands(opened.image, None, args.prompt, dry_run=True, **options)
    if any(hand.decision == "to_repair" for hand in result.hands) and not args.dry_run:
        result = repair_hands(opened.image, load_painter(args), args.prompt, **{"hands": args.hands, **options})
    for number, hand in enumerate(result.hands):
        print(_line(number, hand, args.dry_run), file=sys.stderr)
    if not result.hands:
        print("no hand was found", file=sys.stderr)
    if preview is not None:
        write_file(preview, draw_repair(opened.image, result).save)
        print(preview)
    if output is not None:
        _write(result, opened, Path(args.image), output)
        print(output)
    return int(any(hand.decision in _FAILED for hand in result.hands))


def _outputs(args: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """The output, which a dry run has none of, and the preview, if there is one."""
    if args.output is None and not args.dry_run:
        raise ValueError("-o/--output is needed: the file to write")
    output = None if args.output is None else output_path(args.output, _FORMATS)
    preview = None if args.preview is None else output_path(args.preview, _PREVIEW_FORMATS, "--preview")
    source = Path(args.image)
    if output is not None and not args.overwrite and _are_same(output, source):
        raise ValueError(f"--output {args.output!r} is the image itself; --overwrite allows that")
    for path in (source, output):
        if preview is not None and path is not None and _are_same(preview, path):
            raise ValueError(f"--preview {args.preview!r} is the image itself or its --output")
    return None if args.dry_run else output, preview


def _are_same(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.absolute() == second.absolute()


def _which(text: str) -> str | list[int]:
    if text in ("bad", "all"):
        return text
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"--which must be bad, all, or numbers of hands such as 0,2, got {text!r}") from None


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(number) for number in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise ValueError(f"--box must be X0,Y0,X1,Y1: left, top, right, bottom, pixels, got {text!r}")
    return box


def _stored_hands(file: str) -> "HandParams":
    if not Path(file).exists() and Path(file).suffix.lower() not in (".safetensors", ".json"):
        raise ValueError(f"--hands must be fit, sample or a file (.safetensors, .json), got {file!r}")
    hands, _ = read_hands(file)
    return hands


def _line(number: int, hand: "RepairedHand", with_scores: bool) -> str:
    box = ", ".join(f"{edge:.0f}" for edge in hand.box)
    line = f"hand {number}, {hand.side or 'side unknown'}, box {box}: {hand.decision.replace('_', ' ')}: {hand.reason}"
    scores = ", ".join(f"{name} {value:.2f}" for name, value in hand.scores.items())
    return f"{line} ({scores})" if with_scores and scores else line


def _copy(source: Path, path: Path) -> None:
    shutil.copyfile(source, path)


def _write(result: "RepairOutput", opened: "UprightImage", source: Path, output: Path) -> None:
    """Writes the image; one that has not changed and keeps its format is copied byte by byte."""
    from ..repair.files import JPEG_QUALITY, format_for

    kind = format_for(opened.image, output)
    if not result.changed and opened.format == kind:
        if not _are_same(source, output):
            write_file(output, functools.partial(_copy, source))
        return
    for note in opened.notes:
        print(note, file=sys.stderr)
    if kind == "JPEG":
        print(f"a JPEG of quality {JPEG_QUALITY}: pixels around the hands change a little, too", file=sys.stderr)
    result.save(output)
