"""Uploading to the Hugging Face Hub, and what must never be uploaded: arrays of a licensed body model."""

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
from ..utils.typing import MixinBase
from .licensed_bodies import refuse_licensed_bodies
from .model_card import CARD_FILE, write_model_card
from .uploads import files_to_upload

logger = logging.get_logger(__name__)

_PUSH_ARGUMENTS = ("repo_id", "commit_message", "private", "token", "create_pr", "revision")
_UNPORTABLE = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""In the name of a folder: what Windows does not take, or takes for something else."""


class PushMixin(MixinBase):
    """Saving and uploading of this package's models and pipelines; stands before diffusers' classes in the bases."""

    _saves_card = False
    """Whether a saved folder holds a model card in any case, or only if it is pushed or facts for one are given."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        *args: Any,
        push_to_hub: bool = False,
        card: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """As in diffusers, with a model card of our own where one is written.

        What the folder holds is replaced when all is written: a full disk leaves the old files whole.

        Args:
            save_directory (`str` or `os.PathLike`): made if absent.
            push_to_hub (`bool`): uploads the folder too; `repo_id` (else the folder's name), `commit_message`,
                `private`, `token`, `create_pr` and `revision` are those of the method `push_to_hub`.
            card (`Mapping[str, str]`, *optional*): facts that the card is to tell, see `model_card.CARD_FACTS`.
            kwargs: those of diffusers. `safe_serialization=False` warns, and saves safetensors all the same.
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

    # Shows the arguments of diffusers' method: pipelines pass `variant` to components that show it.
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
        """As in diffusers, with a model card of our own. What the repository already holds is not sent again.

        Args:
            repo_id (`str`): made if absent.
            commit_message, private, token, create_pr, safe_serialization, variant, subfolder: as in diffusers. With a
                `subfolder`, too, the card belongs to the repository and stands at its top.
            revision (`str`, *optional*): the branch to write to, made if absent. With `create_pr` what it starts from.
            max_shard_size (`int` or `str`, *optional*): as in `save_pretrained`.
            card (`Mapping[str, str]`, *optional*): facts for the model card, see `model_card.CARD_FACTS`. A README.md
                that the repository holds stays as it is.

        Raises:
            OSError: the Hub refuses or cannot be reached; pushing again goes on where this upload ended.
            ValueError: the upload would hold arrays of a licensed body, or `repo_id` or `subfolder` cannot be a name.
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
        """Writes all files but the card. `repo_id` is where they will be uploaded, if that is known."""
        super().save_pretrained(folder, *args, **kwargs)

    def _described_by_card(self) -> Any:
        """The model or pipeline that the card of this one speaks of."""
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
        """What diffusers calls to upload, as in `save_config(..., push_to_hub=True)`: no upload goes around ours."""
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
    """Uploads a folder as one commit; the arguments are those of `PushMixin.push_to_hub`.

    Large files go first, by content: an upload that failed, at whatever point, is gone on with by pushing again. What
    a trainer leaves beside its result (checkpoints to resume from, samples, its log) stays here, and so does a card
    that would stand in a `subfolder`: the Hub reads the one at the top. So does, with a warning, what has a name that
    begins with a dot (`.env`, `.ssh`), but for `.gitattributes` and `.gitignore`. Links out of the folder are refused,
    but for those of huggingface_hub's cache to its own files.

    Args:
        keep_card (`bool`): leave a README.md alone that the repository holds.
        include (collection of `str`): files and folders inside whose names begin with a dot, to be sent all the same:
            their paths from the folder, with `/`.
        hard_links (`bool`): send files that have another name outside of the folder, too, which are else refused.

    Raises:
        OSError: the Hub refuses or cannot be reached, or a file changed meanwhile.
        ValueError: the upload would hold arrays of a licensed body, a link out of the folder, or something that is no
            file; or `repo_id` or `subfolder` cannot be a name.
    """
    _check_repo_id(repo_id)
    _check_subfolder(subfolder)
    files, left_out = files_to_upload(folder, include, hard_links)
    if left_out:
        logger.warning(
            f"Not uploaded: {', '.join(left_out)}. Names that begin with a dot are sent if `include` (--include) has "
            "them, and what is in a folder that is a link is not."
        )
    stamps = {name: _stamp(path) for name, path in files.items()}
    refuse_licensed_bodies(files)
    try:
        place = PurePosixPath(subfolder or "")
        additions = {
            name: CommitOperationAdd(path_in_repo=str(place / name), path_or_fileobj=os.path.abspath(path))
            for name, path in files.items()
        }  # of which each has the SHA-256 now that will be sent
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
    except (HTTPError, OfflineModeIsEnabled, RuntimeError, ValueError) as error:  # RuntimeError: one of the files
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise OSError(f"Cannot push to {repo_id!r}; what was sent is kept for the next attempt: {reason}") from error


def check_upload(folder: str | os.PathLike, include: Collection[str] = (), hard_links: bool = False) -> None:
    """Raises the `ValueError` with which `push_folder` would refuse the files of a folder, and sends nothing."""
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
"""What diffusers and transformers write into configs about the loading."""


def strip_load_paths(folder: Path) -> None:
    """Removes from the saved configs of a component that is not ours where and how that component was loaded."""
    for path in folder.glob("*config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in _ORIGIN}
        if kept != config:
            write_json(path, kept)


def reset_tokenizer_padding(component: Any) -> None:
    """Every call of a tokenizer sets its truncation and padding anew, but its file would tell of the last one."""
    backend = getattr(component, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class SavingMixin(PushMixin):
    """Keeps the place where a model was loaded from (`_name_or_path`, often a path on this machine) out of its files.

    `config._name_or_path` itself stays as diffusers sets it. Mix in before `ModelMixin` or `DiffusionPipeline`.
    """

    def to_json_string(self) -> str:
        """The config as `save_pretrained` writes it."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"
