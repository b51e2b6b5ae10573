"""Scores the default judge on held-out pairs of the studio, by kind of defect.

    python tools/score_judge.py [--num 200] [--network FOLDER] [--output FILE.json]

Draws NUM scenes of the test split (seed 75) with and without a defect, all kinds in turn, finds and fits their hands
with MediaPipe (of the extra `detect`), and prints how many good hands the judge leaves alone and how many defective
ones it flags, with Wilson's 95 % intervals. A hand that the detector misses counts as not flagged.
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from judged_hands import FoundHand, StudioImage, find, studio_images

from diffusers_handiffuser.repair import HandJudge, default_judge
from diffusers_handiffuser.repair.defect_network import HandDefectNetwork
from diffusers_handiffuser.studio.defects import DEFECTS

SEED = 75
SIZES, WEIGHTS = (128, 192, 256, 384, 512), (0.25, 0.25, 0.3, 0.12, 0.08)
"""Pixels per side of the images, and how often each is drawn."""
_AT_ONCE = 20
_NAMES = ("good", *DEFECTS)


class Scores:
    """Counts what a judge says of hands.

    `cases` holds, by name of defect or `"good"`, whether each hand was found and whether it was flagged; `reasons` why
    good ones were flagged, and `seconds` of processor time what each judgement took.
    """

    def __init__(self) -> None:
        self.cases: dict[str, list[tuple[bool, bool]]] = {name: [] for name in _NAMES}
        self.reasons: Counter[str] = Counter()
        self.seconds: list[float] = []

    def add(
        self,
        judge: HandJudge,
        images: Sequence[StudioImage],
        found: Sequence[FoundHand],
        missed: Sequence[tuple[int, int]],
    ) -> None:
        """Judges the found hands of images; missed ones are not flagged."""
        for one in found:
            image, began = images[one.image], time.process_time()
            judgement = judge(image.pixels, one.hand, one.hand_params)
            self.seconds.append(time.process_time() - began)
            kind = image.kinds[one.side]
            self.cases[_NAMES[kind]].append((True, judgement.bad))
            if judgement.bad and not kind:
                self.reasons[judgement.reason] += 1
        for number, side in missed:
            self.cases[_NAMES[images[number].kinds[side]]].append((False, False))

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """By name, and of all defective hands: the number of hands, of found ones, and of flagged ones."""
        groups = self.cases | {"defective": [hand for name in DEFECTS for hand in self.cases[name]]}
        return {name: _counts(hands) for name, hands in groups.items()}

    def show(self) -> None:
        """Prints the table, in Markdown."""
        print("| hands | number | found | flagged | share, 95 % interval |\n| --- | --- | --- | --- | --- |")
        for name, (number, seen, flagged) in self.counts().items():
            print(f"| {name} | {number} | {seen} | {flagged} | {_share(flagged, number)} |")
        _, seen, flagged = self.counts()["good"]
        print(f"found good hands left alone: {_share(seen - flagged, seen)}; flagged for: {dict(self.reasons)}")
        print(f"{sum(self.seconds) / max(len(self.seconds), 1):.3f} s of one core for a hand")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=200, help="pairs")
    parser.add_argument("--network", type=Path, help="folder that train_judge.py wrote; by default geometry alone")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = None if args.network is None else HandDefectNetwork.from_pretrained(args.network).float().eval()
    judge, scores = default_judge(network=network), Scores()
    for start in range(0, args.num, _AT_ONCE):
        images = list(studio_images(SEED, "test", range(start, min(start + _AT_ONCE, args.num)), SIZES, WEIGHTS))
        scores.add(judge, images, *find(images))
    scores.show()
    if args.output:
        args.output.write_text(json.dumps(scores.counts(), indent=2) + "\n", encoding="utf-8")


def _counts(hands: list[tuple[bool, bool]]) -> tuple[int, int, int]:
    """Number of hands, of those that were found, and of those that were flagged."""
    return len(hands), sum(seen for seen, _ in hands), sum(flagged for _, flagged in hands)


def _share(successes: int, number: int) -> str:
    low, high = wilson(successes, number)
    return f"{successes / max(number, 1):.3f} ({low:.3f} to {high:.3f})"


def wilson(successes: int, number: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson, 1927)."""
    if not number:
        return 0.0, 1.0
    share, spread = successes / number, z * z / number
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / number + spread / (4 * number))
    return max(0.0, middle - half), min(1.0, middle + half)


if __name__ == "__main__":
    main()
