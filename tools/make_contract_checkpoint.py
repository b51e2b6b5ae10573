"""Writes `tests/fixtures/contract`: a tiny pipeline, what its files hold, and what it draws.

python tools/make_contract_checkpoint.py            # refused where there is one
python tools/make_contract_checkpoint.py --force    # makes a new one: earlier checkpoints may not load any more

A checkpoint that was published once has to load for ever, with the same result. So this one is made once, and every
later version loads it in its tests: the same classes, keys, shapes and dtypes, the same images. Its weights are
random; its sizes are as small as the classes allow. Nothing in it comes from a licensed file.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusers_handiffuser import (
    HandBodyModel,
    HanDiffuserPipeline,
    HandParams,
    TextHandEncoder,
    TextToHandParamsModel,
    __version__,
)
from diffusers_handiffuser.hands.skeleton import NUM_JOINTS, OPENPOSE_FINGERS, PARENTS

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "contract"
PROMPT, NEGATIVE_PROMPT = "a left hand making a fist", "blurry"
LIBRARIES = ("diffusers", "transformers", "torch", "numpy", "safetensors")
WIDTH = 8


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--force", action="store_true", help="replace the checkpoint that is there")
    options = parser.parse_args(arguments)
    if options.folder.exists() and not options.force:
        print(f"{options.folder} holds a checkpoint already, which has to load for ever; see --force", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "contract"
        make(made)
        shutil.rmtree(options.folder, ignore_errors=True)
        shutil.copytree(made, options.folder)
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 1e3:.0f} kB")
    return 0


def make(folder: Path) -> None:
    """The pipeline in `folder / "pipeline"`, beside `expected.safetensors` and `manifest.json`."""
    write_tokenizer(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pipe = make_pipeline(tokenizer)
    pipe.save_pretrained(folder / "pipeline")
    (folder / "pipeline" / "README.md").unlink()
    # Both in the layouts of Stable Diffusion 1.x, which all versions of transformers read.
    for name in ("tokenizer", "hand_tokenizer"):
        shutil.rmtree(folder / "pipeline" / name)
        shutil.copytree(folder / "tokenizer", folder / "pipeline" / name)
    shutil.rmtree(folder / "tokenizer")
    weights = folder / "pipeline" / "hand_text_encoder" / "model.safetensors"
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})

    given = make_inputs()
    found = outputs(HanDiffuserPipeline.from_pretrained(folder / "pipeline"), given)
    expected = {name: value.contiguous() for name, value in {**given, **found}.items()}
    save_file(expected, folder / "expected.safetensors")
    (folder / "manifest.json").write_text(json.dumps(describe(folder), indent=1, sort_keys=True) + "\n")


def write_tokenizer(folder: Path) -> None:
    """CLIP's, for small letters: one token for each."""
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": tokens[-2], "eos_token": tokens[-1], "pad_token": tokens[-1], "unk_token": tokens[-1]}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1))


def make_pipeline(tokenizer: CLIPTokenizer) -> HanDiffuserPipeline:
    torch.manual_seed(0)
    clip_text_model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    text_encoder = TextHandEncoder.from_clip(
        clip_text_model, hand_hidden_size=WIDTH, num_basis_points=8, num_position_bins=64
    )
    denoiser = TextToHandParamsModel(hidden_size=WIDTH, num_layers=1, num_attention_heads=2, cross_attention_dim=WIDTH)
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(NUM_JOINTS)
    mean = torch.cat([identity, torch.zeros(10), torch.tensor([1.5, 0, 0, 0.5, 0.5])])
    denoiser.set_statistics(mean, torch.full((327,), 0.3))
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4),
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    return HanDiffuserPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False
        ),
        safety_checker=None,
        feature_extractor=None,
        hand_tokenizer=tokenizer,
        hand_text_encoder=clip_text_model.eval(),
        text_to_hand_params=denoiser.eval(),
        text_to_hand_scheduler=DDIMScheduler(
            beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
        ),
        body_model=make_body(),
        requires_safety_checker=False,
        default_num_inference_steps=3,
        default_guidance_scale=4.0,
        default_num_hand_inference_steps=3,
        default_hand_guidance_scale=2.0,
    )


def make_body(num_vertices: int = 60) -> HandBodyModel:
    """A cloud of points with a skeleton, a third of them on each hand: it looks like nothing, and moves as a body."""
    rng = np.random.default_rng(0)
    third = num_vertices // 3
    bones = np.concatenate([rng.integers(0, 20, third), *(np.resize(hand, third) for hand in _hand_joints())])
    weights, regressor = np.zeros((num_vertices, NUM_JOINTS)), np.zeros((NUM_JOINTS, num_vertices))
    weights[np.arange(num_vertices), bones] = 0.7
    weights[np.arange(num_vertices), np.maximum(np.array(PARENTS)[bones], 0)] += 0.3
    regressor[np.arange(NUM_JOINTS)[:, None], rng.integers(0, num_vertices, (NUM_JOINTS, 2))] = 0.5
    regressor /= regressor.sum(1, keepdims=True)
    tips = zip(
        (side + finger for side in "lr" for finger in OPENPOSE_FINGERS), range(third, num_vertices, 4), strict=False
    )
    arrays = {
        "v_template": rng.normal(0, 0.3, (num_vertices, 3)),
        "shapedirs": rng.normal(0, 0.02, (num_vertices, 3, 10)),
        "posedirs": np.zeros((num_vertices, 3, 9 * (NUM_JOINTS - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "f": np.stack([np.arange(num_vertices - 2) + k for k in range(3)], 1).astype(np.uint32),
        "kintree_table": np.stack([np.array([2**32 - 1, *PARENTS[1:]]), np.arange(NUM_JOINTS)]).astype(np.uint32),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "body.npz"
        np.savez(path, **arrays)
        return HandBodyModel.from_smplh(path, licensed=False, vertex_ids=dict(tips))


def _hand_joints() -> tuple[list[int], list[int]]:
    return [20, *range(22, 37)], [21, *range(37, 52)]


def make_inputs() -> dict[str, torch.Tensor]:
    """Everything random, so that what is compared does not hang on a random generator."""
    generator = torch.Generator().manual_seed(1)
    return {
        "given.sample": torch.randn(2, 327, generator=generator),
        "given.states": torch.randn(2, 4, WIDTH, generator=generator),
        "given.latents": torch.randn(2, 4, 8, 8, generator=generator),
        "given.picture": torch.rand(1, 3, 16, 16, generator=generator),
    }


@torch.no_grad()
def outputs(pipe: HanDiffuserPipeline, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What each network says, and what the pipeline draws: of the given numbers, and of a seed."""
    pipe.set_progress_bar_config(disable=True)
    sample, latents = given["given.sample"], given["given.latents"]
    hands = pipe.text_to_hand_params.decode(sample).replace(hand_visible=torch.tensor([[True, True], [False, True]]))
    embeds, negative = pipe.encode_prompt([PROMPT] * 2, "cpu", 1, True, [NEGATIVE_PROMPT] * 2, hand_params=hands)
    common = {"negative_prompt": [NEGATIVE_PROMPT] * 2, "output_type": "pt"}
    drawn = pipe([PROMPT] * 2, hand_params=hands, latents=latents, **common).images
    text_alone = pipe([PROMPT] * 2, latents=latents, hand_conditioning_scale=0, **common).images
    seeded = pipe(PROMPT, generator=torch.Generator().manual_seed(0), output_type="pt")
    return {
        "denoised": pipe.text_to_hand_params(sample, 500, given["given.states"]).sample,
        **{f"hands.{name}": getattr(hands, name) for name in HandParams.FIELDS},
        **{f"geometry.{name}": value for name, value in pipe.body_model(hands).items()},
        "prompt_embeds": embeds[1:],
        "negative_prompt_embeds": negative[:1],
        "encoded": pipe.vae.encode(given["given.picture"]).latent_dist.mode(),
        "picture": drawn,
        "picture_of_text_alone": text_alone,
        "picture_of_seed_0": seeded.images,
        **{f"hands_of_seed_0.{name}": getattr(seeded.hand_params, name) for name in HandParams.FIELDS},
    }


def describe(folder: Path) -> dict:
    """The classes, the tensors and the checksums of the files, and what they were written with."""
    index = json.loads((folder / "pipeline" / "model_index.json").read_text())
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    tensors = {}
    for path in files:
        if path.suffix == ".safetensors" and path.parent != folder:
            with safe_open(path, framework="pt") as file:
                slices = {key: file.get_slice(key) for key in file.keys()}
                tensors[path.parent.name] = {
                    key: f"{part.get_dtype()} {part.get_shape()}" for key, part in slices.items()
                }
    return {
        "written_with": {"diffusers_handiffuser": __version__, **{name: version(name) for name in LIBRARIES}},
        "classes": {name: value for name, value in index.items() if not name.startswith("_")},
        "tensors": tensors,
        "sha256": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
