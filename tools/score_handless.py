"""Draws images for sentences without hands and counts those in which a hand detector finds none.

    python tools/score_handless.py -o handless --detector mediapipe --detector-python PYTHON_WITH_MEDIAPIPE

The sentences are those of `handiffuser evaluate --natural` that ask for no hand and, up to `--num`, captions of the
studio's test split without hands. Image i is the one of seed i. The folder gets the images, `report.json`, and sheets
for a reader who does not know which images are which: they are mixed with as many images of natural sentences with
hands. `key.json` says which are which.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from diffusers_handiffuser import MINI, HanDiffuserPipeline
from diffusers_handiffuser.cli.options import add_detector_options, open_detector
from diffusers_handiffuser.detection.detector import detect_hands
from diffusers_handiffuser.evaluation.sentences import read_sentences
from diffusers_handiffuser.studio import describe, sample_scene
from diffusers_handiffuser.studio.scenes import HANDLESS_KINDS

COLUMNS, ROWS, SIDE = 5, 4, 192


def sentences(num: int) -> tuple[list[str], list[str]]:
    """`num` sentences without hands, and as many with."""
    natural = read_sentences()
    without = [sentence.text for sentence in natural if sentence.facts.number == 0]
    scenes = (sample_scene(0, "test", i, HANDLESS_KINDS[i % len(HANDLESS_KINDS)]) for i in range(num))
    without += [describe(scene, random.Random(scene.seed)) for scene in scenes]
    with_hands = [sentence.text for sentence in natural if sentence.facts.number != 0]
    return without[:num], random.Random(0).sample(with_hands, num)


def draw(pipe: HanDiffuserPipeline, texts: list[str], batch_size: int) -> tuple[list[Image.Image], list[bool]]:
    """The images, and whether stage 1 sampled a visible hand for each."""
    images: list[Image.Image] = []
    hands: list[bool] = []
    for start in range(0, len(texts), batch_size):
        prompts = texts[start : start + batch_size]
        out = pipe(prompts, generator=[torch.Generator().manual_seed(start + i) for i in range(len(prompts))])
        images += out.images
        hands += out.hand_params.hand_visible.any(-1).tolist()
    return images, hands


def write_sheets(folder: Path, images: list[tuple[str, Image.Image]]) -> None:
    """Numbered images, enlarged, and `key.json`."""
    random.Random(1).shuffle(images)
    for first in range(0, len(images), COLUMNS * ROWS):
        sheet = Image.new("RGB", (COLUMNS * (SIDE + 8), ROWS * (SIDE + 20)), "white")
        pen = ImageDraw.Draw(sheet)
        for place, (_, image) in enumerate(images[first : first + COLUMNS * ROWS]):
            x, y = place % COLUMNS * (SIDE + 8), place // COLUMNS * (SIDE + 20)
            sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (x, y + 14))
            pen.text((x + 2, y + 1), str(first + place), fill="black")
        sheet.save(folder / f"sheet_{first // (COLUMNS * ROWS)}.png")
    (folder / "key.json").write_text(json.dumps([name for name, _ in images]) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default=MINI)
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=10)
    add_detector_options(parser, "count the images in which it finds no hand")
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)
    pipe = HanDiffuserPipeline.from_pretrained(args.model)
    report, mixed = {}, []
    with open_detector(args) as detector:
        for name, texts in zip(("without", "with"), sentences(args.num), strict=True):
            images, sampled = draw(pipe, texts, args.batch_size)
            found = [bool(detect_hands(detector, image)) for image in images] if detector else []
            rows = []
            for i, (text, image) in enumerate(zip(texts, images, strict=True)):
                image.save(args.output / f"{name}_{i:03}.png")
                rows.append({"text": text, "sampled": sampled[i], **({"found": found[i]} if found else {})})
            mixed += [(f"{name}_{i:03}", image) for i, image in enumerate(images)]
            report[name] = {"images": len(rows), "stage 1 sampled hands": sum(sampled), "rows": rows}
            report[name] |= {"detector found hands": sum(found)} if found else {}
    write_sheets(args.output, mixed)
    (args.output / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, part in report.items():
        print(name, {key: value for key, value in part.items() if key != "rows"})


if __name__ == "__main__":
    main()
