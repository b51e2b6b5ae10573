"""Calibrates the confidence of fitted hands on images of the studio.

    python tools/calibrate_fit.py WORK_FOLDER [--num 500]

Draws NUM scenes of each split, finds their hands with MediaPipe (of the extra `detect`), fits them, fits the
logistic regression of `detection/confidence.py` to the train split and prints its coefficients, then the table of the
test split and its expected calibration error. Images and detected hands are kept in the folder, so a second run takes
a minute.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from diffusers_handiffuser.data.geometry import hand_joints_in_pixels, hand_sizes_in_pixels
from diffusers_handiffuser.data.rows import stack_hand_params
from diffusers_handiffuser.detection.confidence import FEATURES, features
from diffusers_handiffuser.detection.detector import DetectedHand
from diffusers_handiffuser.detection.finding import find_hands
from diffusers_handiffuser.detection.fit import STEPS, find_people, place_people
from diffusers_handiffuser.detection.single_hands import fit_single_hands, to_tensor
from diffusers_handiffuser.evaluation import read_rows
from diffusers_handiffuser.hands.body_model import procedural_body
from diffusers_handiffuser.studio import make_dataset

SIZE, SEED, TURNED = 256, 11, 0.25
SHARE = 0.1
"""Of the hand's size, that the mean error of a right hand stays below."""
FOUND = 0.6
"""A detected hand farther from every hand, relative to its size, is none."""
PRIOR = 1.0
"""Weight of the squared coefficients of standardised features."""
BINS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = {split: prepare(args.folder / split, split, args.num) for split in ("train", "test")}
    for name, flat in (("WITH_DEPTH", False), ("WITHOUT_DEPTH", True)):
        values, right = evaluate(*parts["train"], flat)
        means, weights, constant = regress(values, right)
        for label, numbers in (("means", means), ("weights", weights)):
            print(name, label, tuple(round(float(number), 3) for number in numbers))
        print(name, "constant", round(float(constant), 3))
        values, right = evaluate(*parts["test"], flat)
        table((values - means).nan_to_num(0) @ weights + constant, right)


def prepare(folder: Path, split: str, num: int) -> tuple:
    """The rows of a split and the hands found in their images."""
    if not (folder / "metadata.jsonl").exists():
        make_dataset(folder, num, split, SEED, SIZE, turned=TURNED)
    rows = read_rows(folder, num)
    cache = folder / "detections.json"
    if not cache.exists():
        found = [find_hands(np.asarray(row.picture.open())) for row in rows]
        saved = [
            [[hand.side, hand.landmarks.tolist(), hand.confidence, hand.landmarks_3d.tolist()] for hand in hands]
            for hands in found
        ]
        cache.write_text(json.dumps(saved))
    found = [
        [DetectedHand(side, np.array(pixels), score, np.array(metres)) for side, pixels, score, metres in hands]
        for hands in json.loads(cache.read_text())[:num]
    ]
    return rows, found


def evaluate(rows: list, found: list[list[DetectedHand]], flat: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(M, F)` of the hands that were found, and which of them are right `(M,)`."""
    body = procedural_body()
    index = [image for image, hands in enumerate(found) for _ in hands]
    hands = [hand for image in found for hand in image]
    if flat:
        hands = [DetectedHand(hand.side, hand.landmarks, hand.confidence) for hand in hands]
    single = fit_single_hands(hands, body, STEPS, trust_sides=False)
    people = find_people(hands, single, index, body)
    sizes = torch.tensor([[SIZE, SIZE]]).expand(len(rows), 2)
    fitted = place_people(hands, single, people, torch.tensor(index), sizes, body)
    chosen = torch.tensor([hand for group in people for hand in group])
    person = torch.tensor([row for row, group in enumerate(people) for _ in group])
    place = (person, single.sides[chosen])
    values = features(hands, single, chosen, fitted.error_pixels[place])

    pixels = torch.stack([to_tensor(hand.landmarks) for hand in hands])
    truth = stack_hand_params(rows)
    true_pixels, true_joints = hand_joints_in_pixels(truth, body, SIZE, SIZE), body(truth).joints_3d
    joints = body(fitted.hand_params).joints_3d[place] * fitted.hand_params.camera[person, :1, None]
    true_joints = true_joints * truth.camera[:, :1, None, None]
    right = []
    for hand, side, found_joints in zip(chosen.tolist(), place[1].tolist(), joints, strict=True):
        image = index[hand]
        distances = (pixels[hand] - true_pixels[image]).norm(dim=-1).mean(-1) / hand_sizes_in_pixels(
            true_pixels[image]
        )
        distances[~truth.hand_visible[image]] = torch.inf
        wanted = true_joints[image, side] - true_joints[image, side].mean(0)
        error = (found_joints - found_joints.mean(0) - wanted).norm(dim=-1).mean() / torch.cdist(wanted, wanted).max()
        right.append(bool(distances[side] < FOUND and distances.argmin() == side and error < SHARE))
    return values, torch.tensor(right)


def regress(values: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means, weights and constant of a logistic regression with a normal prior, by Newton's method."""
    means = values.nanmean(0).nan_to_num(0)
    centred = (values - means).nan_to_num(0)
    spreads = centred.std(0).clamp_min(1e-6)
    design = torch.cat([centred / spreads, torch.ones(len(values), 1)], 1).double()
    prior = torch.diag(torch.tensor([PRIOR] * values.shape[1] + [0.0])).double()
    weights = torch.zeros(design.shape[1]).double()
    for _ in range(30):
        probability = torch.sigmoid(design @ weights)
        gradient = design.T @ (probability - right.double()) + prior @ weights
        hessian = (design.T * (probability * (1 - probability))) @ design + prior
        weights = weights - torch.linalg.solve(hessian, gradient)
    scaled = weights[:-1].float() / spreads
    return means, torch.where(centred.abs().amax(0) > 0, scaled, 0), weights[-1].float()


def table(logits: torch.Tensor, right: torch.Tensor) -> None:
    """Promised and held, by bins of the confidence, as Markdown."""
    promised, error = torch.sigmoid(logits), 0.0
    print("| confidence | hands | mean confidence | right |\n| --- | --- | --- | --- |")
    for k in range(BINS):
        low, high = k / BINS, (k + 1) / BINS
        rows = (promised >= low) & (promised < high)
        if rows.any():
            mean, share = float(promised[rows].mean()), float(right[rows].float().mean())
            error += float(rows.float().mean()) * abs(mean - share)
            print(f"| {low:.1f} to {high:.1f} | {int(rows.sum())} | {mean:.2f} | {share:.2f} |")
    pairs = promised[right][:, None] - promised[~right][None]
    area = float((pairs > 0).float().mean() + 0.5 * (pairs == 0).float().mean())
    print(f"{len(right)} hands, {float(right.float().mean()):.2f} right; expected calibration error {error:.3f}; ")
    print(f"a right hand has the higher confidence in {area:.2f} of pairs; features: {', '.join(FEATURES)}")


if __name__ == "__main__":
    main()
