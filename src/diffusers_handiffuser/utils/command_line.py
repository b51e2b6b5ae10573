"""Shared by commands: one-line errors, the device, functions named on the command line."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .messages import one_line_of, reason_of
from .suggestions import did_you_mean


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


def load_function(name: str, option: str, others: str = "") -> Any:
    """The function that an option names as `MODULE:FUNCTION`; modules in the current folder are found too.

    Args:
        name (`str`): the value of the option.
        option (`str`): its name, for errors.
        others (`str`): what else the option takes, for errors: `"this or "`.

    Raises:
        ValueError: the name has another form, or there is no such module or function.
        ImportError: the module imports something that there is not.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"{option} must be {others}MODULE:FUNCTION, got {name!r}")
    if module.endswith(".py"):
        meant = f"{'.'.join(Path(module).with_suffix('').parts)}:{function}"
        raise ValueError(f"{option} {name!r}: a module is named without .py; did you mean {meant!r}?")
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ImportError(f"{option} {name!r}: {module} cannot be imported: {reason_of(error)}") from error
        raise ValueError(f"{option} {name!r}: there is no module {error.name!r}") from error
    finally:
        sys.path.remove("")
    if not hasattr(found, function):
        hint = did_you_mean(function, [other for other in vars(found) if not other.startswith("_")], quote="'")
        raise ValueError(f"{option} {name!r}: {module} has no {function!r}{hint}")
    return getattr(found, function)
