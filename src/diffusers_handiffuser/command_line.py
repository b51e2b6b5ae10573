"""How the modules that run as `python -m ...` report what is wrong with their input."""

import sys
from collections.abc import Callable


def run_as_command(main: Callable[[], None]) -> None:
    """Runs a command; what is wrong with options or files becomes one line and exit code 2 (--debug: a traceback)."""
    try:
        main()
    except (ValueError, TypeError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {message} (--debug shows where)", file=sys.stderr)
        sys.exit(2)
