"""The parser of all commands."""

import argparse
from typing import Any


class Parser(argparse.ArgumentParser):
    """Options have one spelling; an unknown one is an error of its own command, which suggests the nearest."""

    def __init__(self, **settings: Any):
        super().__init__(**{"allow_abbrev": False, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, whose sub-commands leave it to the first parser to refuse what they do not know."""
        if self._subparsers is None:
            for text in args or ():
                if text == "--":
                    break
                if text.startswith("--") and " " not in text:  # argparse takes what has spaces for a value
                    self._check_option(text.partition("=")[0])
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def _check_option(self, option: str) -> None:
        if option not in self._option_string_actions:
            from ..utils.suggestions import nearest_name

            nearest = nearest_name(option, [name for name in self._option_string_actions if name.startswith("--")])
            self.error(f"there is no option {option}" + (f"; did you mean {nearest}?" if nearest else ""))
