"""The examples in docstrings run as they stand, on the bundled checkpoint with fewer steps."""

import importlib
import inspect
import re

import pytest

import diffusers_handiffuser
from diffusers_handiffuser.pipelines import HandConditioningMixin

PUBLIC = [getattr(diffusers_handiffuser, name) for name in diffusers_handiffuser.__all__]
CLASSES = [item for item in PUBLIC if inspect.isclass(item)]
PIPELINES = [cls for cls in CLASSES if issubclass(cls, HandConditioningMixin)]


def examples_of(cls: type) -> list[tuple[str, str]]:
    """Names and code of the examples in a class of ours and its own methods."""
    documented = {cls.__name__: cls, **{f"{cls.__name__}.{name}": member for name, member in vars(cls).items()}}
    found = []
    for name, item in documented.items():
        text = inspect.getdoc(item) if inspect.isclass(item) or inspect.isroutine(item) else None
        for number, block in enumerate(re.findall(r"```py\n(.*?)```", text or "", re.S)):
            lines = [line.strip() for line in block.splitlines()]
            code = [re.sub(r"^(>>>|\.\.\.) ?", "", line) for line in lines if line.startswith((">>>", "..."))]
            found.append((f"{name} {number}", "\n".join(code)))
    return found


EXAMPLES = dict(
    example
    for cls in CLASSES
    if cls.__module__.startswith(diffusers_handiffuser.__name__)
    for example in examples_of(cls)
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_runs(name, quick_mini, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[name], name, "exec"), {})


@pytest.mark.parametrize("pipeline_class", PIPELINES)
def test_every_pipeline_has_one_in_the_form_of_diffusers(pipeline_class):
    example = importlib.import_module(pipeline_class.__module__).EXAMPLE_DOC_STRING
    assert example in pipeline_class.__call__.__doc__ and "Examples:" in example
    assert f"{pipeline_class.__name__}.__call__ 0" in EXAMPLES
    assert pipeline_class.__name__ in EXAMPLES[f"{pipeline_class.__name__}.__call__ 0"]
