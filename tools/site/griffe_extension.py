"""Griffe extension for the API pages, which are made from the source without running it.

Names that packages import on first use, and methods and docstrings that are composed when a class is made, are looked
up in the imported package. Docstrings in diffusers' style become plain types and links.
"""

import importlib
import inspect
import re
from typing import Any

import griffe

_TYPES = re.compile(r"^( +[\w*, ]+ \()(.*)(\): )", re.M)
_REFERENCE = re.compile(r"\[`(\w+)`\](?!\[)")


class PublicNames(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        packages = {module.path: importlib.import_module(module.path) for module in [pkg, *_packages_of(pkg)]}
        public = [(path, name) for path, package in packages.items() for name in getattr(package, "__all__", ())]
        for path, name in public:
            item = getattr(packages[path], name)
            package = pkg if path == pkg.path else pkg[path.removeprefix(f"{pkg.path}.")]
            if name not in package.members:
                package.set_member(name, _reference(name, item))
            if inspect.isclass(item) and item.__module__.startswith(f"{pkg.path}."):
                _take_methods(pkg[f"{item.__module__}.{item.__qualname__}".removeprefix(f"{pkg.path}.")], item)
        _rewrite_docstrings(pkg, {name: f"{path}.{name}" for path, name in reversed(public)})


def _packages_of(module: griffe.Module) -> list[griffe.Module]:
    inner = [member for member in module.modules.values() if not member.is_alias and member.is_init_module]
    return inner + [package for member in inner for package in _packages_of(member)]


def _reference(name: str, item: Any) -> griffe.Alias | griffe.Attribute:
    if inspect.ismodule(item):
        return griffe.Alias(name, item.__name__)
    if hasattr(item, "__qualname__"):
        return griffe.Alias(name, f"{item.__module__}.{item.__qualname__}")
    return griffe.Attribute(name)


def _take_methods(documented: griffe.Class, cls: type) -> None:
    """Methods that were composed, and docstrings that a decorator completed."""
    for name, method in vars(cls).items():
        if not inspect.isfunction(method):
            continue
        if "<locals>" in method.__qualname__ and (name not in documented.members or name == "__call__"):
            documented.set_member(name, _function(name, method))
        if method.__doc__ and name in documented.members and not documented[name].is_alias:
            documented[name].docstring = _docstring(inspect.cleandoc(method.__doc__), documented[name])


def _function(name: str, function: Any) -> griffe.Function:
    parameters = [
        griffe.Parameter(
            parameter.name,
            kind=griffe.ParameterKind(parameter.kind.description),
            default=None if parameter.default is parameter.empty else repr(parameter.default),
        )
        for parameter in inspect.signature(function).parameters.values()
    ]
    return griffe.Function(name, parameters=griffe.Parameters(*parameters), runtime=True)


def _docstring(text: str, item: griffe.Object) -> griffe.Docstring:
    """Parsed as the class's own is."""
    like = item.parent.docstring
    return griffe.Docstring(text, parent=item, parser=like.parser, parser_options=like.parser_options)


def _rewrite_docstrings(item: griffe.Object, paths: dict[str, str]) -> None:
    if item.docstring is not None:
        text = _TYPES.sub(lambda found: found[1] + _plain(found[2]) + found[3], item.docstring.value)
        item.docstring.value = _REFERENCE.sub(lambda found: _link(found[1], paths), text)
    for member in item.members.values():
        if not member.is_alias:
            _rewrite_docstrings(member, paths)


def _plain(types: str) -> str:
    return re.sub("[`*]", "", _REFERENCE.sub(r"\1", types))


def _link(name: str, paths: dict[str, str]) -> str:
    return f"[`{name}`][{paths[name]}]" if name in paths else f"`{name}`"
