"""Checks of a stored model's files: safetensors and JSON, inside the model's own folder.

diffusers and transformers follow links, use the shard names of an index unchecked, and unpickle a shard whose suffix
asks for it. Every loader of this package runs these checks first, on local folders and on downloads.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..utils.contained_paths import refuse_link_outwards
from ..utils.messages import one_line, reason_of
from .checked_configs import entries

ADAPTER_FILE = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_INDEX = re.compile(r".+\.safetensors\..+\.json", re.IGNORECASE)
"""A shard index of diffusers or transformers: `model.safetensors.index.json`, with a variant anywhere in it."""
_SHARD = re.compile(r"[^/\\:\0]+\.safetensors")
_TOKENIZER_CONFIG = "tokenizer_config.json"
_UNREAD = ("special_tokens_map_file",)
"""Keys of a tokenizer's config that older releases of transformers wrote and none reads."""


def check_files(folder: Path, subfolder: str = "") -> None:
    """Refuses a stored model with forbidden files before any of them is read.

    Forbidden are links out of the checkpoint's folder, special files such as pipes, weights that exist only as
    pickles, and an index that names shards which are not safetensors of the same folder.

    Args:
        folder (`Path`): the checkpoint's folder.
        subfolder (`str`): the model's folder inside it, checked at any depth. For a model that is a checkpoint by
            itself, folders beside its files are neither read nor checked.
    """
    place = folder / subfolder
    if not place.is_dir():
        return
    for path in _entries(place, deep=bool(subfolder)):
        refuse_link_outwards(path, folder)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f"{str(path)!r} is neither a file nor a folder")
        if _INDEX.fullmatch(path.name) and path.is_file():
            _check_index_of_shards(path)
    names = [path.name for path in place.iterdir()]
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles and not any(".safetensors" in name for name in names):
        target = Path({"pytorch_model": "model"}.get(Path(pickles[0]).stem, pickles[0])).with_suffix(".safetensors")
        raise ValueError(
            f"{str(place / pickles[0])!r} is a pickle, and reading one can run code; if you trust it, convert it: "
            f"`safetensors.torch.save_file(torch.load({pickles[0]!r}, weights_only=True), {str(target)!r})`"
        )


def check_files_of_transformers(place: Path) -> None:
    """Refuses a model whose files make transformers load anything besides the model's own weights.

    Args:
        place (`Path`): the folder of a transformers model.
    """
    if os.path.lexists(place / ADAPTER_FILE):
        raise ValueError(
            f"{str(place / ADAPTER_FILE)!r} makes transformers load an adapter, and its base from wherever it names; "
            "merge the adapter into the weights (`merge_and_unload()` of peft), or remove this file"
        )
    config = read_json(place / "config.json") if (place / "config.json").is_file() else {}
    weights = config.get("transformers_weights")
    if weights is not None and not (isinstance(weights, str) and _is_plain(weights)):
        raise ValueError(_not_plain(place / "config.json", weights))
    for key, value in entries(config):
        names_backbone = key == "backbone" and isinstance(value, str)
        if names_backbone or (key == "model_type" and str(value).startswith("timm")):
            raise ValueError(
                f"{str(place / 'config.json')!r} has `{key}` {value!r}, which makes transformers build a model that "
                "is not in this folder, of files from elsewhere"
            )
        if key.strip("_").startswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
            raise ValueError(
                f"{str(place / 'config.json')!r} has `{key}` {value!r}, which is code from elsewhere; remove it, and "
                "call `set_attn_implementation` on the loaded model if you trust that"
            )


def check_files_of_processors(place: Path, of_several: bool) -> None:
    """Refuses a tokenizer or processor that makes transformers read files or run code from elsewhere.

    Args:
        place (`Path`): the folder of the tokenizer or processor.
        of_several (`bool`): whether it is a processor made of parts. transformers looks their classes up by name, and
            offers to run code that defines them.
    """
    for path in sorted(place.rglob("*config.json")):
        if not path.is_file():
            continue
        for key, value in entries(read_json(path)):
            if of_several and key == "auto_map":
                raise ValueError(f"{str(path)!r} has `auto_map`, which names code; remove it")
            if path.name == _TOKENIZER_CONFIG and key.endswith("_file") and key not in _UNREAD and value is not None:
                raise ValueError(
                    f"{str(path)!r} has `{key}`, which makes transformers read a file wherever that is; remove it"
                )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises a `ValueError` that names the file if it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {reason_of(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} does not hold a JSON object")
    return content


def _entries(place: Path, deep: bool) -> Iterator[Path]:
    """Files, links and folders; links to folders are not followed."""
    for parent, folders, files in os.walk(place):
        yield from (Path(parent, name) for name in sorted([*folders, *files]))
        if not deep:
            return


def _check_index_of_shards(path: Path) -> None:
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict):
        raise ValueError(f"{str(path)!r} has no `weight_map` that says where each weight is")
    for shard in shards.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise ValueError(_not_plain(path, shard))


def _is_plain(name: str) -> bool:
    return bool(_SHARD.fullmatch(name.removesuffix(".index.json")))


def _not_plain(path: Path, name: Any) -> str:
    shown = one_line(repr(name))
    return f"{str(path)!r} names the weights {shown}; wanted the name of a .safetensors file in the same folder"
