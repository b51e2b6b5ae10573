"""Command lines from dataclasses of options."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

from transformers import HfArgumentParser

from ...utils.suggestions import did_you_mean

Options = TypeVar("Options")
JsonObject = dict[str, Any]
"""Type of an option that takes a JSON object, inline or as the path of a file."""


def option(default: Any = dataclasses.MISSING, *, help: str) -> Any:
    """A field of a dataclass of options; required if it has no default. A JSON object's is empty: `default={}`."""
    if default == {}:
        return dataclasses.field(default_factory=dict, metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


class OptionParser(HfArgumentParser):
    """A parser for a dataclass whose fields are dataclasses of options, each a group of the help.

    Differs from `HfArgumentParser`: an option has one spelling, `--snake_case`, flags take no value, and JSON objects
    are read. A `ValueError` of a dataclass's `__post_init__` is an error of the command line.

    Args:
        kind (`type`): the dataclass; its docstring describes the program.
        defaults (`Mapping[str, Any]`): defaults of the program in place of those of the dataclasses.
        dropped (`Mapping[str, Any]`): options of earlier releases, with the only value that they still take.
        settings: of `argparse.ArgumentParser`.
    """

    def __init__(
        self, kind: type, defaults: Mapping[str, Any] | None = None, dropped: Mapping[str, Any] | None = None,
        **settings: Any,
    ):  # fmt: skip
        self.kind, self.defaults = kind, dict(defaults or {})
        settings = {"description": kind.__doc__, "formatter_class": argparse.HelpFormatter, **settings}
        settings.setdefault("allow_abbrev", False)
        super().__init__(list(_leaves(kind)), **settings)
        for name, value in (dropped or {}).items():
            takes: dict[str, Any] = {"nargs": 0} if value is False else {"type": type(value)}
            self.add_argument(
                f"--{name}", action=_Dropped, const=value, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **takes
            )

    def add_argument_group(self, *args: Any, **kwargs: Any) -> Any:
        group: Any = super().add_argument_group(*args, **kwargs)
        group.add_argument = partial(_add_option, group.add_argument, self.defaults)
        return group

    def error(self, message: str) -> NoReturn:
        """Prints the error in one line, without the usage, which is some 60 lines long, and exits with code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")

    def parse(self, argv: Sequence[str] | None = None) -> Any:
        """The dataclass, from a command line: this process's by default. Exits with code 2 if it is wrong."""
        try:
            *leaves, unknown = self.parse_args_into_dataclasses(
                argv, return_remaining_strings=True, look_for_args_file=False
            )
            for name in (text.partition("=")[0] for text in unknown if text.startswith("--")):
                self.error(f"there is no option {name}{did_you_mean(name, self._option_string_actions, quote='')}")
            if unknown:
                self.error(f"unrecognized arguments: {' '.join(unknown)}")
            return _assembled(self.kind, iter(leaves))
        except ValueError as error:
            self.error(str(error))


def parse_options(kind: type[Options], argv: Sequence[str] | None = None, **settings: Any) -> Options:
    """`OptionParser(kind, **settings).parse(argv)`."""
    return OptionParser(kind, **settings).parse(argv)


def option_values(options: Any) -> dict[str, Any]:
    """All options by name, of a dataclass of options or of such dataclasses."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(option_values(value) if dataclasses.is_dataclass(value) else {name: value})
    return flat


def _add_option(
    add_argument: Callable, defaults: Mapping[str, Any], name: str, *spellings: str, **settings: Any
) -> argparse.Action:
    """`add_argument` with what `HfArgumentParser` gives it, changed as `OptionParser` says."""
    default = settings["default"] = defaults.get(name.removeprefix("--"), settings.get("default"))
    if settings.get("const") is True:
        settings = {"action": "store_true", "help": settings["help"], "default": default}
    elif settings["type"] == JsonObject:
        settings["type"] = read_json_object
    if default not in (None, {}) and default is not False and "default:" not in settings["help"]:
        settings["help"] += " (default: %(default)s)"
    return add_argument(name, **settings)


class _Dropped(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: Any, name: Any = None) -> None:
        if values != self.const:
            parser.error(f"{name} was dropped: it is always {self.const}")


def _leaves(kind: Any) -> Iterator[Any]:
    """The dataclasses that hold options, in order."""
    parts = [hint for hint in get_type_hints(kind).values() if dataclasses.is_dataclass(hint)]
    for part in parts:
        yield from _leaves(part)
    if not parts:
        yield kind


def _assembled(kind: type, leaves: Iterator[Any]) -> Any:
    """The dataclass whose `_leaves` these are."""
    parts = {name: hint for name, hint in get_type_hints(kind).items() if dataclasses.is_dataclass(hint)}
    if not parts:
        return next(leaves)
    return kind(**{name: _assembled(part, leaves) for name, part in parts.items()})  # type: ignore[arg-type]


def read_json_object(text: str) -> JsonObject:
    """Type of an option for argparse: a JSON object, inline or as the path of a file."""
    try:
        value = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text())
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"neither a JSON object nor a readable JSON file: {text} ({error})"
        ) from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, but is a {type(value).__name__}: {text}")
    return value
