"""Data sets: one format for both stages, with readers, writers, importers, checks and curation.

`rows` defines the format of a row, `sources` lists where rows may be stored. `open_dataset` gives random access,
`stream_dataset` reads in order without holding the rows in memory. `importers` convert the output of other tools to
rows. Everything is imported on first use; only shards, streaming and the Hub need Hugging Face `datasets`.
"""

import importlib
from typing import Any

_MODULES = {
    "HandDataset": "dataset",
    "HandRow": "rows",
    "HandStream": "stream",
    "Picture": "rows",
    "RowError": "rows",
    "check_dataset": "checking",
    "crop_row": "cropping",
    "curate": "curation",
    "find_shards": "sources",
    "hand_features": "rows",
    "importers": "importers",
    "mirror_row": "cropping",
    "open_dataset": "dataset",
    "parse_row": "rows",
    "stack_hand_params": "rows",
    "stream_dataset": "stream",
    "swap_sides": "captions",
    "write_dataset": "writing",
    "write_row": "rows",
}

__all__ = ["HAND_FEATURES", *_MODULES]


def __getattr__(name: str) -> Any:
    if name == "HAND_FEATURES":
        return __getattr__("hand_features")()
    if name in _MODULES:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        return module if _MODULES[name] == name else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
