"""Finds the arrays of licensed body models (SMPL, SMPL-H, SMPL-X, MANO) in files that are about to be published.

A file is judged by its content, whatever its name: `unpacking` opens compressed files and archives, nested ones too,
`stored_arrays` finds the arrays in them, and `licensed_arrays` recognises those of a body. A single array reveals a
body by its shape; several do by their names, even if they are in different files. Arrays that equal the procedural
body's are free, and so are those saved by a `HandBodyModel` that was made with `licensed=False`.

Time and memory are bounded by the files' sizes: a file that unpacks to more than `MAX_UNPACKED_BYTES` is refused, not
searched in part.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.numpy import load_file

from .checked_files import read_json
from .free_bodies import FREE_BODIES
from .licensed_arrays import (
    MAX_ARRAY_BYTES,
    array_of_name,
    body_of_shape,
    is_array_file,
    is_named_as_body,
    names_of_a_body,
)
from .stored_arrays import StoredArray, arrays_in
from .unpacking import Budget, UnreadableFile, plain_files

MAX_UNPACKED_BYTES = 2**32
_MAX_MEMBERS = 100_000
_MAX_SHOWN = 100
_NUMBER_OF_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def refuse_licensed_bodies(files: Mapping[str, Path]) -> None:
    """Raises a `ValueError` that names the first file with a licensed body, or one that cannot be searched.

    Args:
        files (`Mapping[str, Path]`): the files to be published together, by the names to use in errors.
    """
    seen: dict[str, str] = {}
    free: set[Path] = set()
    for name, path in files.items():
        config = path.with_name("config.json")
        settings = read_json(config) if config.is_file() else {}
        if path not in free and path.suffix == ".safetensors":
            free.update(_weights_of_free_body(path, settings))
        if path in free:
            continue
        try:
            sign = _sign_of_a_body(name, path, bool(settings.get("licensed")), seen)
        except UnreadableFile as error:
            raise ValueError(
                f"{name!r} cannot be searched for a licensed body: {error}; leave it out, or unpack it."
            ) from None
        if sign:
            raise ValueError(
                f"{name!r} {sign}; a licensed body must not be uploaded. `save_pretrained` stores its SHA-256 only."
            )


def _sign_of_a_body(name: str, path: Path, beside_licensed: bool, seen: dict[str, str]) -> str | None:
    """Why the file seems to hold a body, alone or with arrays `seen` before; `None` if it does not.

    Args:
        name (`str`): the file's name in messages.
        path (`Path`): the file.
        beside_licensed (`bool`): a config in its folder says `licensed`, so that any arrays in it are the body's.
        seen (`dict[str, str]`): names of arrays and the files that hold them; this file's are added.
    """
    beside = "is beside a config that says `licensed`"
    if beside_licensed and is_array_file(path.name):
        return beside
    num_bytes = path.stat().st_size + MAX_UNPACKED_BYTES
    budget = Budget(num_bytes, _MAX_MEMBERS, "it unpacks to more than can be searched")
    with path.open("rb") as file:
        for plain in plain_files(file, PurePosixPath(path.name), budget):
            if any(map(is_named_as_body, plain.path.parts)):
                return "has the name of an SMPL or MANO file"
            for array in arrays_in(plain):
                if beside_licensed:
                    return beside
                if not array.is_free and (sign := _sign_of_shape(array) or _sign_of_name(array, name, seen)):
                    return sign
    return None


def _sign_of_shape(array: StoredArray) -> str | None:
    body = array.shape and body_of_shape(array.shape)
    if not body:
        return None
    label = f"{array.name[-_MAX_SHOWN:]!r} is " if array.name else ""
    return (
        f"holds arrays of the shape of a body of {body}: {label}{' x '.join(map(str, array.shape or ()))} "
        "(if it is something else of that shape, leave the file out)"
    )


def _sign_of_name(array: StoredArray, file: str, seen: dict[str, str]) -> str | None:
    name = array_of_name(array.name)
    if name is None:
        return None
    seen.setdefault(name, file)
    together = names_of_a_body(seen, name)
    if not together:
        return None
    others = sorted({repr(seen[name]) for name in together} - {repr(file)})
    with_others = f", together with {', '.join(others)}" if others else ""
    return f"holds arrays of a body by their names, {' and '.join(together)}{with_others}"


def _weights_of_free_body(path: Path, config: Mapping[str, Any]) -> list[Path]:
    """The file and its shards if they hold exactly the body that a config of a free body describes."""
    body = FREE_BODIES.get(str(config.get("_class_name")))
    if body is None or config.get("licensed") is not False:
        return []
    model = _NUMBER_OF_SHARD.sub("", path.stem)
    weights = [file for file in path.parent.glob("*.safetensors") if _NUMBER_OF_SHARD.sub("", file.stem) == model]
    if sum(file.stat().st_size for file in weights) > 4 * MAX_ARRAY_BYTES:
        return []
    try:
        tensors = {name: torch.from_numpy(array) for file in weights for name, array in load_file(file).items()}
        return weights if body.stored_sha256(config, tensors) == config.get("sha256") else []
    except Exception:  # damaged files and configs fail in many ways; they are searched like any other
        return []
