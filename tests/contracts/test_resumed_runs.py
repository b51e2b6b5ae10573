"""Training runs that commit 593c802 left half-done are continued, to the same end, by the command lines of then.

`tools/make_old_runs.py` made them and tells of what. Old checkpoints name classes and folders as they were called
then, `JointFinder` in `joint_finder` among them.
"""

import argparse
import ast
import importlib.util
import json
import runpy
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "fixtures" / "runs_593c802"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
RUNS = MANIFEST["runs"]
GONE: dict[str, Any] = {
    "lr_num_cycles": 1,
    "lr_power": 1.0,
    "std_floor": 0.02,
    "joint_map_weight": 1.5,
    "pyramid_levels": 3,
    "detail_weight": 1.0,
}
"""Options that 593c802 had and nobody used, with the default that they always had."""
TOLERANCE = {"rtol": 5e-6, "atol": 5e-6}
"""Ten times what the instructions of other processors, or joints that are 1e-6 m off, change in the weights. Where
the optimiser, the averages, the timestep balance or the joint finder of a checkpoint are not read, it is 6e-4 or
more."""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_old_runs", ROOT / "tools" / "make_old_runs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def program(monkeypatch, one_thread, fresh_accelerator):
    """`python -m diffusers_handiffuser.training.NAME ARGUMENTS`, in this process."""

    def run(name: str, arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)
            runpy.run_module(f"diffusers_handiffuser.training.{name}", run_name="__main__", alter_sys=True)

    return run


@pytest.fixture
def here(tmp_path, monkeypatch, tool):
    """A folder to train in, with the data and what models start from."""
    tool.set_up(tmp_path, FOLDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def parsed(program, monkeypatch):
    """The options that a program reads from a command line, by name."""

    class Parsed(Exception):
        pass

    def parse_known_args(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    parse = argparse.ArgumentParser.parse_known_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)

    def options(name: str, arguments: list[str]) -> dict[str, Any]:
        with pytest.raises(Parsed) as raised:
            program(name, arguments)
        namespace, unknown = raised.value.args[0]
        assert not unknown, f"{name} has no {' '.join(unknown)}"
        return vars(namespace)

    return options


def without_speed(line: dict[str, float]) -> dict[str, float]:
    return {name: number for name, number in line.items() if name not in ("minutes", "samples_per_second")}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_to_the_same_end(name, program, here, tool):
    run, expected = RUNS[name], load_file(FOLDER / "expected" / f"{name}.safetensors")
    shutil.copytree(FOLDER / "runs" / name, here / "out")
    program(run["program"], [*run["command"], "--resume_from_checkpoint", "latest"])

    found = tool.read_results(here / "out", run["results"])
    assert found.keys() == expected.keys()
    unequal = [key for key, value in expected.items() if not torch.equal(found[key], value)]
    print(f"{name}: {len(unequal)} of {len(expected)} tensors are not equal bit for bit")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, **TOLERANCE, msg=lambda text, key=key: f"{key}: {text}")

    for line, wanted in zip(tool.read_log(here / "out"), run["log"], strict=True):
        assert without_speed(line) == pytest.approx(without_speed(wanted), rel=1e-4)


def as_saved(value: Any) -> Any:
    """An option's value as accelerate's trackers store it."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    return value if isinstance(value, (int, float, str)) else str(value)


def spelled_out(options: dict[str, Any]) -> list[str]:
    """Saved options as a command line that names each of them."""
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not False and value != "None":
            is_json = isinstance(value, str) and value.startswith("{")
            arguments += [f"--{name}", json.dumps(ast.literal_eval(value)) if is_json else str(value)]
    return arguments


@pytest.mark.parametrize("name", RUNS)
def test_saved_options_are_read(name, parsed):
    """The command line of then, and all options that the run saved, are read as they were then."""
    run = RUNS[name]
    saved = run["options"]
    tracked = [*run["command"], "--report_to", "tensorboard"]
    for arguments in (tracked, spelled_out(saved)):
        read = {option: as_saved(value) for option, value in parsed(run["program"], arguments).items()}
        for option, value in saved.items():
            if option in GONE and option not in read:
                assert value == as_saved(GONE[option]), option
            else:
                assert read[option] == value, option


def test_the_tokenizer_is_the_same(program, here):
    program(MANIFEST["tokenizer"]["program"], MANIFEST["tokenizer"]["command"])
    for name in ("vocab.json", "merges.txt"):
        assert (here / "tokenizer" / name).read_text() == (FOLDER / "tokenizer" / name).read_text(), name


def test_the_tool_does_not_replace_them(tool, tmp_path, capsys):
    assert tool.main(["--folder", str(tmp_path)]) == 2
    assert "--force" in capsys.readouterr().err and not list(tmp_path.iterdir())
