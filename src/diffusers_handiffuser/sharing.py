"""Uploading to the Hugging Face Hub, and what must never be uploaded: arrays of a licensed body model."""

import json
import mmap
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import CommitInfo, create_branch, create_repo, file_exists, upload_folder
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open

from .model_card import CARD_FILE, write_model_card

_ARRAY_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy", ".pkl", ".msgpack", ".h5")
_NOT_FOR_THE_HUB = ("checkpoint-*/**", "samples/**", "log.jsonl", ".cache/**")
_BODY_FILE_NAME = re.compile(r"(^|[^a-z])(smpl|mano)(h|x|\+h)?($|[^a-z])", re.IGNORECASE)
_BODY_ARRAYS = ({"v_template", "shapedirs"}, {"v_template", "J_regressor"})


class PushMixin:
    """`push_to_hub` for this package's models and pipelines; stands before diffusers' classes in the bases."""

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        max_shard_size: int | str | None = None,
        card: Mapping[str, str] | None = None,
    ) -> CommitInfo:
        """As in diffusers, with a model card of our own. What the repository already holds is not sent again.

        Args:
            repo_id (`str`): made if absent.
            commit_message, private, token, create_pr, safe_serialization, variant, subfolder: as in diffusers.
            revision (`str`, *optional*): the branch to write to, made if absent. With `create_pr` what it starts from.
            max_shard_size (`int` or `str`, *optional*): as in `save_pretrained`.
            card (`Mapping[str, str]`, *optional*): facts for the model card, see `model_card.CARD_FACTS`. A README.md
                that the repository holds stays as it is.

        Raises:
            OSError: the Hub refuses or cannot be reached; pushing again goes on where this upload ended.
            ValueError: the upload would hold arrays of a licensed body, or `repo_id` cannot be a name.
        """
        _check_repo_id(repo_id)
        sizes = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        with tempfile.TemporaryDirectory() as folder:
            if not subfolder:
                write_model_card(folder, self, {"name": repo_id, **(card or {})})
            self.save_pretrained(folder, safe_serialization=safe_serialization, variant=variant, **sizes)
            return push_folder(
                folder,
                repo_id,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                private=private,
                token=token,
                create_pr=create_pr,
                revision=revision,
                subfolder=subfolder,
                keep_card=True,
            )


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    subfolder: str | None = None,
    keep_card: bool = False,
) -> CommitInfo:
    """Uploads a folder as one commit; the arguments are those of `PushMixin.push_to_hub`.

    Large files go first, by content: an upload that failed, at whatever point, is gone on with by pushing again. What
    a trainer leaves beside its result (checkpoints to resume from, samples, its log) stays here.

    Args:
        keep_card (`bool`): leave a README.md alone that the repository holds.
    """
    _check_repo_id(repo_id)
    refuse_licensed_arrays(folder)
    try:
        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        if revision not in (None, "main") and not create_pr:
            create_branch(repo_id, branch=revision, token=token, exist_ok=True)
        keep_card = keep_card and file_exists(repo_id, CARD_FILE, revision=revision, token=token)
        return upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            path_in_repo=subfolder,
            commit_message=commit_message or "Upload HanDiffuser pipeline",
            token=token,
            create_pr=create_pr,
            revision=revision,
            ignore_patterns=[*_NOT_FOR_THE_HUB, *([CARD_FILE] if keep_card else [])],
        )
    except (HTTPError, OfflineModeIsEnabled, RuntimeError, ValueError) as error:  # RuntimeError: one of the files
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise OSError(f"Cannot push to {repo_id!r}; what was sent is kept for the next attempt: {reason}") from error


def refuse_licensed_arrays(folder: str | os.PathLike) -> None:
    """Raises a `ValueError` that names the first file with a body model that may not be passed on."""
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() not in _ARRAY_SUFFIXES or not path.is_file():
            continue
        reason = _why_licensed(path)
        if reason:
            raise ValueError(
                f"{str(path.relative_to(folder))!r} {reason}; a licensed body must not be uploaded. "
                "`save_pretrained` stores its SHA-256 only."
            )


def _why_licensed(path: Path) -> str | None:
    config = path.with_name("config.json")
    if config.is_file():
        try:
            content = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{str(config)!r} is not JSON: {error}") from error
        if isinstance(content, dict) and content.get("licensed"):
            return "stands beside a config that says `licensed`"
    if _BODY_FILE_NAME.search(path.stem):
        return "has the name of an SMPL or MANO file"
    if any(arrays <= _array_names(path) for arrays in _BODY_ARRAYS):
        return "holds the arrays of an SMPL-H file"
    return None


def _array_names(path: Path) -> set[str]:
    """Names of the arrays in a file, read without loading or running anything.

    In pickles and other formats they stand as they are: of those, the names that an SMPL-H file has.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                return set(file.keys())
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return set(file.files)
        if path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return {name for names in _BODY_ARRAYS for name in names if content.find(name.encode()) >= 0}
    except (SafetensorError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error
    return set()


def _check_repo_id(repo_id: Any) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"`repo_id` must be a name on the Hub, got {repo_id!r}: {error}") from None
