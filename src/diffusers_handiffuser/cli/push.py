"""`handiffuser push`."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..pipelines import HanDiffuserPipeline


def add_push_command(commands: Any) -> argparse.ArgumentParser:
    """Adds `push` to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "push",
        help="upload a checkpoint to the Hugging Face Hub",
        description="Uploads a saved pipeline as one commit, after checking that it loads and holds no licensed body. "
        "Writes a model card (README.md) into DIR if there is none. After a failure, run it again: what the Hub has "
        "already is not sent twice.",
    )
    parser.add_argument("folder", metavar="DIR", help="what `save_pretrained` or a trainer wrote")
    parser.add_argument("repo", metavar="REPO", help='"user/name"; made if absent')
    parser.add_argument("--private", action="store_true", help="make it private, if it is made")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    parser.add_argument("--revision", metavar="BRANCH", help="where to commit; made if absent (default: main)")
    parser.add_argument("--commit-message", metavar="TEXT")
    parser.add_argument(
        "--include",
        metavar="PATH",
        action="append",
        default=[],
        help="a file or folder inside DIR whose name begins with a dot, such as .env, which is else left out",
    )
    parser.add_argument(
        "--hard-links",
        action="store_true",
        help="upload files that have another name outside DIR, which is else refused",
    )
    parser.set_defaults(run=_push)
    return parser


def _push(args: argparse.Namespace) -> None:
    from ..hub.model_card import CARD_FILE, write_model_card
    from ..hub.saving import check_upload, push_folder

    if not os.path.isdir(args.folder):
        raise OSError(f"DIR must be a saved pipeline, but there is no folder {args.folder!r}")
    check_upload(args.folder, args.include, args.hard_links)
    pipe = _load(Path(args.folder))
    if not Path(args.folder, CARD_FILE).exists():
        write_model_card(args.folder, pipe, {"name": args.repo})
        print(f"wrote {Path(args.folder, CARD_FILE)}: fill in what is not given there", file=sys.stderr)
    commit = push_folder(
        args.folder,
        args.repo,
        commit_message=args.commit_message,
        private=args.private or None,
        create_pr=args.create_pr,
        revision=args.revision,
        include=args.include,
        hard_links=args.hard_links,
    )
    print(commit.pr_url or commit.repo_url)


def _load(folder: Path) -> "HanDiffuserPipeline":
    """The pipeline in the folder: nobody could use one that does not load, or whose weights are not finite."""
    from .. import HanDiffuserPipeline
    from ..utils.command_line import hide_loading_bars

    hide_loading_bars()
    body = folder / "body_model" / "config.json"
    licensed = body.is_file() and json.loads(body.read_text(encoding="utf-8")).get("licensed")
    without: dict[str, Any] = {"body_model": None} if licensed else {}
    return HanDiffuserPipeline.from_pretrained(folder, **without)
