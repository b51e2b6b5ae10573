"""Command lines from dataclasses."""

import dataclasses
from typing import ClassVar, Literal

import pytest

from diffusers_handiffuser.training.engine.option_parser import (
    JsonObject,
    OptionParser,
    option,
    option_values,
    parse_options,
)


@dataclasses.dataclass
class Shape:
    _argument_group_name: ClassVar[str] = "shape"

    side_length: int = option(help="of the square")
    weight: float = option(0.0, help="of the square in the loss")
    config: JsonObject = option({}, help="JSON")
    mode: Literal["a", "b"] | None = option(None, help="which (default: none)")

    def __post_init__(self):
        if self.side_length < 1:
            raise ValueError(f"--side_length must be at least 1, but is {self.side_length}")


@dataclasses.dataclass
class Texts:
    _argument_group_name: ClassVar[str] = "texts"

    prompts: list[str] | None = option(None, help="texts")
    name: str = option("square", help="the name")
    loud: bool = option(False, help="in capitals")


@dataclasses.dataclass
class Inner:
    shape: Shape


@dataclasses.dataclass
class Program(Inner):
    """Draws a square."""

    texts: Texts


NESTED = ["--side_length", "2", "--config", '{"a": [1]}', "--prompts", "one", "two words", "--loud"]


def test_the_dataclass_is_filled():
    program = parse_options(Program, NESTED)
    assert program == Program(Shape(2, 0.0, {"a": [1]}, None), Texts(["one", "two words"], "square", True))
    assert list(option_values(program)) == ["side_length", "weight", "config", "mode", "prompts", "name", "loud"]
    assert option_values(program)["config"] == {"a": [1]}


def test_json_may_be_in_a_file(tmp_path):
    (tmp_path / "config.json").write_text('{"b": 2}')
    assert parse_options(Inner, ["--side_length=2", "--config", str(tmp_path / "config.json")]).shape.config == {
        "b": 2
    }


def test_defaults_of_a_program():
    program = parse_options(Inner, ["--side_length", "2"], defaults={"weight": 0.5, "mode": "b"})
    assert (program.shape.weight, program.shape.mode) == (0.5, "b")


def test_help_tells_groups_and_defaults(capsys):
    with pytest.raises(SystemExit):
        parse_options(Program, ["--help"], defaults={"name": "circle"})
    words = " ".join(capsys.readouterr().out.split())
    assert "Draws a square." in words and "shape: --side_length SIDE_LENGTH of the square --weight" in words
    assert "of the square in the loss (default: 0.0)" in words and "the name (default: circle)" in words
    assert "which (default: none) " in words and "--loud in capitals" in words and "--side-length" not in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --side_length"),
        (["--side_length", "0"], "--side_length must be at least 1, but is 0"),
        (["--side_length", "x"], "argument --side_length: invalid int value: 'x'"),
        (["--side-length", "1"], "--side_length"),
        (["--side_length", "1", "--depth", "2"], "there is no option --depth"),
        (["--side_length", "1", "--loud", "no"], "unrecognized arguments: no"),
        (["--side_length", "1", "--mode", "c"], "argument --mode: invalid choice: 'c'"),
        (["--side_length", "1", "--config", "[]"], "neither a JSON object nor a readable JSON file: []"),
        (["--side_length", "1", "--colour", "3"], "--colour was dropped: it is always 2"),
        (["--side_length", "1", "--fast"], "--fast was dropped: it is always False"),
    ],
)
def test_wrong_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_options(Program, arguments, prog="square", dropped={"colour": 2, "fast": False})
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("square: error: ") and message in line and line.endswith(" (see --help)")


def test_a_dropped_option_takes_its_old_default():
    program = parse_options(Program, [*NESTED, "--colour", "2"], dropped={"colour": 2})
    assert "colour" not in option_values(program)


def test_one_option_is_in_one_dataclass():
    @dataclasses.dataclass
    class Twice(Program):
        again: Texts

    with pytest.raises(Exception, match="conflicting option string"):
        OptionParser(Twice)
