"""Saving models and pipelines, and uploading them to the Hugging Face Hub without arrays of a licensed body."""

import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from diffusers import ModelMixin
from diffusers.utils import logging
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    create_branch,
    create_commit,
    create_repo,
    file_exists,
)
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from ..utils.atomic_files import atomic_write, atomic_write_dir
from ..utils.messages import one_line_of
from ..utils.typing import MixinBase
from .licensed_bodies import refuse_licensed_bodies
from .model_card import CARD_FILE, write_model_card
from .uploads import files_to_upload

logger = logging.get_logger(__name__)

_PUSH_ARGUMENTS = ("repo_id", "commit_message", "private", "token", "create_pr", "revision")
_UNPORTABLE = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""Folder names that Windows refuses or treats specially."""


class PushMixin(MixinBase):
    """Saving and uploading of this package's models and pipelines. Mix in before diffusers' classes."""

    _saves_card = False
    """Whether every saved folder gets a model card, or only one that is pushed or for which facts are given."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *args: Any,
        push_to_hub: bool = False,
        card: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """As in diffusers, with our own model card if one is written.

        Existing files are replaced after everything is written: a full disk leaves them intact.

        Args:
            save_directory (`str` or `os.PathLike`): created if it does not exist.
            args: those of diffusers.
            push_to_hub (`bool`): upload the folder too; `repo_id` (else the folder's name), `commit_message`,
                `private`, `token`, `create_pr` and `revision` are those of the method `push_to_hub`.
            card (`Mapping[str, str]`, *optional*): facts for the card, see `model_card.CARD_FACTS`.
            kwargs: those of diffusers. `safe_serialization=False` warns, and still saves safetensors.
        """
        folder = os.fspath(save_directory)
        upload = {name: kwargs.pop(name) for name in _PUSH_ARGUMENTS if name in kwargs}
        repo_id = upload.pop("repo_id", os.path.basename(os.path.normpath(folder)) if push_to_hub else None)
        if push_to_hub:
            _check_repo_id(repo_id)
        if kwargs.get("safe_serialization") is False:
            logger.warning(
                "`safe_serialization=False` asks for pickles, which are not read here: safetensors are saved."
            )
            kwargs["safe_serialization"] = True
        with atomic_write_dir(folder) as temporary:
            has_card = Path(folder, CARD_FILE).exists()
            if (push_to_hub or card is not None or self._saves_card) and not has_card:
                facts = {**({"name": repo_id} if push_to_hub else {}), **(card or {})}
                write_model_card(temporary, self._described_by_card(), facts)
            self._save(os.fspath(temporary), repo_id, *args, **kwargs)
        if push_to_hub:
            upload.setdefault("commit_message", f"Upload {type(self).__name__}")
            push_folder(folder, repo_id, keep_card=True, **upload)

    # The signature of diffusers' method: pipelines pass `variant` to components whose signature has it.
    save_pretrained.__wrapped__ = ModelMixin.save_pretrained  # type: ignore[attr-defined]

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
        """As in diffusers, with our own model card. Files that the repository already holds are not sent again.

        Args:
            repo_id (`str`): created if it does not exist.
            commit_message (`str`, *optional*): as in diffusers.
            private (`bool`, *optional*): as in diffusers.
            token (`str`, *optional*): as in diffusers.
            create_pr (`bool`): as in diffusers.
            safe_serialization (`bool`): as in `save_pretrained`.
            variant (`str`, *optional*): as in diffusers.
            subfolder (`str`, *optional*): as in diffusers. The card is the repository's and stays at its top.
            revision (`str`, *optional*): the branch to write to, created if it does not exist; with `create_pr`, the
                one that the pull request is for.
            max_shard_size (`int` or `str`, *optional*): as in `save_pretrained`.
            card (`Mapping[str, str]`, *optional*): facts for the model card, see `model_card.CARD_FACTS`. A README.md
                that the repository already has is kept.

        Raises:
            OSError: the Hub refuses or cannot be reached; pushing again resumes this upload.
            ValueError: the upload would hold arrays of a licensed body, or `repo_id` or `subfolder` is not a valid
                name.
        """
        _check_repo_id(repo_id)
        _check_subfolder(subfolder)
        sizes: dict[str, Any] = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        with tempfile.TemporaryDirectory() as root:
            write_model_card(root, self._described_by_card(), {"name": repo_id, **(card or {})}, subfolder)
            folder = Path(root, subfolder or "")
            self.save_pretrained(
                folder, repo_id=repo_id, safe_serialization=safe_serialization, variant=variant, **sizes
            )
            if subfolder:
                (folder / CARD_FILE).unlink(missing_ok=True)
            return push_folder(
                root,
                repo_id,
                commit_message=commit_message or f"Upload {type(self).__name__}",
                private=private,
                token=token,
                create_pr=create_pr,
                revision=revision,
                keep_card=True,
            )

    def _save(self, folder: str, repo_id: str | None, *args: Any, **kwargs: Any) -> None:
        """Writes all files except the card; `repo_id` is where they will be uploaded, if known."""
        super().save_pretrained(folder, *args, **kwargs)

    def _described_by_card(self) -> Any:
        """The model or pipeline that the card describes."""
        return self

    def _upload_folder(
        self,
        working_dir: str | os.PathLike,
        repo_id: str,
        token: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        subfolder: str | None = None,
    ) -> CommitInfo:
        """The hook of diffusers for uploads, as in `save_config(..., push_to_hub=True)`: these are checked as well."""
        return push_folder(
            working_dir,
            repo_id,
            commit_message=commit_message or f"Upload {type(self).__name__}",
            token=token,
            create_pr=create_pr,
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
    include: Collection[str] = (),
    hard_links: bool = False,
) -> CommitInfo:
    """Uploads a folder as one commit.

    Large files go first, by content, so pushing again resumes an upload that failed at any point. A trainer's
    by-products (checkpoints to resume from, samples, its log) are not sent, nor is the card of a `subfolder`, as the
    Hub reads the one at the top. Names that begin with a dot (`.env`, `.ssh`), except `.gitattributes` and
    `.gitignore`, are left out with a warning. Links out of the folder are refused, except those of huggingface_hub's
    cache to its own files.

    Args:
        folder (`str` or `os.PathLike`): the folder.
        repo_id (`str`): created if it does not exist.
        commit_message (`str`, *optional*): as in `PushMixin.push_to_hub`.
        private (`bool`, *optional*): as in `PushMixin.push_to_hub`.
        token (`str`, *optional*): as in `PushMixin.push_to_hub`.
        create_pr (`bool`): as in `PushMixin.push_to_hub`.
        revision (`str`, *optional*): as in `PushMixin.push_to_hub`.
        subfolder (`str`, *optional*): as in `PushMixin.push_to_hub`.
        keep_card (`bool`): keep a README.md that the repository already has.
        include (collection of `str`): files and folders to send although their names begin with a dot, as paths from
            the folder with `/`.
        hard_links (`bool`): also send files that have another name outside the folder, which are refused otherwise.

    Raises:
        OSError: the Hub refuses or cannot be reached, or a file changed meanwhile.
        ValueError: the upload would hold arrays of a licensed body, a link out of the folder or a special file, or
            `repo_id` or `subfolder` is not a valid name.
    """
    _check_repo_id(repo_id)
    _check_subfolder(subfolder)
    files, left_out = files_to_upload(folder, include, hard_links)
    if left_out:
        logger.warning(
            f"Not uploaded: {', '.join(left_out)}. Names that begin with a dot are sent if `include` (--include) "
            "lists them; linked folders are never sent."
        )
    stamps = {name: _stamp(path) for name, path in files.items()}
    refuse_licensed_bodies(files)
    try:
        place = PurePosixPath(subfolder or "")
        additions = {
            name: CommitOperationAdd(path_in_repo=str(place / name), path_or_fileobj=os.path.abspath(path))
            for name, path in files.items()
        }  # each now has the SHA-256 of what will be sent
        for name, path in files.items():
            if _stamp(path) != stamps[name]:
                raise ValueError(f"{name!r} changed while it was read; push again when nothing writes to the folder")
        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        if revision not in (None, "main") and not create_pr:
            create_branch(repo_id, branch=revision, token=token, exist_ok=True)
        if subfolder or (keep_card and file_exists(repo_id, CARD_FILE, revision=revision, token=token)):
            additions.pop(CARD_FILE, None)
        return create_commit(
            repo_id,
            additions.values(),
            commit_message=commit_message or "Upload HanDiffuser pipeline",
            token=token,
            create_pr=create_pr,
            revision=revision,
        )
    except (HTTPError, OfflineModeIsEnabled, RuntimeError, ValueError) as error:  # RuntimeError: a file cannot be sent
        reason = " ".join(one_line_of(part) for part in (error, error.__cause__) if part is not None)
        raise OSError(f"Cannot push to {repo_id!r}; what was sent is kept for the next attempt: {reason}") from error


def check_upload(folder: str | os.PathLike, include: Collection[str] = (), hard_links: bool = False) -> None:
    """Raises the `ValueError` with which `push_folder` would refuse the folder; sends nothing."""
    refuse_licensed_bodies(files_to_upload(folder, include, hard_links)[0])


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_repo_id(repo_id: Any) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"`repo_id` must be a name on the Hub, got {repo_id!r}: {error}") from None


def _check_subfolder(subfolder: Any) -> None:
    if subfolder is None:
        return
    if not isinstance(subfolder, str):
        raise TypeError(f"`subfolder` must be a str, got {type(subfolder).__name__}.")
    place = PurePosixPath(subfolder)
    if place.is_absolute() or any(part == ".." or _UNPORTABLE.search(part) for part in place.parts):
        raise ValueError(
            "`subfolder` must be a folder within the repository, names that every system takes with `/` between them, "
            f"got {subfolder!r}."
        )


_ORIGIN = ("_name_or_path", "is_local", "local_files_only")
"""Config keys in which diffusers and transformers record where a model was loaded from."""


def strip_load_paths(folder: Path) -> None:
    """Removes the keys of `_ORIGIN` from the saved configs of a component that is not ours."""
    for path in folder.glob("*config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in _ORIGIN}
        if kept != config:
            write_json(path, kept)


def reset_tokenizer_padding(component: Any) -> None:
    """Resets truncation and padding: otherwise the saved tokenizer records its last call."""
    backend = getattr(component, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def write_json(path: Path, content: dict) -> None:
    """Writes JSON with sorted keys, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class SavingMixin(PushMixin):
    """Keeps `_name_or_path`, often a path on this machine, out of saved configs.

    `config._name_or_path` itself stays as diffusers sets it. Mix in before `ModelMixin` or `DiffusionPipeline`.
    """

    def to_json_string(self) -> str:
        """The config as `save_pretrained` writes it."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"
