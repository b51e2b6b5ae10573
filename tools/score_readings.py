"""Counts what was read right, blind, of the images in the card of handiffuser-mini.

    python tools/score_readings.py model_cards/evaluation/read_blind.json

The file holds, for this checkpoint's images and for the data's own, readings of rows 0-31 of the studio's test split
(seed 0). Whether a gesture was read right (`gesture_right`) stands in it, as we judged it; the rest is compared with
the scenes that the captions describe.
"""

import argparse
import json
import random
from pathlib import Path

from diffusers_handiffuser.evaluation.metrics.colors import named_in_caption
from diffusers_handiffuser.studio import describe, sample_scene
from diffusers_handiffuser.studio.scenes import SKIN_TONES


def score(reading: list[dict]) -> dict[str, str]:
    """ "right of all" by what was read, as strings."""
    hits: dict[str, list[bool]] = {}
    for row in reading:
        scene = sample_scene(0, "test", row["row"])
        named = named_in_caption(describe(scene, random.Random(scene.seed)), scene)
        side = row["side"] in scene.gestures
        hits.setdefault("side", []).append(side)
        if scene.kind != "person":
            hits.setdefault("side, in close-ups", []).append(side)
        if "gesture_right" in row:
            hits.setdefault("gesture", []).append(row["gesture_right"])
        if named["skin"]:
            tones = list(SKIN_TONES)
            near = abs(tones.index(row["skin"]) - tones.index(scene.skin)) <= 1
            hits.setdefault("skin, at most one tone away", []).append(near)
        if named["background"]:
            hits.setdefault("background", []).append(row["background"] == scene.background)
    return {name: f"{sum(found)} of {len(found)}" for name, found in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    for images, readings in json.loads(args.file.read_text(encoding="utf-8")).items():
        for reading in readings:
            print(f"{images}: " + "; ".join(f"{name} {counts}" for name, counts in score(reading).items()))


if __name__ == "__main__":
    main()
