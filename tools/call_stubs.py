"""Writes the type stubs of the pipelines' `__call__`, which is composed when a class is made.

    python tools/call_stubs.py             # after a change of an argument
    python tools/call_stubs.py --check     # exit 1 if a stub is not what this would write

A type checker or an editor that does not run the code finds every argument in the `.pyi` file beside a pipeline's
module. Types are those of the installed diffusers.
"""

import argparse
import importlib
import inspect
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from diffusers_handiffuser import pipelines

CLASSES = [getattr(pipelines, name) for name in pipelines.__all__ if name.endswith("Pipeline")]
HEADER = "# Made by tools/call_stubs.py: the arguments of `__call__` for type checkers and editors.\n"
_OVERRIDES = {"HanDiffuserInpaintPipeline": "  # type: ignore[override]"}
"""Where diffusers' own hint is one that a type checker sees, and `num_images_per_prompt` is a number here."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    outdated = [cls for cls in CLASSES if not path_of(cls).exists() or path_of(cls).read_text() != stub(cls)]
    for cls in outdated:
        print(path_of(cls))
        if not options.check:
            path_of(cls).write_text(stub(cls))
    return int(options.check and bool(outdated))


def path_of(cls: type) -> Path:
    """The stub beside the module of a class."""
    return Path(inspect.getfile(cls)).with_suffix(".pyi")


def stub(cls: type) -> str:
    """The stub of a pipeline's module: its classes, their public methods and fields."""
    imports: set[tuple[str, str]] = set()
    module = importlib.import_module(cls.__module__)
    inputs = cls.hand_inputs_class
    classes = [_dataclass(inputs, imports)] if inputs.__module__ == module.__name__ else []
    bases = [base if not base.__name__.startswith("_") else base.__bases__[0] for base in cls.__bases__]
    body = [
        _function(name, value, imports, _OVERRIDES.get(cls.__name__, "") if name == "__call__" else "")
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and (name == "__call__" or not name.startswith("_"))
    ]
    classes.append(f"class {cls.__name__}({', '.join(_source(base, imports) for base in bases)}):\n" + "\n".join(body))
    lines = [f"from {source} import {name}\n" for source, name in sorted(imports)]
    return _formatted(f"{HEADER}\n{''.join(lines)}\n" + "\n".join(classes), path_of(cls))


def _formatted(text: str, path: Path) -> str:
    """The text as this project's ruff leaves it."""
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def _dataclass(cls: type, imports: set[tuple[str, str]]) -> str:
    imports.add(("dataclasses", "dataclass"))
    own = [f"    {name}: {_source(value, imports)} = ...\n" for name, value in vars(cls)["__annotations__"].items()]
    base = _source(cls.__bases__[0], imports)
    return f"@dataclass(frozen=True)\nclass {cls.__name__}({base}):\n{''.join(own)}"


def _function(name: str, function: Callable, imports: set[tuple[str, str]], comment: str) -> str:
    signature = inspect.signature(function)
    lines = []
    alone = next((p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY), None)
    for parameter in signature.parameters.values():
        lines += ["        *,\n"] if parameter.name == alone else []
        stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
        hint = "" if parameter.annotation is parameter.empty else f": {_source(parameter.annotation, imports)}"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"        {stars}{parameter.name}{hint}{default},\n")
    result = _source(signature.return_annotation, imports)
    return f"    def {name}({comment}\n{''.join(lines)}    ) -> {result}: ...\n"


def _source(annotation: Any, imports: set[tuple[str, str]]) -> str:
    """An annotation as it is written, after noting what has to be imported for it."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    if annotation is Any:
        imports.add(("typing", "Any"))
        return "Any"
    if isinstance(annotation, list):
        return f"[{', '.join(_source(item, imports) for item in annotation)}]"
    origin, parts = get_origin(annotation), [_source(part, imports) for part in get_args(annotation)]
    if origin in (Union, types.UnionType):
        return " | ".join(parts)
    if origin is not None:
        return f"{_source(origin, imports)}[{', '.join(parts)}]"
    name, module = annotation.__name__, annotation.__module__
    if module != "builtins":
        root = module.partition(".")[0]
        public = getattr(importlib.import_module(root), name, None) is annotation and root != "diffusers_handiffuser"
        imports.add((root if public else module, name))
    return name


if __name__ == "__main__":
    sys.exit(main())
