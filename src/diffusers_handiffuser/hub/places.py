"""What a name can mean: a folder of this machine, or an id on the Hub, and whether the Hub can be asked for it."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from ..utils.messages import reason_of

_PATIENCE = 10
"""Seconds."""


def looks_like_a_path(name: str) -> bool:
    """Whether a name can only be meant as a path: it could be no Hub id."""
    if name.startswith((".", "~", os.sep)) or "\\" in name or not name:
        return True
    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    return False


def refuse_absent(name: str, what: str, **where: Any) -> None:
    """Refuses the name of a model or pipeline that is neither a folder nor, as far as can be known, on the Hub.

    Args:
        name (`str`): a folder or a Hub id.
        what (`str`): the beginning of the message.
        where: options of loading; `cache_dir`, `token` and `local_files_only` are heeded.

    Raises:
        OSError: there is no such folder, and it can be no Hub id, or the Hub cannot be reached.
    """
    if os.path.isdir(name):
        return
    if os.path.exists(name):
        raise OSError(f"{what}: {name!r} is a file; wanted a folder or a Hub id.")
    if looks_like_a_path(name):
        raise OSError(f"{what}: there is no folder {name!r} here; wanted a folder or a Hub id.")
    if where.get("local_files_only"):
        return
    if reason := hub_unreachable(name, cache_dir=where.get("cache_dir"), token=where.get("token")):
        raise OSError(f"{what}: there is no folder {name!r} here, and the Hub cannot be reached: {reason}.")


def hub_unreachable(
    name: str, repo_type: str = "model", cache_dir: str | os.PathLike | None = None, token: str | bool | None = None
) -> str | None:
    """Why the Hub cannot be asked for what this machine has nothing of; `None` if that is not known.

    Without a network huggingface_hub asks six times for every file, in half a minute. This asks once, and not at all
    in offline mode or if the cache holds something under this id.

    Args:
        name (`str`): a Hub id.
        repo_type (`str`): `"model"` or `"dataset"`.
        cache_dir (`str` or `os.PathLike`, *optional*): else huggingface_hub's.
        token (`str` or `bool`, *optional*): else the stored one.
    """
    folder = repo_folder_name(repo_id=name, repo_type=repo_type)
    if constants.HF_HUB_OFFLINE or Path(cache_dir or constants.HF_HUB_CACHE, folder).is_dir():
        return None
    try:
        HfApi().repo_info(name, repo_type=repo_type, timeout=_PATIENCE, token=token)
    except HfHubHTTPError:
        return None  # it has answered
    except (OSError, HTTPError) as error:
        return reason_of(error)
    return None
