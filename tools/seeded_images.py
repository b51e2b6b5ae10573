"""Draws seeded images with every pipeline, to show that a change of the code leaves them as they were.

    python tools/seeded_images.py --arrays before.npz      # with the sources of before
    python tools/seeded_images.py --compare before.npz     # with those of after

Moves and renames must leave every image and every hand equal bit for bit. Where arithmetic is replaced,
`--tolerance 1` allows one uint8 level in an image, and the hands, joints and vertices what `HAND_TOLERANCE` and
`POINT_TOLERANCE` say.

The images are drawn by the bundled checkpoint on one CPU thread, a few steps each. Text-to-image, image-to-image,
inpainting, ControlNet, T2I-Adapter and the modular pipeline are called with all kinds of arguments; the ControlNet and
the adapter are tiny, made from a seed. After the images come conditions, joints and vertices of given hands. Another
processor, or another release of torch or diffusers, gives other bits.

The script uses public names alone, so it also runs with older sources.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, EulerAncestralDiscreteScheduler, T2IAdapter
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from diffusers_handiffuser import (
    MINI,
    HandBodyModel,
    HanDiffuserAdapterPipeline,
    HanDiffuserBlocks,
    HanDiffuserControlNetPipeline,
    HanDiffuserImg2ImgPipeline,
    HanDiffuserInpaintPipeline,
    HanDiffuserPipeline,
    HandParams,
)

SIZE = 128
FIST, PEACE = "a left hand making a fist", "a right hand making a peace sign, green background"
HAND_TOLERANCE = 1e-5
"""Radians between two rotations; the same number for shape and camera."""
POINT_TOLERANCE = 1e-6
"""Metres, and halves of an image for points in it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the hashes go, a line of JSON each")
    parser.add_argument("--arrays", type=Path, metavar="FILE.npz", help="stores the images, hands and points")
    parser.add_argument("--compare", type=Path, metavar="FILE.npz", help="stored ones; exit 1 if any differs")
    parser.add_argument("--tolerance", type=int, default=0, metavar="N", help="in levels of uint8 (default: 0, equal)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()

    arrays: dict[str, np.ndarray] = {}
    lines = []
    for name, parts in results():
        arrays |= {f"{kind} of {name}": array for kind, array in parts.items()}
        lines.append(json.dumps({"name": name, **{kind: sha256(array) for kind, array in parts.items()}}))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")
    elif not options.compare:
        print("\n".join(lines))
    if options.arrays:
        np.savez_compressed(options.arrays, **arrays)
    return compare(arrays, options.compare, options.tolerance) if options.compare else 0


def results() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Names, and what was drawn under each: arrays of an `image` (uint8), of `hands` (float32) or of `points`."""
    for name, images, hands in drawn():
        for i, image in enumerate(images):
            parts = {"image": np.asarray(image)}
            if hands is not None:
                row = [getattr(hands[i], field).float().flatten() for field in HandParams.FIELDS]
                parts["hands"] = torch.cat(row).numpy()
            yield f"{name}[{i}]", parts
    body_model = HandBodyModel.procedural()
    hands = given_hands()
    geometry = body_model(hands)
    for name in ("rotations", "joints_3d", "joints_2d", "left_vertices", "right_vertices"):
        yield name, {"points": geometry[name].numpy()}
    yield "body_vertices", {"points": body_model.full_mesh(hands).vertices.numpy()}
    for kind in ("openpose", "depth", "normal", "mask"):
        for i, image in enumerate(hands.to_condition(kind, (96, SIZE), style="scaled")):
            yield f"condition {kind}[{i}]", {"image": np.asarray(image)}
    yield "show", {"image": np.asarray(hands.show())}


def drawn() -> Iterator[tuple[str, list[Image.Image], HandParams | None]]:
    """Names, images, and their hands if they have any."""
    base = HanDiffuserPipeline.from_pretrained(MINI)
    hands, seen = given_hands(), example_images()
    few = {"num_inference_steps": 3, "num_hand_inference_steps": 4}

    def call(pipe: Any, seed: int, prompt: Any, **arguments: Any) -> tuple[list[Image.Image], HandParams | None]:
        pipe.set_progress_bar_config(disable=True)
        out = pipe(prompt, **{**few, "generator": seeded(seed), **arguments})
        return out.images, out.hand_params

    yield "text", *call(base, 0, PEACE, num_inference_steps=6)
    yield (
        "text: prompts and negative prompts",
        *call(base, 1, [PEACE, FIST], negative_prompt=["red sleeve", ""], num_images_per_prompt=2),
    )
    yield "text: clip_skip, hand guidance", *call(base, 2, FIST, clip_skip=1, hand_guidance_scale=4.0)
    embeds, negative = base.encode_prompt(
        [FIST, PEACE], "cpu", 1, True, ["blurry", ""], hand_params=hands, hand_conditioning_scale=0.8
    )
    yield "text: embeds of encode_prompt", *call(base, 3, None, prompt_embeds=embeds, negative_prompt_embeds=negative)
    yield "text: given hands, half the scale", *call(base, 4, FIST, hand_params=hands[:1], hand_conditioning_scale=0.5)
    yield "text: no hands", *call(base, 5, PEACE, hand_conditioning_scale=0)
    yield (
        "text: hand_generator, no guidance",
        *call(base, 6, FIST, hand_generator=seeded(60), guidance_scale=1.0, hand_guidance_scale=1.0),
    )
    ancestral = HanDiffuserPipeline.from_pipe(
        base, scheduler=EulerAncestralDiscreteScheduler.from_config(base.scheduler.config)
    )
    yield "text: Euler a, wide", *call(ancestral, 7, PEACE, height=96, width=160)
    ddim = HanDiffuserPipeline.from_pipe(base, scheduler=DDIMScheduler.from_config(base.scheduler.config))
    yield "text: DDIM with eta and rescaled guidance", *call(ddim, 8, FIST, eta=0.5, guidance_rescale=0.7)

    img2img = HanDiffuserImg2ImgPipeline.from_pipe(base)
    yield "img2img: sampled hands", *call(img2img, 9, PEACE, image=seen[0], strength=0.7)
    yield (
        "img2img: two images",
        *call(
            img2img,
            10,
            [FIST, PEACE],
            image=seen,
            hand_params=hands,
            strength=0.7,
            generator=[seeded(100), seeded(101)],
        ),
    )

    inpaint = HanDiffuserInpaintPipeline.from_pipe(base)
    yield "inpaint: outline of given hands", *call(inpaint, 11, PEACE, image=seen[0], hand_params=hands[1:])
    yield "inpaint: outline of sampled hands", *call(inpaint, 12, FIST, image=seen[1], hand_mask_margin=0.01)
    mask = inpaint.hand_mask(hands[:1], SIZE, SIZE, margin=0.05)
    yield (
        "inpaint: mask, everything from the VAE",
        *call(inpaint, 13, FIST, image=seen[1], mask_image=mask, strength=0.8, keep_unmasked=False),
    )
    yield (
        "inpaint: crop around the mask",
        *call(inpaint, 14, FIST, image=seen[0], mask_image=mask, hand_params=hands[:1], padding_mask_crop=8),
    )

    depth, openpose = (hands.to_condition(kind, SIZE, style="scaled") for kind in ("depth", "openpose"))
    controlnet = HanDiffuserControlNetPipeline.from_pipe(base, controlnet=make_controlnet(base))
    yield "ControlNet: given hands", *call(controlnet, 15, [FIST, PEACE], image=depth, hand_params=hands)
    multi = HanDiffuserControlNetPipeline.from_pipe(base, controlnet=[make_controlnet(base), make_controlnet(base, 1)])
    yield (
        "ControlNet: two, sampled hands",
        *call(
            multi, 16, PEACE, image=[depth[1], openpose[1]], controlnet_conditioning_scale=[1.0, 0.5], guess_mode=True
        ),
    )

    adapter = HanDiffuserAdapterPipeline.from_pipe(base, adapter=make_adapter(base))
    yield "T2I-Adapter: given hands", *call(adapter, 17, FIST, image=depth[0], hand_params=hands[:1])
    yield (
        "T2I-Adapter: sampled hands, scaled",
        *call(adapter, 18, PEACE, image=openpose[1], adapter_conditioning_scale=0.5, negative_prompt="blurry"),
    )

    yield "modular: sampled hands", *call_modular(HanDiffuserBlocks(), 19, PEACE)
    without_stage_1 = HanDiffuserBlocks()
    without_stage_1.sub_blocks.pop("hands")
    yield "modular: given hands", *call_modular(without_stage_1, 20, FIST, hand_params=hands[:1])


def call_modular(
    blocks: HanDiffuserBlocks, seed: int, prompt: str, **arguments: Any
) -> tuple[list[Image.Image], HandParams]:
    pipe = blocks.init_pipeline(MINI)
    pipe.load_components()
    pipe.set_progress_bar_config(disable=True)
    if "text_to_hand_params" in pipe.component_names:
        arguments["num_hand_inference_steps"] = 4
    state = pipe(prompt=prompt, generator=seeded(seed), num_inference_steps=3, **arguments)
    return state.get("images"), state.get("hand_params")


def given_hands() -> HandParams:
    """Two bodies with both hands before them; the second shows its right hand alone."""
    generator = seeded(0)

    def normal(size: int, std: float) -> torch.Tensor:
        return std * torch.randn(2, size, generator=generator)

    arms = torch.zeros(2, 21, 3)
    arms[:, 15:19] = torch.tensor([[0, 0, -1.0], [0, 0, 1.0], [0.3, -1.6, 0], [-0.3, 1.8, 0]])
    return HandParams(
        global_orient=torch.tensor([[torch.pi, 0, 0], [2.9, 0.3, -0.2]]),
        body_pose=arms.flatten(1) + normal(63, 0.05),
        left_hand_pose=normal(45, 0.25),
        right_hand_pose=normal(45, 0.25),
        betas=normal(10, 1.0),
        camera=torch.tensor([[2.2, 0.09, 0.25]]).expand(2, 3).clone(),
        hand_visible=torch.tensor([[True, True], [False, True]]),
    )


def example_images() -> list[Image.Image]:
    """Smooth colours, such as a VAE encodes without harm."""
    coarse = torch.rand(2, 3, 5, 5, generator=seeded(0))
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=True).clamp(0, 1)
    return [Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()) for image in fine]


def make_controlnet(pipe: HanDiffuserPipeline, seed: int = 0) -> ControlNetModel:
    """From the U-Net; its last layers, which begin at zero, have weights."""
    torch.manual_seed(seed)
    controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
    for block in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
        torch.nn.init.normal_(block.weight, std=0.02)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.1)
    return controlnet.eval()


def make_adapter(pipe: HanDiffuserPipeline) -> T2IAdapter:
    torch.manual_seed(0)
    width = pipe.unet.config.block_out_channels[0]
    return T2IAdapter(channels=[width], num_res_blocks=1, downscale_factor=2 * pipe.vae_scale_factor).eval()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compare(arrays: dict[str, np.ndarray], stored: Path, tolerance: int) -> int:
    """Prints how far each array is from the stored one of its name; 1 if any is farther than allowed, else 0."""
    with np.load(stored) as file:
        expected = dict(file)
    exact = tolerance == 0
    allowed = {
        "image": tolerance,
        "hands": 0 if exact else HAND_TOLERANCE,
        "points": 0 if exact else POINT_TOLERANCE,
    }
    failures = sorted(set(expected) ^ set(arrays))
    for name in failures:
        print(f"{name}: {'missing' if name in expected else 'not in the stored file'}")
    for name in [name for name in arrays if name in expected]:
        kind = name.split()[0]
        difference, unit = differences(kind, arrays[name], expected[name])
        print(f"{name}: " + ("equal" if difference == 0 else f"differs by up to {difference:.3g} {unit}"))
        if not difference <= allowed[kind]:
            failures.append(name)
    print(f"{len(arrays)} arrays, {len(failures)} beyond the tolerance" + "".join(f"\n  {name}" for name in failures))
    return 1 if failures else 0


def differences(kind: str, found: np.ndarray, expected: np.ndarray) -> tuple[float, str]:
    """The largest difference of two arrays, and its unit; zero only if they are equal bit for bit."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf"), f"({found.dtype} {found.shape} for {expected.dtype} {expected.shape})"
    if found.tobytes() == expected.tobytes():
        return 0.0, ""
    a, b = found.astype("float64"), expected.astype("float64")
    if kind == "hands":  # a turn by pi has two axes: rotations are compared, not their numbers
        pose = sum(size for name, size in HandParams.FIELDS.items() if name.endswith(("_orient", "_pose")))
        angles = angles_between(a[:pose].reshape(-1, 3), b[:pose].reshape(-1, 3))
        difference = max(angles.max(), np.abs(a[pose:] - b[pose:]).max())
    else:
        difference = np.abs(a - b).max()
    smallest = float(np.finfo("float32").tiny)  # other bits, such as those of -0.0, are not equal
    return max(float(difference), smallest), {"image": "levels", "hands": "rad", "points": "m"}[kind]


def angles_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Radians between the rotations of axis-angle vectors `(N, 3)`."""

    def quaternions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return np.cos(angle / 2), vectors * np.sinc(angle / (2 * np.pi)) / 2

    (w_a, v_a), (w_b, v_b) = quaternions(a), quaternions(b)
    vector = w_a * v_b - w_b * v_a - np.cross(v_a, v_b)
    scalar = w_a * w_b + (v_a * v_b).sum(-1, keepdims=True)
    return 2 * np.arctan2(np.linalg.norm(vector, axis=-1), np.abs(scalar[:, 0]))


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
