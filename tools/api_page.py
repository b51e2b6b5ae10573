"""Writes `docs/api.md` from the docstrings of the package.

python tools/api_page.py            # writes the page
python tools/api_page.py --check    # exit code 1 if the page is not what the docstrings say
"""

import argparse
import dataclasses
import inspect
import re
import sys
from pathlib import Path

import diffusers_handiffuser
from diffusers_handiffuser.pipelines import HandConditioningMixin

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
HEADER = """# API

Made from the docstrings by `python tools/api_page.py`. Classes of diffusers from which ours inherit are documented
[there](https://huggingface.co/docs/diffusers); what is listed here is what this package adds or changes.
"""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def signature_of(function) -> str:
    """Parameters and defaults without annotations, which the docstrings give with their shapes."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return "(...)"
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    ]
    bare = inspect.Signature(parameters)
    return _ADDRESS.sub("", str(bare))


def paragraph(docstring: str | None) -> str:
    """A docstring as Markdown: argument sections become lists, examples (fenced, as in diffusers) become code."""
    if not docstring:
        return ""
    lines, code = [], False
    for line in inspect.cleandoc(docstring).splitlines():
        bare = line.strip()
        if bare.startswith("```"):
            code = not code
            lines.append("```python" if code else "```")
        elif code:
            lines.append(re.sub(r"^(>>>|\.\.\.) ?", "", bare))
        elif bare in ("Args:", "Returns:", "Raises:", "Examples:", "Attributes:"):
            lines.append(f"**{bare[:-1]}**\n")
        elif line.startswith("    ") and not line.startswith("        ") and re.match(r"[\w`*, ]+( \(.*\))?:", bare):
            lines.append(f"- {bare}")
        else:
            lines.append(f"  {bare}" if line.startswith("        ") else bare)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def members_of(cls: type) -> list[tuple[str, object]]:
    """Public methods and properties that a class of ours defines itself or takes from a base of ours.

    What the pipelines share is listed with the first of them alone.
    """
    bases = [base for base in reversed(cls.__mro__) if base.__module__.startswith(diffusers_handiffuser.__name__)]
    if issubclass(cls, HandConditioningMixin) and cls is not diffusers_handiffuser.HanDiffuserPipeline:
        bases = [cls]
    found = {}
    for base in bases:
        for name, member in vars(base).items():
            if name.startswith("_") and name != "__call__":
                continue
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(function, property) or inspect.isfunction(function):
                found[name] = function
    return sorted((name, member) for name, member in found.items() if paragraph(inspect.getdoc(member)))


def describe(name: str, item: object) -> list[str]:
    if not inspect.isclass(item):
        return [f"## {name}", paragraph(inspect.getdoc(item))] if callable(item) else []
    constructor = dataclasses.is_dataclass(item) or "__init__" in vars(item)
    sections = [f"## {name}", f"```python\n{name}{signature_of(item)}\n```" if constructor else ""]
    sections.append(paragraph(item.__doc__))
    for member_name, member in members_of(item):
        if isinstance(member, property):
            sections += [f"### {name}.{member_name}", paragraph(inspect.getdoc(member))]
        else:
            heading = f"{name}.{member_name}" if member_name != "__call__" else f"{name}()"
            call = f"{member_name}{signature_of(member)}"
            sections += [f"### {heading}", f"```python\n{call}\n```", paragraph(inspect.getdoc(member))]
    return [section for section in sections if section]


def build_page() -> str:
    sections = [HEADER]
    for name in sorted(diffusers_handiffuser.__all__, key=str.lower):
        item = getattr(diffusers_handiffuser, name)
        if getattr(item, "__module__", "").startswith(diffusers_handiffuser.__name__):
            sections += describe(name, item)
    return "\n\n".join(section.rstrip() for section in sections) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    page = build_page()
    if args.check:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
