"""`handiffuser data make`, `data check` and `data curate`."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_detector_options, check_numbers, open_detector

if TYPE_CHECKING:
    from ..data.sources import RawRow
    from ..hands import HandBodyModel


def add_data_command(commands: Any) -> list[argparse.ArgumentParser]:
    """Adds `data` to the sub-commands of `handiffuser`; returns the parsers of its tasks."""
    data = commands.add_parser("data", help="data sets", description="Makes, checks and curates data sets.")
    tasks = data.add_subparsers(title="tasks", metavar="TASK", required=True)
    return [_add_make(tasks), _add_check(tasks), _add_curate(tasks)]


def _add_make(tasks: Any) -> argparse.ArgumentParser:
    make = tasks.add_parser(
        "make",
        help="draw a studio data set",
        description="Draws images of hands, with captions and exact parameters, into a folder for the trainers.",
    )
    make.add_argument("folder", metavar="DIR", help="made if absent; must not hold a data set yet")
    make.add_argument("--num", type=int, required=True, metavar="N", help="how many rows")
    make.add_argument("--split", choices=("train", "test"), default="train", help="test: combinations never in train")
    make.add_argument("--seed", type=int, default=0, metavar="S")
    make.add_argument("--size", type=int, default=128, metavar="PX", help="pixels per side (default: 128)")
    make.add_argument("--no-images", action="store_true", help="captions and parameters only, for the first stage")
    make.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    make.add_argument("--device", default="cpu", help='what draws: "cpu" (default) or "cuda"')
    make.add_argument(
        "--handless", type=float, default=0.0, metavar="FRACTION", help="rows without hands, 0 to 1 (default: 0)"
    )
    make.add_argument(
        "--language",
        choices=("studio", "natural", "both"),
        default="studio",
        help="captions in the studio's own words (default), natural sentences, or half and half",
    )
    make.add_argument(
        "--turned",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="rows of a hand that points down or sideways, 0 to 1 (default: 0)",
    )
    make.add_argument(
        "--defects",
        nargs="*",
        metavar="KIND",
        help="draw every hand wrong on purpose, and store its image without the defect: all kinds, or extra_finger, "
        "missing_finger, fused_fingers, bent_backwards, too_long, swapped_side, blurred",
    )
    make.set_defaults(run=_make)
    return make


def _add_check(tasks: Any) -> argparse.ArgumentParser:
    check = tasks.add_parser(
        "check",
        help="what is wrong with a data set, and what is in it",
        description="Reads every row and image; prints what is wrong, row by row, and statistics of the rest. "
        "Exit code 1 if anything is wrong.",
    )
    _add_source(check)
    check.add_argument("--sheet", metavar="FILE.png", help="draw images with their skeletons")
    check.add_argument("--sheet-rows", type=int, default=64, metavar="N", help="how many (default: 64)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)
    return check


def _add_curate(tasks: Any) -> argparse.ArgumentParser:
    curate = tasks.add_parser(
        "curate",
        help="keep the rows that stage 2 can learn from",
        description="Copies the rows that pass every rule into a new folder and prints how many each rule dropped.",
    )
    _add_source(curate)
    curate.add_argument("output", metavar="OUT", help="made if absent; must not hold a data set yet")
    curate.add_argument("--crop", choices=("person", "hands"), help="first cut a square around them, never padded")
    curate.add_argument("--margin", type=float, default=0.15, metavar="M", help="room around them (default: 0.15)")
    curate.add_argument(
        "--size", type=int, metavar="PX", help="crop no less than that, where the image is larger, and resize to it"
    )
    curate.add_argument("--min-hand-pixels", type=float, metavar="N", help="drop rows with a smaller hand")
    curate.add_argument("--max-people", type=int, metavar="P", help="drop rows with more people")
    curate.add_argument(
        "--people", default="people", metavar="COLUMN", help='which column holds their number (default: "people")'
    )
    curate.add_argument(
        "--hands-inside", type=float, metavar="SHARE", help="drop rows with less of a hand's joints in the image"
    )
    add_detector_options(curate, "drop rows whose hands it does not find")
    curate.add_argument(
        "--max-detector-error", type=float, default=0.2, metavar="E", help="of the hand's size (default: 0.2)"
    )
    curate.set_defaults(run=_curate)
    return curate


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a folder, Parquet or .tar files, or a data set on the Hub")
    parser.add_argument("--split", default="train", metavar="NAME", help="(default: train)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit on the Hub")
    parser.add_argument(
        "--max-row-bytes",
        type=int,
        default=2**28,
        metavar="N",
        help="largest row of an archive (default: 256 MiB)",
    )
    parser.add_argument("--body-model", metavar="FILE", help="your SMPL-H file (default: the procedural body)")


def _rows(args: argparse.Namespace) -> "Iterator[RawRow]":
    from ..data.sources import find_shards

    shards = find_shards(args.data, args.split, args.revision, max_row_bytes=args.max_row_bytes)
    return (row for shard in shards for row in shard.rows())


def _body_model(args: argparse.Namespace) -> "HandBodyModel":
    from ..hands import HandBodyModel
    from ..hands.body_model import procedural_body

    return procedural_body() if args.body_model is None else HandBodyModel.from_smplh(args.body_model)


def _make(args: argparse.Namespace) -> None:
    from ..studio import DEFECTS, make_dataset
    from ..utils.command_line import choose_device

    path = make_dataset(
        args.folder,
        args.num,
        args.split,
        args.seed,
        args.size,
        images=not args.no_images,
        workers=args.workers,
        device=choose_device(args.device),
        handless=args.handless,
        language=args.language,
        turned=args.turned,
        defects=() if args.defects is None else args.defects or DEFECTS,
    )
    print(path)


def _check(args: argparse.Namespace) -> int:
    from ..data.checking import check_dataset

    if args.sheet is not None and Path(args.sheet).suffix.lower() != ".png":
        raise ValueError(f"--sheet must end in .png, got {args.sheet!r}")
    check_numbers(args, "sheet_rows")
    report = check_dataset(_rows(args), _body_model(args), args.sheet, args.sheet_rows)
    print(json.dumps(report.to_dict()) if args.json else report)
    return 1 if report.problems else 0


def _curate(args: argparse.Namespace) -> None:
    from ..data.curation import Crop, Curation, DetectorAgrees, HandsInside, MaxPeople, MinHandSize, curate
    from ..data.rows import RowError

    rules: list[Any] = []
    if args.max_people is not None:
        rules.append(MaxPeople(args.max_people, args.people))
    if args.hands_inside is not None:
        rules.append(HandsInside(args.hands_inside))
    if args.min_hand_pixels is not None:
        rules.append(MinHandSize(args.min_hand_pixels))
    crop = None if args.crop is None else Crop(args.crop, args.margin, args.size or 0, args.size)
    if args.size is not None and crop is None:
        raise ValueError("--size needs --crop")
    with open_detector(args) as detector:
        if detector is not None:
            rules.append(DetectorAgrees(detector, args.max_detector_error))
        curation = Curation(rules, crop, _body_model(args))
        try:
            curate(_rows(args), args.output, curation)
        except RowError as error:
            if args.max_people is None or error.problems[0][0] != args.people:
                raise
            raise ValueError(f"{error}; --people names the column that does") from error
    for reason, number in curation.dropped.items():
        print(f"{number:8} dropped: {reason}")
    print(f"{curation.kept:8} kept in {args.output}")
