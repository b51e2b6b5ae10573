"""Checks the files that a data set card lists, before Hugging Face `datasets` opens them.

A card (the head of `README.md`, or `.huggingface.yaml`) may list the files of each configuration. `datasets` opens
them through fsspec, on this machine or elsewhere; here only paths inside the data set are accepted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import DatasetCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError, LocalEntryNotFoundError

from ..utils.contained_paths import refuse_outside
from .stored_paths import check_stored_path

_CARDS = ("README.md", ".huggingface.yaml")
_MAX_CARD_BYTES = 2**24
_MAX_FILES = 100_000


def refuse_data_files_elsewhere(name_or_path: str | Path, revision: str | None = None) -> None:
    """Raises a `ValueError` if the card names files outside its data set.

    Args:
        name_or_path (`str` or `Path`): a folder, or the name of a data set on the Hub.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
    """
    for name in _CARDS:
        if (card := _card_file(name_or_path, name, revision)) is None:
            continue
        if card.stat().st_size > _MAX_CARD_BYTES:
            raise ValueError(f"{name} of {name_or_path} has more than {_MAX_CARD_BYTES} bytes")
        for number, path in enumerate(_file_names(card.read_text(encoding="utf-8", errors="replace"), name)):
            try:
                if number == _MAX_FILES:
                    raise ValueError(f"are more than {_MAX_FILES}")
                check_stored_path(path)
            except ValueError as error:
                raise ValueError(f"{name_or_path}: a data file that its {name} names {error}") from None


def _card_file(name_or_path: str | Path, name: str, revision: str | None) -> Path | None:
    folder = Path(name_or_path)
    if folder.is_dir():
        if (folder / name).is_file():
            refuse_outside(folder / name, folder)
            return folder / name
        return None
    try:
        return Path(hf_hub_download(str(name_or_path), name, repo_type="dataset", revision=revision))
    except (EntryNotFoundError, LocalEntryNotFoundError, HFValidationError, HTTPError, OSError):
        return None  # `datasets` will raise the error


def _file_names(text: str, name: str) -> Iterator[str]:
    """All `data_files` and `data_dir` of the configurations, parsed as `datasets` parses them."""
    try:
        content = DatasetCard(text).data if name == "README.md" else yaml.safe_load(text) or {}
        configs = content.get("configs")
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return  # `datasets` cannot parse it either and will raise the error
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            yield from _texts([config.get("data_files"), config.get("data_dir")])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name != "split":
                yield from _texts(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _texts(inner)
