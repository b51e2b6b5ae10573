"""Draws the sample grid of a model card: held-out captions, one seed each, nothing chosen.

    python tools/sample_grid.py -o model_cards/handiffuser-mini.samples.png

Caption i is that of row i of the studio's test split (seed 0), its image the one of seed i. Each cell shows the
image, the 3D hands that stage 1 sampled for the caption, and their skeleton over the image.
"""

import argparse
import random
import textwrap

import torch
from PIL import Image, ImageDraw

from diffusers_handiffuser import MINI, HanDiffuserPipeline
from diffusers_handiffuser.rendering.drawing import draw_preview
from diffusers_handiffuser.studio import describe, sample_scene

COLUMNS, SIDE, CAPTION_HEIGHT = 4, 128, 54


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--model", default=MINI)
    parser.add_argument("--num", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()

    scenes = [sample_scene(0, "test", index) for index in range(args.num)]
    captions = [describe(scene, random.Random(scene.seed)) for scene in scenes]
    pipe = HanDiffuserPipeline.from_pretrained(args.model)
    cells = []
    for start in range(0, args.num, args.batch_size):
        prompts = captions[start : start + args.batch_size]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(prompts))]
        out = pipe(prompts, generator=generators)
        for i, image in enumerate(out.images):
            cells.append(draw_preview(image, out.hand_params[i : i + 1], pipe.body_model, size=SIDE))

    width, height = cells[0].width + 8, SIDE + CAPTION_HEIGHT
    rows = -(-len(cells) // COLUMNS)
    grid = Image.new("RGB", (width * COLUMNS, height * rows), "white")
    pen = ImageDraw.Draw(grid)
    for i, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        x, y = (i % COLUMNS) * width, (i // COLUMNS) * height
        grid.paste(cell, (x, y))
        pen.multiline_text((x + 2, y + SIDE + 2), "\n".join(textwrap.wrap(f"{i}: {caption}", 62)), fill="black")
    grid.save(args.output, optimize=True)


if __name__ == "__main__":
    main()
