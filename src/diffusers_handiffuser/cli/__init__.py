"""The `handiffuser` command: pictures and hands from a prompt, studio data sets, measurements, and uploads of
checkpoints."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.atomic_files import atomic_write, refuse_special_file
from ..utils.command_line import add_dtype_option, choose_device, hide_loading_bars, one_line
from .data import add_data_commands
from .evaluate import add_evaluate_command

if TYPE_CHECKING:
    import torch

    from ..hands import HandParams
    from ..pipelines import HanDiffuserPipeline

_PICTURE_FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")
_HANDS_FORMATS = (".safetensors", ".json", ".obj", ".glb", ".png")
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError)
"""What bad input raises; shown as one line, where anything else is a fault of ours and keeps its traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 if a check found something, 2 after an error of one line."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except _USER_ERRORS as error:
        if args.debug:
            raise
        print(f"handiffuser: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("handiffuser: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="handiffuser",
        description="Text to pictures whose hands are right: first the hands in 3D, then a picture of them.",
        epilog='Example: handiffuser generate "a right hand making a peace sign" -o peace.png',
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    generate = commands.add_parser(
        "generate",
        help="a picture from a prompt",
        description="Samples hands for a prompt and draws a picture of them. Writes the picture, the hands "
        "(X.hands.safetensors) and a preview (X.preview.png): the picture, the 3D hands, and the 2D skeleton over it.",
    )
    generate.add_argument("prompt", help="what to draw")
    generate.add_argument("-o", "--output", required=True, metavar="X.png", help="where to save the picture")
    generate.add_argument("--negative-prompt", metavar="TEXT", help="what not to draw")
    generate.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the checkpoint's)")
    generate.add_argument("--guidance-scale", type=float, metavar="W", help="how closely to follow the prompt")
    generate.add_argument("--scheduler", metavar="NAME", help='one of diffusers, such as "EulerDiscrete" or "DDIM"')
    generate.add_argument("--num-images", type=int, default=1, metavar="N", help="as X_0.png, X_1.png and so on")
    hands = generate.add_mutually_exclusive_group()
    hands.add_argument("--hands", metavar="FILE", help="draw these (.safetensors, .json) instead of sampled hands")
    hands.add_argument("--no-hands", action="store_true", help="leave the hands out: plain Stable Diffusion")
    _add_sampling_options(generate)
    generate.set_defaults(run=_generate)

    sample = commands.add_parser(
        "hands",
        help="3D hands from a prompt",
        description="Samples hands for a prompt, the first stage alone. The suffix of FILE says what is written: "
        "parameters (.safetensors, .json), a mesh (.obj, .glb) or a preview (.png).",
    )
    sample.add_argument("prompt", help="what the hands do")
    sample.add_argument("-o", "--output", required=True, metavar="FILE", help=f"one of {', '.join(_HANDS_FORMATS)}")
    _add_sampling_options(sample)
    sample.set_defaults(run=_hands)

    data = commands.add_parser("data", help="data sets", description="Makes, checks and curates data sets.")
    tasks = data.add_subparsers(title="tasks", metavar="TASK", required=True)
    make = tasks.add_parser(
        "make",
        help="draw a studio data set",
        description="Draws pictures of hands, with captions and exact parameters, into a folder for the trainers.",
    )
    make.add_argument("folder", metavar="DIR", help="made if absent; must not hold a data set yet")
    make.add_argument("--num", type=int, required=True, metavar="N", help="how many rows")
    make.add_argument("--split", choices=("train", "test"), default="train", help="test: combinations never in train")
    make.add_argument("--seed", type=int, default=0, metavar="S")
    make.add_argument("--size", type=int, default=128, metavar="PX", help="pixels per side (default: 128)")
    make.add_argument("--no-images", action="store_true", help="captions and parameters only, for the first stage")
    make.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    make.add_argument("--device", default="cpu", help='what draws: "cpu" (default) or "cuda"')
    make.set_defaults(run=_data_make)
    data_tasks = [make, *add_data_commands(tasks)]

    evaluate = add_evaluate_command(commands)

    push = commands.add_parser(
        "push",
        help="upload a checkpoint to the Hugging Face Hub",
        description="Uploads a saved pipeline as one commit, after checking that it loads and holds no licensed body. "
        "Writes a model card (README.md) into DIR if there is none. After a failure, run it again: what the Hub has "
        "already is not sent twice.",
    )
    push.add_argument("folder", metavar="DIR", help="what `save_pretrained` or a trainer wrote")
    push.add_argument("repo", metavar="REPO", help='"user/name"; made if absent')
    push.add_argument("--private", action="store_true", help="make it private, if it is made")
    push.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    push.add_argument("--revision", metavar="BRANCH", help="where to commit; made if absent (default: main)")
    push.add_argument("--commit-message", metavar="TEXT")
    push.add_argument(
        "--include",
        metavar="PATH",
        action="append",
        default=[],
        help="a file or folder inside DIR whose name begins with a dot, such as .env, which is else left out",
    )
    push.add_argument(
        "--hard-links",
        action="store_true",
        help="upload files that have another name outside DIR, which is else refused",
    )
    push.set_defaults(run=_push)

    for command in (generate, sample, *data_tasks, evaluate, push):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _version() -> str:
    """Of the installed package; importing it here would make `--help` wait for torch."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("diffusers_handiffuser")
    except PackageNotFoundError:
        return "(not installed)"


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hand-steps", type=int, metavar="N", help="denoising steps of the hands")
    parser.add_argument("--hand-guidance-scale", type=float, metavar="W", help="how closely the hands follow it")
    parser.add_argument("--seed", type=int, metavar="S", help="same seed, same result; image i of several uses S + i")
    parser.add_argument("--model", metavar="PATH_OR_HUB_ID", help="a checkpoint (default: the one in the package)")
    parser.add_argument("--device", help='"cpu", "cuda", ... (default: cuda if there is one)')
    add_dtype_option(parser)


def _generate(args: argparse.Namespace) -> None:
    output = _output_path(args.output, _PICTURE_FORMATS)
    from ..hands import HandParams

    if args.num_images < 1:
        raise ValueError(f"--num-images must be at least 1, got {args.num_images}")
    hands = None if args.hands is None else _rows(HandParams.load(args.hands), args.num_images)
    pipe = _load_pipeline(args)
    if args.scheduler is not None:
        pipe.scheduler = _scheduler(pipe, args.scheduler)
    result = pipe(
        args.prompt,
        negative_prompt=args.negative_prompt,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        num_hand_inference_steps=args.hand_steps,
        hand_guidance_scale=args.hand_guidance_scale,
        num_images_per_prompt=args.num_images,
        hand_params=hands,
        hand_conditioning_scale=0.0 if args.no_hands else 1.0,
        generator=_generators(args, args.num_images),
    )
    paths = [output]
    if args.num_images > 1:
        paths = [output.with_name(f"{output.stem}_{i}{output.suffix}") for i in range(args.num_images)]
    for path, image in zip(paths, result.images, strict=True):
        _write(path, image.save)
    if result.hand_params is not None:
        from ..rendering.drawing import draw_preview

        hands_path = output.with_name(f"{output.stem}.hands.safetensors")
        preview_path = output.with_name(f"{output.stem}.preview.png")
        result.hand_params.save(hands_path)
        _write(preview_path, draw_preview(result.images, result.hand_params, pipe.body_model).save)
        paths += [hands_path, preview_path]
    print("\n".join(map(str, paths)))


def _hands(args: argparse.Namespace) -> None:
    output = _output_path(args.output, _HANDS_FORMATS)
    pipe = _load_pipeline(args)
    hands = pipe.sample_hand_params(
        args.prompt,
        num_hand_inference_steps=args.hand_steps,
        hand_guidance_scale=args.hand_guidance_scale,
        hand_generator=_generators(args, 1),
    )
    if output.suffix.lower() in (".safetensors", ".json"):
        hands.save(output)
    elif output.suffix.lower() == ".png":
        from ..rendering.drawing import draw_hand_mesh

        _write(output, draw_hand_mesh(hands, pipe.body_model, 512)[0].save)
    else:
        _write_mesh(output, hands, pipe)
    print(output)


def _write_mesh(output: Path, hands: "HandParams", pipe: "HanDiffuserPipeline") -> None:
    from ..rendering.mesh_export import visible_meshes, write_glb, write_obj

    names, vertices, faces, colors = visible_meshes(hands[0], pipe.body_model)
    if not names:
        raise ValueError("no hand is visible in the sampled parameters: there is no mesh to write; try another seed")
    if output.suffix.lower() == ".obj":
        _write(output, lambda path: write_obj(path, names, vertices, faces))
    else:
        _write(output, lambda path: write_glb(path, names, vertices, faces, colors))


def _data_make(args: argparse.Namespace) -> None:
    from ..studio import make_dataset

    path = make_dataset(
        args.folder,
        args.num,
        args.split,
        args.seed,
        args.size,
        images=not args.no_images,
        workers=args.workers,
        device=choose_device(args.device),
    )
    print(path)


def _push(args: argparse.Namespace) -> None:
    from ..hub.model_card import CARD_FILE, write_model_card
    from ..hub.saving import check_upload, push_folder

    if not os.path.isdir(args.folder):
        raise OSError(f"DIR must be a saved pipeline, but there is no folder {args.folder!r}")
    check_upload(args.folder, args.include, args.hard_links)
    pipe = _load_to_push(Path(args.folder))
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


def _load_to_push(folder: Path) -> "HanDiffuserPipeline":
    """The pipeline in the folder, of which nobody could use one that does not load or that is not finite."""
    import torch

    from .. import HanDiffuserPipeline

    hide_loading_bars()
    body = folder / "body_model" / "config.json"
    licensed = body.is_file() and json.loads(body.read_text(encoding="utf-8")).get("licensed")
    without: dict[str, Any] = {"body_model": None} if licensed else {}
    pipe = HanDiffuserPipeline.from_pretrained(folder, **without)
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            for key, value in component.state_dict().items():
                if not torch.isfinite(value).all():
                    raise ValueError(f"{key!r} of {name} in {str(folder)!r} holds numbers that are not finite")
    return pipe


def _load_pipeline(args: argparse.Namespace) -> "HanDiffuserPipeline":
    import torch

    from .. import MINI, HanDiffuserPipeline

    hide_loading_bars()
    device = choose_device(args.device)
    model = MINI if args.model is None else args.model
    pipe = HanDiffuserPipeline.from_pretrained(model, dtype=getattr(torch, args.dtype))
    return pipe.to(device)


def _scheduler(pipe: "HanDiffuserPipeline", name: str) -> Any:
    """The scheduler of that class name, with or without "Scheduler", configured as the pipeline's own."""
    classes = {cls.__name__: cls for cls in (*pipe.scheduler.compatibles, type(pipe.scheduler))}
    found = classes.get(name) or classes.get(f"{name}Scheduler")
    if found is None:
        names = ", ".join(sorted(cls.removesuffix("Scheduler") for cls in classes))
        raise ValueError(f"--scheduler must be one of {names}, got {name!r}")
    return found.from_config(pipe.scheduler.config)


def _rows(hands: "HandParams", num_images: int) -> "HandParams":
    """Given hands as one row, or one per picture."""
    hands = hands.reshape(-1)
    if len(hands) not in (1, num_images):
        raise ValueError(f"--hands holds {len(hands)} rows; wanted 1, or one for each of the {num_images} pictures")
    return hands


def _generators(args: argparse.Namespace, num: int) -> "list[torch.Generator]":
    import torch

    seed = args.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}", file=sys.stderr)
    if not 0 <= seed < 2**63 - num:
        raise ValueError(f"--seed must be between 0 and 2^63 - 1, got {seed}")
    return [torch.Generator().manual_seed(seed + i) for i in range(num)]


def _output_path(text: str, suffixes: Sequence[str]) -> Path:
    """The output path, refused before any work if it cannot be written."""
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"--output must end in {', '.join(suffixes)}, got {text!r}")
    if path.is_dir():
        raise ValueError(f"--output {text!r} is a folder")
    refuse_special_file(path)
    if not path.parent.is_dir():
        raise ValueError(f"--output {text!r}: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"--output {text!r}: folder {str(path.parent)!r} cannot be written to")
    return path


def _write(path: Path, save: Callable[[Path], None]) -> None:
    with atomic_write(path) as aside:
        save(aside)


if __name__ == "__main__":
    sys.exit(main())
