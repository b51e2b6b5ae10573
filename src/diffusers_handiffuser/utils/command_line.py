"""What commands share: how they report what is wrong with their input, and take a dtype, a device or a function."""

import argparse
import importlib
import sys
from collections.abc import Callable
from typing import Any


def one_line(error: Exception) -> str:
    """What an error says, or else what it is called."""
    return " ".join(str(error).split()) or type(error).__name__


def run_as_command(main: Callable[[], None]) -> None:
    """Runs a command; what is wrong with options or files becomes one line and exit code 2 (--debug: a traceback)."""
    try:
        main()
    except (ValueError, TypeError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {one_line(error)} (--debug shows where)", file=sys.stderr)
        sys.exit(2)


def add_dtype_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="of the networks; bfloat16 moves the hands by millimetres and at times by centimetres, float16 by tenths "
        "of a millimetre (default: float32)",
    )


def choose_device(name: str | None) -> str:
    """The device of `--device`, once it was seen to work: by default CUDA's, if there is one."""
    import torch

    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def hide_loading_bars() -> None:
    """Those of loading; those of sampling and uploading stay."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()


def load_function(name: str, option: str) -> Any:
    """What `MODULE:FUNCTION` names, the value of an option; modules in the current folder are found too."""
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"{option} must be MODULE:FUNCTION, got {name!r}")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), function)
    except AttributeError as error:
        raise ValueError(f"{option}: {error}") from error
    finally:
        sys.path.remove("")
