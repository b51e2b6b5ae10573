"""Scores the default judge on held-out pairs of the studio, by kind of defect.

    python tools/score_judge.py [--num 200] [--sizes 128 192 256 384 512] [--output FILE.json]

Draws NUM scenes of the test split (seed 75) with and without a defect, all kinds in turn, finds and fits their hands
with MediaPipe (of the extra `detect`), and prints how many good hands the judge leaves alone and how many defective
ones it flags, with Wilson's 95 % intervals. A hand that the detector misses counts as not flagged.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from judged_hands import find, studio_images

from diffusers_handiffuser.repair import default_judge
from diffusers_handiffuser.studio.defects import DEFECTS

SEED = 75
_AT_ONCE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=200, help="pairs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 256, 384, 512], help="pixels, all as often")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge, seconds = default_judge(), []
    cases: dict[str, list[tuple[bool, bool]]] = {name: [] for name in ("good", *DEFECTS)}
    reasons: dict[str, int] = {}
    for start in range(0, args.num, _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, args.num))
        images = list(studio_images(SEED, "test", rows, args.sizes, [1.0] * len(args.sizes)))
        found, missed = find(images)
        for one in found:
            began = time.process_time()
            judgement = judge(images[one.image].pixels, one.hand, one.hand_params)
            seconds.append(time.process_time() - began)
            kind = images[one.image].kinds[one.side]
            cases[("good", *DEFECTS)[kind]].append((True, judgement.bad))
            if judgement.bad and not kind:
                reasons[judgement.reason] = reasons.get(judgement.reason, 0) + 1
        for number, side in missed:
            cases[("good", *DEFECTS)[images[number].kinds[side]]].append((False, False))
    report = {name: _counts(hands) for name, hands in cases.items()}
    report["defective"] = _counts([hand for name in DEFECTS for hand in cases[name]])
    print("| hands | number | found | flagged | share of all, 95 % interval |\n| --- | --- | --- | --- | --- |")
    for name, (number, seen, flagged) in report.items():
        low, high = wilson(flagged, number)
        print(f"| {name} | {number} | {seen} | {flagged} | {flagged / max(number, 1):.3f} ({low:.3f} to {high:.3f}) |")
    _, seen, flagged = report["good"]
    low, high = wilson(seen - flagged, seen)
    print(f"found good hands left alone: {1 - flagged / max(seen, 1):.3f} ({low:.3f} to {high:.3f}); false: {reasons}")
    print(f"{sum(seconds) / max(len(seconds), 1):.3f} s a hand (processor time of one core)")
    if args.output:
        args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _counts(hands: list[tuple[bool, bool]]) -> tuple[int, int, int]:
    """Number of hands, of those that were found, and of those that were flagged."""
    return len(hands), sum(seen for seen, _ in hands), sum(flagged for _, flagged in hands)


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
