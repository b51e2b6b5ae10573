"""Offline loading, and hints about the variants that exist locally."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache

_WEIGHTS = re.compile(r"[^.]+?(?:\.(?P<variant>[^.]+?))?(?:-\d+-of-\d+)?\.safetensors")


def heed_offline_mode(options: Mapping[str, Any]) -> dict[str, Any]:
    """Loading options, with `local_files_only` set if huggingface_hub is offline.

    Without it, diffusers asks the Hub for a model's shards even if all of them are cached.
    """
    return {**options, "local_files_only": True} if constants.HF_HUB_OFFLINE else dict(options)


def weights_instead(name: str, file: str, options: Mapping[str, Any]) -> str:
    """The end of a message about missing weights: the variants that exist, or nothing without any.

    Args:
        name (`str`): a folder, or a Hub id whose cache is searched.
        file (`str`): a file of the model or pipeline, in the same folder as its weights or components.
        options (`dict`): loading options.
    """
    path: Any = os.path.join(name, file)
    if not os.path.isdir(name):
        where = {key: options[key] for key in ("cache_dir", "revision") if options.get(key) is not None}
        path = try_to_load_from_cache(name, file, **where)
    if not isinstance(path, str):
        return ""
    weights = [*Path(path).parent.glob("*.safetensors"), *Path(path).parent.glob("*/*.safetensors")]
    found = [match["variant"] for match in map(_WEIGHTS.fullmatch, sorted(path.name for path in weights)) if match]
    if not found or options.get("variant") in found:
        return ""
    return f"; there are weights for {' and '.join(f'variant={variant!r}' for variant in dict.fromkeys(found))}"
