"""`handiffuser generate` and `handiffuser hands`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hand_files import add_format_option, is_openpose, read_hands
from .options import IMAGE_FORMATS, check_numbers, image_size, output_path, write_file
from .sampling import add_sampling_options, check_sampling_options, load_pipeline, seeded_generators

if TYPE_CHECKING:
    from ..hands import HandParams
    from ..pipelines import HanDiffuserPipeline

_HANDS_FORMATS = (".safetensors", ".json", ".obj", ".glb", ".png")


def add_generate_command(commands: Any) -> argparse.ArgumentParser:
    """Adds `generate` to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "generate",
        help="an image from a prompt",
        description="Samples hands for a prompt and draws an image of them. Writes the image, the hands "
        "(X.hands.safetensors) and a preview (X.preview.png): the image, the 3D hands, and the 2D skeleton over it.",
    )
    parser.add_argument("prompt", help="what to draw")
    parser.add_argument("-o", "--output", required=True, metavar="X.png", help="where to save the image")
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what not to draw")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the checkpoint's)")
    parser.add_argument("--guidance-scale", type=float, metavar="W", help="how closely to follow the prompt")
    parser.add_argument("--scheduler", metavar="NAME", help='one of diffusers, such as "EulerDiscrete" or "DDIM"')
    parser.add_argument("--num-images", type=int, default=1, metavar="N", help="as X_0.png, X_1.png and so on")
    hands = parser.add_mutually_exclusive_group()
    hands.add_argument(
        "--hands", metavar="FILE", help="draw these (.safetensors, .json or OpenPose's JSON) instead of sampled hands"
    )
    hands.add_argument("--no-hands", action="store_true", help="leave the hands out: plain Stable Diffusion")
    add_sampling_options(parser)
    parser.set_defaults(run=_generate)
    return parser


def add_hands_command(commands: Any) -> argparse.ArgumentParser:
    """Adds `hands` to the sub-commands of `handiffuser`."""
    parser = commands.add_parser(
        "hands",
        help="3D hands from a prompt",
        description="Samples hands for a prompt, the first stage alone. The suffix of FILE says what is written: "
        "parameters (.safetensors, .json), key points (.openpose.json), a mesh (.obj, .glb) or a preview (.png).",
    )
    parser.add_argument("prompt", help="what the hands do")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=f"one of {', '.join(_HANDS_FORMATS)}")
    add_format_option(parser)
    parser.add_argument("--size", metavar="WxH", help="of the image of key points, pixels (default: 512)")
    add_sampling_options(parser)
    parser.set_defaults(run=_hands)
    return parser


def _generate(args: argparse.Namespace) -> None:
    from ..rendering.drawing import draw_preview

    output = output_path(args.output, IMAGE_FORMATS)
    check_numbers(args, "steps", "guidance_scale", "num_images")
    check_sampling_options(args)
    if args.framing is not None and args.hands is not None:
        raise ValueError("--framing is for sampled hands, while --hands are drawn in their own camera")
    hands = None if args.hands is None else _one_or_per_image(read_hands(args.hands)[0], args.num_images)
    pipe = load_pipeline(args)
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
        generator=seeded_generators(args, args.num_images),
        framing=args.framing,
    )
    paths = [output]
    if args.num_images > 1:
        paths = [output.with_name(f"{output.stem}_{i}{output.suffix}") for i in range(args.num_images)]
    for path, image in zip(paths, result.images, strict=True):
        write_file(path, image.save)
    if result.hand_params is not None:
        if hands is None:
            _say_without_hands(result.hand_params.hand_visible.any(-1).tolist(), bundled=args.model is None)
        hands_path = output.with_name(f"{output.stem}.hands.safetensors")
        preview_path = output.with_name(f"{output.stem}.preview.png")
        result.hand_params.save(hands_path)
        write_file(preview_path, draw_preview(result.images, result.hand_params, pipe.body_model).save)
        paths += [hands_path, preview_path]
    print("\n".join(map(str, paths)))


def _say_without_hands(visible: list[bool], bundled: bool) -> None:
    """Of images whose sentence asks for no hand."""
    if not all(visible):
        where = "" if len(visible) == 1 else f" in {visible.count(False)} of {len(visible)} images"
        weakness = "; the bundled checkpoint never saw images without hands, and may draw one" if bundled else ""
        print(f"the sentence has no hands{where}{weakness}", file=sys.stderr)


def _hands(args: argparse.Namespace) -> None:
    from ..rendering.drawing import draw_hand_mesh
    from ..rendering.openpose_json import write_openpose_json

    output = output_path(args.output, _HANDS_FORMATS)
    openpose = is_openpose(args, output)
    if args.size is not None and not openpose:
        raise ValueError("--size needs an --output of key points, such as X.openpose.json")
    width, height = image_size("512" if args.size is None else args.size)
    check_sampling_options(args)
    pipe = load_pipeline(args)
    hands = pipe.sample_hand_params(
        args.prompt,
        num_hand_inference_steps=args.hand_steps,
        hand_guidance_scale=args.hand_guidance_scale,
        hand_generator=seeded_generators(args, 1),
        framing=args.framing,
        height=height,
        width=width,
    )
    if not hands.hand_visible.any():
        if output.suffix.lower() in (".obj", ".glb"):
            raise ValueError("the sentence has no hands; there is no mesh to write")
        print("the sentence has no hands: none is visible in what is written", file=sys.stderr)
    if openpose:
        write_openpose_json(output, hands, (width, height), pipe.body_model)
    elif output.suffix.lower() in (".safetensors", ".json"):
        hands.save(output)
    elif output.suffix.lower() == ".png":
        write_file(output, draw_hand_mesh(hands, pipe.body_model, 512)[0].save)
    else:
        _write_mesh(output, hands, pipe)
    print(output)


def _write_mesh(output: Path, hands: "HandParams", pipe: "HanDiffuserPipeline") -> None:
    from ..rendering.mesh_export import meshes_of_one_row, write_glb, write_obj

    meshes = meshes_of_one_row(hands[0], pipe.body_model)
    if output.suffix.lower() == ".obj":
        write_file(output, lambda path: write_obj(path, meshes))
    else:
        write_file(output, lambda path: write_glb(path, meshes))


def _scheduler(pipe: "HanDiffuserPipeline", name: str) -> Any:
    """The scheduler of that class name, with or without "Scheduler", configured as the pipeline's own."""
    classes = {cls.__name__: cls for cls in (*pipe.scheduler.compatibles, type(pipe.scheduler))}
    found = classes.get(name) or classes.get(f"{name}Scheduler")
    if found is None:
        names = ", ".join(sorted(cls.removesuffix("Scheduler") for cls in classes))
        raise ValueError(f"--scheduler must be one of {names}, got {name!r}")
    return found.from_config(pipe.scheduler.config)


def _one_or_per_image(hands: "HandParams", num_images: int) -> "HandParams":
    """Given hands as one row, or one per image."""
    hands = hands.reshape(-1)
    if len(hands) not in (1, num_images):
        raise ValueError(f"--hands holds {len(hands)} rows; wanted 1, or one for each of the {num_images} images")
    return hands
