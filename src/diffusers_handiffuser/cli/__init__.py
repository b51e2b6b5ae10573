"""The `handiffuser` command: images, hands, conditions and repairs, data, evaluation, uploads.

The modules of this folder import the standard library alone until a command runs: `--help` does not wait for torch.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .condition import add_condition_command
from .data import add_data_command
from .evaluate import add_evaluate_command
from .fit import add_fit_command
from .generate import add_generate_command, add_hands_command
from .parser import Parser
from .push import add_push_command
from .repair import add_repair_command

_USER_ERRORS = (ValueError, TypeError, OSError, ImportError)
"""Raised by bad input and printed as one line; anything else is a bug and keeps its traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 if a check found something, 2 after an error of one line."""
    args = build_parser().parse_args(argv)
    try:
        with _warnings_of_one_line():
            return args.run(args) or 0
    except _USER_ERRORS as error:
        from ..utils.messages import one_line_of

        if args.debug:
            raise
        print(f"handiffuser: error: {one_line_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("handiffuser: interrupted", file=sys.stderr)
        return 130


@contextmanager
def _warnings_of_one_line() -> Iterator[None]:
    """Prints warnings as errors are printed, without the line of code that warned."""
    usual = warnings.formatwarning

    def one_line(message: Warning | str, *_: Any, **__: Any) -> str:
        from ..utils.messages import one_line_of

        return f"handiffuser: warning: {one_line_of(Warning(message))}\n"

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; parsed arguments have `run`, the function of the command."""
    parser = Parser(
        prog="handiffuser",
        description="Text to images whose hands are right: first the hands in 3D, then an image of them.",
        epilog='Example: handiffuser generate "a right hand making a peace sign" -o peace.png',
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        add_generate_command(commands),
        add_hands_command(commands),
        add_condition_command(commands),
        add_fit_command(commands),
        add_repair_command(commands),
        *add_data_command(commands),
        add_evaluate_command(commands),
        add_push_command(commands),
    ):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _version() -> str:
    """Of the installed package, whose import would make `--help` wait for torch."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("diffusers_handiffuser")
    except PackageNotFoundError:
        return "(not installed)"
