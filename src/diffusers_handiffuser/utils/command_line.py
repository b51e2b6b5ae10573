"""Shared by commands: one-line errors, the device, functions named on the command line."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from .messages import one_line_of


def run_as_command(main: Callable[[], None]) -> None:
    """Runs a command; a wrong option or file ends it with one line and exit code 2 (--debug: a traceback)."""
    try:
        main()
    except (ValueError, TypeError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {one_line_of(error)} (--debug shows where)", file=sys.stderr)
        sys.exit(2)


def choose_device(name: str | None) -> str:
    """The device of `--device`, checked to work; by default CUDA if there is one."""
    import torch

    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def hide_loading_bars() -> None:
    """Hides the progress bars of loading; those of sampling and uploading stay."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()


def load_function(name: str, option: str) -> Any:
    """The function that an option names as `MODULE:FUNCTION`; modules in the current folder are found too."""
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
