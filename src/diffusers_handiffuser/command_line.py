"""How commands report what is wrong with their input."""

import sys
from collections.abc import Callable


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
