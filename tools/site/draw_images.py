"""Draws the images of the documentation site with the bundled checkpoint, seeded.

    python tools/site/draw_images.py            # into docs/images, some minutes on one CPU core

The gallery's sheets are functions below, one each; the notebook's cells are run in their order in a temporary folder,
and the image of a cell's last line is kept.
"""

import argparse
import ast
import json
import os
import random
import tempfile
import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from diffusers_handiffuser import MINI, HanDiffuserInpaintPipeline, HanDiffuserPipeline
from diffusers_handiffuser.evaluation.sentences import read_sentences
from diffusers_handiffuser.studio import DEFECTS, Studio, draw_pairs, sample_defect, sample_scene

ROOT = Path(__file__).parents[2]
SIDE = 192
CAPTION_HEIGHT = 34
CAPTIONS = [
    "a right hand making a peace sign, on a blue background",
    "a left hand making a thumbs up, on a yellow background",
    "a right hand making a fist, on a green background",
    "a left hand making an OK sign, on a grey background",
    "a right hand making a sign of the horns, on an orange background",
    "a left hand making a vulcan salute, on a white background",
    "a left hand pointing, on a pink background",
    "a right hand making an L sign, on a purple background",
    "an open hand with spread fingers",
    "a right hand with the index and middle fingers extended",
    "two hands making a peace sign",
    "a person showing a peace sign with the right hand",
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sheet(images: list[Image.Image], captions: list[str], columns: int = 4, wrap: int = 34) -> Image.Image:
    """Images in rows, each with its caption of lines of `wrap` letters below."""
    rows = -(-len(images) // columns)
    whole = Image.new("RGB", (columns * (SIDE + 8), rows * (SIDE + CAPTION_HEIGHT)), "white")
    pen = ImageDraw.Draw(whole)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = (i % columns) * (SIDE + 8), (i // columns) * (SIDE + CAPTION_HEIGHT)
        whole.paste(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
        lines = "\n".join(textwrap.wrap(caption, wrap))
        pen.multiline_text((left + 2, top + SIDE + 2), lines, fill="black", font_size=11)
    return whole


def gestures(pipe: HanDiffuserPipeline) -> Image.Image:
    images = pipe(CAPTIONS, generator=[seeded(2) for _ in CAPTIONS]).images
    return sheet(images, CAPTIONS)


def sentences(pipe: HanDiffuserPipeline) -> Image.Image:
    """24 of the evaluation's sentences, drawn by lot: the sampled hands, and the image."""
    texts = [sentence.text for sentence in random.Random(0).sample(read_sentences(), 24)]
    sampled = pipe.sample_hand_params(texts, hand_generator=[seeded(0) for _ in texts])
    images = pipe(texts, hand_params=sampled, generator=[seeded(0) for _ in texts]).images
    pairs = [image for row, drawn in enumerate(images) for image in (sampled[row].show(size=SIDE), drawn)]
    captions = [part for text in texts for part in (textwrap.shorten(text, 128, placeholder=" …"), "")]
    return sheet(pairs, captions, columns=6, wrap=66)


def hands(pipe: HanDiffuserPipeline) -> Image.Image:
    """Stage 1 alone: eight samples of one caption."""
    sampled = pipe.sample_hand_params(
        "a left hand making a sign of the horns", num_images_per_prompt=8, hand_generator=seeded(1)
    )
    return sampled.show(size=SIDE)


def same_hands(pipe: HanDiffuserPipeline) -> Image.Image:
    words = ["pale skin, on a blue background", "tan skin, on a green background", "deep skin, on a white background"]
    captions = [f"a right hand making a peace sign, {word}" for word in words]
    sampled = pipe.sample_hand_params("a right hand making a peace sign", hand_generator=seeded(2))
    images = pipe(captions, hand_params=sampled[[0, 0, 0]], generator=[seeded(0) for _ in captions]).images
    mirrored = pipe(captions[0].replace("right", "left"), hand_params=sampled.mirror(), generator=seeded(0)).images
    return sheet(images + mirrored, [*words, "the hands mirrored"])


def scales(pipe: HanDiffuserPipeline) -> Image.Image:
    prompt, values = "a right hand making a peace sign, on a blue background", (0.0, 0.5, 1.0, 1.5)
    sampled = pipe.sample_hand_params(prompt, hand_generator=seeded(2))
    images = [
        pipe(prompt, hand_params=sampled, hand_conditioning_scale=value, generator=seeded(2)).images[0]
        for value in values
    ]
    return sheet(images, [f"hand_conditioning_scale={value}" for value in values])


def conditions(pipe: HanDiffuserPipeline) -> Image.Image:
    kinds = ("openpose", "depth", "depth_hand", "normal", "mask")
    sampled = pipe.sample_hand_params("two hands making a peace sign", hand_generator=seeded(0))
    return sheet([sampled.to_condition(kind, SIDE)[0] for kind in kinds], list(kinds), columns=5)


def repair(pipe: HanDiffuserPipeline) -> Image.Image:
    """Other hands in an image: the pixels outside the mask stay."""
    out = pipe("a right hand making a fist, on a green background", generator=seeded(3))
    wanted = pipe.sample_hand_params("a right hand making a peace sign", hand_generator=seeded(2))
    inpaint = HanDiffuserInpaintPipeline.from_pipe(pipe)
    repaired = inpaint(
        "a right hand making a peace sign, pale skin, on a green background",
        image=out.images[0],
        hand_params=wanted,
        strength=1.0,
        generator=seeded(0),
    )
    captions = ["before: a fist", "the wanted hand", "after: a peace sign"]
    return sheet([out.images[0], wanted.show(size=SIDE), repaired.images[0]], captions, columns=3)


def defects(pipe: HanDiffuserPipeline) -> Image.Image:
    """Eight scenes of the studio, and below each the same with a defect on purpose."""
    kinds = [*DEFECTS, "extra_finger"]
    scenes = [sample_scene(5, "train", index, "close_up") for index in (101, 210, 301, 109, 103, 106, 202, 205)]
    chosen = [sample_defect(scene, random.Random(0), kind) for scene, kind in zip(scenes, kinds, strict=True)]
    drawn = draw_pairs(Studio(pipe.body_model, SIDE), scenes, chosen)
    images = pipe.image_processor.numpy_to_pil(torch.cat([drawn.good, drawn.bad]).permute(0, 2, 3, 1).numpy())
    return sheet(images, [""] * len(scenes) + [kind.replace("_", " ") for kind in kinds], columns=8)


GALLERY = [gestures, sentences, hands, same_hands, scales, conditions, repair, defects]


def notebook_images(notebook: Path) -> dict[int, Image.Image]:
    """Images that the cells of a notebook end in, by the cells' numbers."""
    found: dict[int, Image.Image] = {}
    names: dict = {}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        lines = ast.parse("".join(cell["source"])).body
        last = lines.pop() if isinstance(lines[-1], ast.Expr) else None
        exec(compile(ast.Module(lines, type_ignores=[]), f"cell {number}", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        if isinstance(value, Image.Image):
            found[number] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    output = parser.parse_args().output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    pipe = HanDiffuserPipeline.from_pretrained(MINI)
    pipe.set_progress_bar_config(disable=True)
    for draw in GALLERY:
        draw(pipe).convert("RGB").save(output / f"{draw.__name__}.jpg", quality=85)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, image in notebook_images(ROOT / "examples" / "quickstart.ipynb").items():
            image.convert("RGB").save(output / f"quickstart-{number:02d}.jpg", quality=85)


if __name__ == "__main__":
    main()
