"""Makes the checkpoint of the package from the outputs of the trainers.

    python tools/export_mini.py --stage_1 run/stage1 --stage_2 run/stage2 -o CHECKPOINT
    python tools/export_mini.py --stage_1 run/stage1 --text_model run/english -o CHECKPOINT

Without `--stage_2` all but stage 1 stays that of the package. Tensors are stored as float16 under their default names,
and every component loads as float32 again. Needs transformers 5; tokenizers and CLIP are written in the layouts
that all releases read.
"""

import argparse
import json
import shutil
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from diffusers_handiffuser import MINI, HandBodyModel, HanDiffuserPipeline, TextHandEncoder, TextToHandParamsModel
from diffusers_handiffuser.models.text_models import load_text_model, load_tokenizer
from diffusers_handiffuser.pipelines.pipeline_loading import save_half
from diffusers_handiffuser.training.text_distillation.vocabulary import write_vocabulary

CARD = {
    "license": "apache-2.0",
    "base_model": "None: everything was trained from nothing.",
    "training_data": "Images, captions and hands made by the studio of diffusers_handiffuser; no photographs. The "
    "text model of stage 1 was distilled from all-MiniLM-L6-v2. The commands stand in "
    "`model_cards/handiffuser-mini.md` of its repository.",
    "limits": "Hands follow English sentences. Images are rendered ones of 128 x 128 pixels, not photographs; they "
    "follow the hands, and of the words the studio's.",
}


IMAGE_DOMAIN = "renderings of hands"


def add_older_layouts(folder: Path) -> None:
    """Before 5.0, transformers reads a tokenizer from vocab.json and merges.txt, or from vocab.txt; before 5.6, it
    expects the names of CLIP's weights to begin with `text_model.`."""
    for name in ("tokenizer", "hand_tokenizer"):
        model = json.loads((folder / name / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        if model["type"] == "WordPiece":
            write_vocabulary(folder / name, model["vocab"])
            continue
        (folder / name / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        lines = "\n".join(["#version: 0.2", *merges]) + "\n"
        (folder / name / "merges.txt").write_text(lines, encoding="utf-8")
    config = json.loads((folder / "hand_text_encoder/config.json").read_text(encoding="utf-8"))
    if config["architectures"] == ["CLIPTextModel"]:
        path = folder / "hand_text_encoder" / "model.safetensors"
        tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def average(folders: list[Path]) -> AutoencoderKL:
    """The VAE with the mean of their weights."""
    vaes = [AutoencoderKL.from_pretrained(folder) for folder in folders]
    states = [vae.state_dict() for vae in vaes]
    vaes[0].load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    return vaes[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage_1", type=Path, required=True, help="output (or checkpoint) of text_to_hand_params")
    parser.add_argument(
        "--text_model",
        type=Path,
        help="folder with stage 1's hand_text_encoder and hand_tokenizer (default: --stage_1)",
    )
    parser.add_argument("--stage_2", type=Path, help="output (or checkpoint) of hand_params_to_image")
    parser.add_argument(
        "--vae",
        type=Path,
        nargs="+",
        help="another VAE with the same latents (default: the one of stage 2); of several, trained from the same "
        "weights, the average (Wortsman et al. 2022)",
    )
    parser.add_argument("--tokenizer", type=Path, help="tokenizer of stage 2 (default: the one in its folder)")
    parser.add_argument("--scheduler", default="DPMSolverMultistepScheduler", help="diffusers class")
    parser.add_argument("--scheduler_config", type=json.loads, default={}, help="JSON: changes to its configuration")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance_scale", type=float, default=2.5)
    parser.add_argument("--hand_steps", type=int, default=25)
    parser.add_argument("--hand_guidance_scale", type=float, default=2.0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    of_stage_2 = ("vae", "tokenizer", "scheduler", "scheduler_config", "steps", "guidance_scale")
    given = [name for name in of_stage_2 if getattr(args, name) != parser.get_default(name)]
    if args.stage_2 is None and given:
        parser.error(f"without --stage_2 its parts stay as they are, but --{given[0]} was given")

    def averaged(folder: Path, name: str) -> Path:
        """A checkpoint holds the averaged weights beside the trained ones; a finished run has them under the name."""
        return folder / f"{name}_ema" if (folder / f"{name}_ema").is_dir() else folder / name

    text_model = args.text_model or args.stage_1
    stage_1 = {
        "hand_tokenizer": load_tokenizer(text_model, "hand_tokenizer"),
        "hand_text_encoder": load_text_model(text_model, averaged(text_model, "hand_text_encoder").name),
        "text_to_hand_params": TextToHandParamsModel.from_pretrained(averaged(args.stage_1, "text_to_hand_params")),
        "default_num_hand_inference_steps": args.hand_steps,
        "default_hand_guidance_scale": args.hand_guidance_scale,
    }
    if args.stage_2 is None:
        pipe = HanDiffuserPipeline.from_pretrained(MINI, **stage_1, image_domain=IMAGE_DOMAIN)
    else:
        noise = DDPMScheduler.from_pretrained(args.stage_2 / "scheduler")
        pipe = HanDiffuserPipeline(
            vae=average(args.vae or [args.stage_2 / "vae"]),
            text_encoder=TextHandEncoder.from_pretrained(averaged(args.stage_2, "text_encoder")),
            tokenizer=CLIPTokenizer.from_pretrained(args.tokenizer or args.stage_2 / "tokenizer"),
            unet=UNet2DConditionModel.from_pretrained(averaged(args.stage_2, "unet")),
            scheduler=getattr(diffusers, args.scheduler).from_config(noise.config, **args.scheduler_config),
            safety_checker=None,
            feature_extractor=None,
            text_to_hand_scheduler=DDIMScheduler.from_pretrained(args.stage_1 / "text_to_hand_scheduler"),
            body_model=HandBodyModel.procedural(),
            requires_safety_checker=False,
            default_num_inference_steps=args.steps,
            default_guidance_scale=args.guidance_scale,
            image_domain=IMAGE_DOMAIN,
            **stage_1,
        )
    temporary = args.output.with_name(args.output.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    save_half(pipe, temporary, card=CARD)
    add_older_layouts(temporary)
    shutil.rmtree(args.output, ignore_errors=True)
    temporary.rename(args.output)
    size = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file())
    print(f"{args.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
