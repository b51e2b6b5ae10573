"""Options that several commands share."""

import argparse


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
